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

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from octet.core.parallel import map_ordered
from octet.core.progress import progress
from octet.graph import zero_points
from octet.graph.layers import groups, integer, kind, quantizable
from octet.graph.scales import weight_scale_count
from octet.graph.targets import Target
from octet.graph.windows import windows
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.rounding import round_int8
from octet.ncnn.table import Table
from octet.quantize.gptq_weights import GptqWeights

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
DAMPING = 0.01  # of the mean variance, added to every input's: what keeps directions without data in place
WINDOWS = 4096  # of a layer that are looked at, in all images together; four times as many choose no better integers
PIXELS = 64  # of them in one image at most, on a regular grid
MEMORY = 1.5e9  # bytes of covariances that are gathered in one pass over the images
BLOCK = 256  # rows or columns of a matrix that are worked on together
THREADS = 2  # fixed: with another number BLAS may add in another order, and a weight rounds the other way
EXACT = 1024  # as many products of 127 by 127 have an exact sum in fp32
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
    """

    def __init__(self, layer: Layer):
        shape = groups(layer), _width(layer)
        self.products, self.sums = np.zeros((*shape, shape[1])), np.zeros(shape)
        self.values, self.count = np.zeros(shape), 0
        self._lock = Lock()
        self._waiting: list[npt.NDArray[np.int8]] = []

    def add(self, seen: Floats, grid: Grid) -> Doubles:
        """Takes in windows, fp32 of shape (groups, n, d), but for their values, whose sums it returns."""
        integers = round_int8(seen * np.float32(grid.scale) + np.float32(grid.zero_point))
        ready: list[npt.NDArray[np.int8]] = []
        with self._lock:
            self._waiting.append(integers)
            if sum(waiting.shape[1] for waiting in self._waiting) >= EXACT:
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


def gptq_weights(
    net: Net, table: Table, target: Target, keep_fp32: Collection[str], images: Sequence[Floats]
) -> dict[str, GptqWeights]:
    """Chooses the integers of the int8 layers' weights together, so that their errors cancel.

    The result does not depend on the number of workers.

    Args:
        net: The fp32 network.
        table: Its calibration table.
        target: The device's profile.
        keep_fp32: The names of layers that stay in fp32.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        By the layers' names, of every int8 layer that GPTQ can be used on, but for those wider than WIDEST.
    """
    int8 = target.int8_layers(net).difference(keep_fp32)
    layers = [layer for layer in quantizable(net.layers) if layer.name in int8 and kind(layer).gptq]
    layers = [layer for layer in layers if _width(layer) <= WIDEST]
    scales = {layer.name: table.inputs[layer.name] for layer in layers}
    asymmetric = zero_points.with_zero_point(net, scales) if target.asymmetric else set()
    grids = {
        name: Grid(2 * float(scale), zero_points.ZERO_POINT) if name in asymmetric else Grid(float(scale), 0)
        for name, scale in scales.items()
    }
    engine, chosen = Engine.of(net), {}
    for part in _parts(layers):
        with threadpool_limits(1):  # each image has a thread, and sums of integers are exact
            moments = gather_moments(engine, part, grids, images)
        for layer in progress(part, "GPTQ", unit="layer"):
            with threadpool_limits(THREADS):
                levels = target.weight_levels(layer)
                chosen[layer.name] = choose_integers(
                    layer, moments.pop(layer.name), grids[layer.name], table.weights[layer.name], levels
                )
    return chosen


def gather_moments(
    engine: Engine, layers: list[Layer], grids: dict[str, Grid], images: Sequence[Floats]
) -> dict[str, Moments]:
    """Gathers the moments of layers' inputs, in one pass over the images.

    Args:
        engine: Runs the fp32 network.
        layers: Some of its layers.
        grids: How each one's input becomes integers, by name.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        By the layers' names.
    """
    blobs = list(dict.fromkeys(layer.inputs[0] for layer in layers))
    gathered = {layer.name: Moments(layer) for layer in layers}
    pixels = min(PIXELS, max(1, WINDOWS // len(images)))

    def one(k: int) -> list[Doubles]:
        inputs = dict(zip(blobs, map(np.array, engine.blobs(images[k], blobs)), strict=True))
        return [
            gathered[layer.name].add(_seen(layer, inputs[layer.inputs[0]], pixels, k), grids[layer.name])
            for layer in layers
        ]

    for sums in map_ordered(one, range(len(images)), "GPTQ, inputs"):
        for moments, values in zip(gathered.values(), sums, strict=True):
            moments.values += values
    for moments in gathered.values():
        moments.finish()
    return gathered


def choose_integers(
    layer: Layer, moments: Moments, grid: Grid, weight_scales: npt.NDArray[np.float32], levels: int
) -> GptqWeights:
    """Chooses one layer's integers, and what its bias gains.

    Args:
        layer: In fp32.
        moments: Of its inputs; they are used up.
        grid: How its input becomes integers.
        weight_scales: As in the table: fp32 of shape (outputs,), of a depthwise convolution (groups,).
        levels: The largest integer of a weight: 127, or 31 where Winograd may run.
    """
    count, width = moments.sums.shape
    weight = layer.weights["weight"].data.astype(np.float64).reshape(count, -1, width)
    repeats = integer(layer, "num_output") // weight_scale_count(layer)
    scales = np.repeat(weight_scales.astype(np.float64), repeats).reshape(count, -1, 1)
    mean, integers = moments.sums / moments.count, np.empty(weight.shape, np.int8)
    for group in range(count):
        covariance = moments.products[group]
        for rows in _blocks(width):  # in place and block by block: a copy of it takes as long as the products did
            covariance[rows] /= moments.count
            covariance[rows] -= mean[group, rows, None] * mean[group]
        integers[group] = gptq_integers(weight[group] * scales[group], covariance, levels)
    fp32_means = np.einsum("gow,gw->go", weight, moments.values / moments.count)
    means = np.einsum("gow,gw->go", integers / scales, (mean - grid.zero_point) / grid.scale)
    return GptqWeights(integers.reshape(-1), (fp32_means - means).reshape(-1).astype(np.float32))


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
        below[end - start :] = below[end - start :] @ np.linalg.inv(corner).T
        below[: end - start] = corner
        matrix[columns, end:] = 0
    return matrix


def _blocks(count: int) -> list[slice]:
    """Slices of BLOCK rows or columns, the last one shorter, that together are all."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def _parts(layers: list[Layer]) -> list[list[Layer]]:
    """The layers in runs whose covariances fit into MEMORY."""
    parts: list[list[Layer]] = []
    size = 0.0
    for layer in layers:
        need = 8.0 * groups(layer) * _width(layer) ** 2
        if not parts or size + need > MEMORY:
            parts.append([])
            size = 0.0
        parts[-1].append(layer)
        size += need
    return parts


def _width(layer: Layer) -> int:
    """How many inputs an output has."""
    return layer.weights["weight"].data.size // integer(layer, "num_output")


def _seen(layer: Layer, values: Floats, pixels: int, image: int) -> Floats:
    """The layer's windows: fp32 of shape (groups, windows, d), at most so many pixels; the grid moves with the image."""
    if layer.type == "InnerProduct":
        return values.reshape(1, -1, _width(layer))
    view = windows(layer, values)
    rows, columns = (-(-size // int(pixels**0.5)) for size in view.shape[1:3])
    view = view[:, image % rows :: rows, image // rows % columns :: columns]
    inputs, height, width = view.shape[:3]
    count = groups(layer)
    grouped = view.reshape(count, inputs // count, height * width, -1)
    return np.ascontiguousarray(grouped.transpose(0, 2, 1, 3)).reshape(count, height * width, -1)
