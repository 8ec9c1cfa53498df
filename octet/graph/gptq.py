"""GPTQ: the weights' integers chosen together, so that their errors cancel in the layer's output.

Rounded to nearest, every weight of a channel adds an error of its own to the output. But inputs are correlated: what one
weight's rounding adds, another's can take back. With H the covariance of the layer's int8 inputs, the squared error of an
output is e H e for an error e of its weights. One weight after the other is rounded, and the weights behind it take up
its error as well as they can: Frantar and Alistarh, «Optimal Brain Compression», NeurIPS 2022, in the order and with
the Cholesky factor of Frantar et al., «GPTQ», ICLR 2023. Compared with AdaRound (Nagel et al., ICML 2020) it needs no
gradient descent, and weights may move by more than one step. Of H only its Cholesky factor is needed, and not its inverse:
what a column takes up of those before it is what Babai's nearest plane takes up (Chen et al., «The Geometry of LLM
Quantization: GPTQ as Babai's Nearest Plane Algorithm», 2025), whose integers are the same.

The mean error goes into the bias: Nagel et al., «Data-free quantization through weight equalization and bias correction»,
ICCV 2019, section 4.2, with means measured on calibration images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from octet.core.parallel import map_ordered
from octet.ncnn.rounding import round_int8

T = TypeVar("T")
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int8]
DAMPING = 0.01  # of the mean variance, added to every input's: what keeps directions without data in place
WINDOWS = 4096  # of a layer that are looked at, in all images together; four times as many choose no better integers
PIXELS = 64  # of them in one image at most, on a regular grid
MEMORY = 1.5e9  # bytes of covariances that are gathered in one pass over the images
BLOCK = 256  # rows or columns of a matrix that are worked on together
LATE = 8  # images at the end, among them the one with which a layer that has few windows in each fills a block
EXACT = 1024  # as many products of two int8 have an exact sum in fp32
WIDEST = (
    8192  # inputs of a channel: what more would cost in memory and time is out of proportion (VGG's first linear layer)
)


@dataclass(frozen=True)
class Grid:
    """A value x of a layer's input is the integer round(x * scale) + zero_point."""

    scale: float
    zero_point: int


class Moments:
    """Of a layer's windows, what its weights multiply, over all images, group by group.

    products: of the integers, fp64 of shape (groups, d, d); sums: of them, (groups, d); count: how many windows. All are
    exact, so the order in which images are added does not matter. values: the sums of the fp32 inputs, (groups, d),
    whose last bits do depend on it.

    Args:
        groups: Into which inputs and outputs are divided.
        width: How many inputs an output has.
    """

    def __init__(self, groups: int, width: int):
        self.products = np.empty((groups, width, width))
        self.products.fill(0)  # not np.zeros, for whose memory Linux stops at every 4 kB: half a second for 170 MB
        self.sums, self.values, self.count = np.zeros((groups, width)), np.zeros((groups, width)), 0
        self._lock = Lock()
        self._waiting: list[Integers] = []

    def add(self, seen: Floats, integers: Integers, is_late: bool) -> Doubles:
        """Takes in windows and their integers, both of shape (groups, n, d), but for their values, whose sums it returns.

        Those of the last images wait for `finish`, for which all threads have time.
        """
        ready: list[Integers] = []
        with self._lock:
            self._waiting.append(integers)
            if not is_late and sum(waiting.shape[1] for waiting in self._waiting) >= EXACT:
                ready, self._waiting = self._waiting, ready
        self._multiply(ready)
        sums: Doubles = seen.sum(axis=1, dtype=np.float64)
        return sums

    def finish(self) -> None:
        """Takes in what still waits for more of its kind."""
        self._multiply(self._waiting)
        self._waiting = []

    def _multiply(self, ready: list[npt.NDArray[np.int8]]) -> None:
        """Many windows at once: the sums are large, and to add to them takes long."""
        integers = np.concatenate(ready, axis=1).astype(np.float32) if ready else np.empty((1, 0, 1), np.float32)
        for at in range(0, integers.shape[1], EXACT):
            part = integers[:, at : at + EXACT]
            products, sums = part.transpose(0, 2, 1) @ part, part.sum(axis=1)
            with self._lock:
                self.products += products
                self.sums += sums
                self.count += part.shape[1]


def gather(
    moments: Mapping[str, Moments],
    see: Callable[[int], Iterable[tuple[str, Floats, Integers]]],
    count: int,
    workers: int | None = None,
) -> None:
    """Gathers layers' moments, in one pass over the images.

    Args:
        moments: By the layers' names.
        see: From an image's number to what each layer sees of it, in their order: name, windows, integers. Any thread calls it.
        count: How many images there are.
        workers: As in octet.core.parallel; the result does not depend on it.
    """

    def one(k: int) -> list[Doubles]:
        return [moments[name].add(seen, integers, k >= count - LATE) for name, seen, integers in see(k)]

    with threadpool_limits(1):  # each image has a thread, and sums of integers are exact
        for sums in map_ordered(one, range(count), "GPTQ, inputs", workers):
            for of_layer, values in zip(moments.values(), sums, strict=True):
                of_layer.values += values
        each_layer(moments, lambda name: moments[name].finish(), workers)


def each_layer(moments: Mapping[str, Moments], work: Callable[[str], T], workers: int | None = None) -> dict[str, T]:
    """What `work` gives for each layer, by its name, in their order: on threads, the widest layers first.

    BLAS has one thread for each: with another number it may add in another order, and a weight rounds the other way.

    Args:
        moments: By the layers' names.
        work: Called with a name, by any thread; it may take the layer out of `moments`.
        workers: As in octet.core.parallel; the result does not depend on it.
    """
    names = list(moments)
    widest_first = sorted(range(len(names)), key=lambda k: -moments[names[k]].products.size)
    with threadpool_limits(1):
        results = map_ordered(lambda k: work(names[k]), widest_first, "GPTQ, layers", workers)
        by_place = dict(zip(widest_first, results, strict=True))
    return {name: by_place[k] for k, name in enumerate(names)}


def some_windows(view: Floats, groups: int, image: int, count: int) -> Floats:
    """Some of a convolution's windows of one image, on a grid that moves with the image.

    Args:
        view: All of them: fp32 of shape (channels, height, width, kernel height, kernel width).
        groups: Into which the channels are divided.
        image: Which one it is.
        count: How many images there are.

    Returns:
        fp32 of shape (groups, n, d), n at most PIXELS, and about WINDOWS of all images.
    """
    side = int(min(PIXELS, max(1, WINDOWS // count)) ** 0.5)
    rows, columns = (-(-size // side) for size in view.shape[1:3])
    view = view[:, image % rows :: rows, image // rows % columns :: columns]
    inputs, height, width = view.shape[:3]
    grouped = view.reshape(groups, inputs // groups, height * width, -1)
    return np.ascontiguousarray(grouped.transpose(0, 2, 1, 3)).reshape(groups, height * width, -1)


def choose(weight: Doubles, scales: Doubles, moments: Moments, grid: Grid, levels: int) -> tuple[Integers, Floats]:
    """Chooses one layer's integers, and what its bias gains.

    Args:
        weight: fp64 of shape (groups, outputs of a group, d).
        scales: What it is multiplied with, (groups, outputs of a group, 1).
        moments: Of its inputs; they are used up.
        grid: How its input becomes integers.
        levels: The largest integer of a weight: 127, or 31 where Winograd may run.

    Returns:
        The integers, int8 of the weight's shape, and fp32 of shape (outputs,).
    """
    mean, integers = moments.sums / moments.count, np.empty(weight.shape, np.int8)
    for group, covariance in enumerate(moments.products):
        for rows in _blocks(len(covariance)):  # in place, block by block: a copy takes as long as the products did
            covariance[rows] /= moments.count
            covariance[rows] -= mean[group, rows, None] * mean[group]
        integers[group] = gptq_integers(weight[group] * scales[group], covariance, levels)
    fp32_means = np.einsum("gow,gw->go", weight, moments.values / moments.count)
    means = np.einsum("gow,gw->go", integers / scales, (mean - grid.zero_point) / grid.scale)
    return integers, (fp32_means - means).reshape(-1).astype(np.float32)


def gptq_integers(weight: Doubles, covariance: Doubles, levels: int) -> npt.NDArray[np.int8]:
    """Rounds weights one column after the other; the columns that follow take up each one's error.

    The algorithm of Frantar et al., «GPTQ», ICLR 2023, with columns in the order of their variance.

    Args:
        weight: In units of their steps: fp64 of shape (outputs, d).
        covariance: Of the inputs: fp64 of shape (d, d).
        levels: The largest integer.

    Returns:
        Integers from -levels to levels, int8 of shape (outputs, d).
    """
    variance = np.diag(covariance)
    last = np.argsort(-variance, kind="stable")[::-1]  # the last row is rounded first
    hessian = covariance[np.ix_(last, last)]
    np.fill_diagonal(hessian, variance[last] + (DAMPING * float(variance.mean()) or 1.0))
    factor = cholesky(hessian)
    steps, rounded = weight[:, last].T.copy(), np.empty(weight.shape[::-1])
    errors = np.empty(rounded.shape)
    for rows in reversed(_blocks(len(last))):
        start, end = rows.start, rows.stop
        block = steps[start:end] + factor[end:, start:end].T @ errors[end:] / np.diag(factor)[start:end, None]
        for k in range(end - 1, start - 1, -1):
            pulled = block[k - start] + factor[k + 1 : end, k] @ errors[k + 1 : end] / factor[k, k]
            rounded[k] = np.clip(np.rint(pulled), -levels, levels)
            errors[k] = steps[k] - rounded[k]
    integers = np.empty(weight.shape, np.int8)
    integers[:, last] = rounded.T
    nearest = np.clip(round_int8(weight.astype(np.float32)), -levels, levels)
    return np.where(variance <= 0, nearest, integers)


def cholesky(matrix: Doubles) -> Doubles:
    """The lower triangular factor of a positive definite matrix, in its place, a block of columns at a time.

    Nearly all of it are products of matrices: two thirds of the time of LAPACK's in numpy for thousands of rows.
    """
    for columns in _blocks(len(matrix)):
        start, end = columns.start, columns.stop
        below = matrix[start:, columns]
        below -= matrix[start:, :start] @ matrix[columns, :start].T
        corner = np.linalg.cholesky(below[: end - start])
        below[: end - start] = corner
        if end < len(
            matrix
        ):  # of small matrices, as depthwise layers have them by the hundred, it would take most of the time
            below[end - start :] = below[end - start :] @ np.linalg.inv(corner).T
        matrix[columns, end:] = 0
    return matrix


def _blocks(count: int) -> list[slice]:
    """Slices of BLOCK rows or columns, the last one shorter, that together are all."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def parts(layers: Iterable[T], groups: Callable[[T], int], width: Callable[[T], int]) -> list[list[T]]:
    """Layers in runs whose covariances fit into MEMORY; without those wider than WIDEST.

    Args:
        layers: The layers.
        groups: Of a layer: into which its inputs are divided.
        width: Of a layer: how many inputs an output has.
    """
    runs: list[list[T]] = []
    size = 0.0
    for layer in layers:
        if width(layer) > WIDEST:
            continue
        need = 8.0 * groups(layer) * width(layer) ** 2
        if not runs or size + need > MEMORY:
            runs.append([])
            size = 0.0
        runs[-1].append(layer)
        size += need
    return runs
