"""evaluate: one model on the test split, in ncnn on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError, Unreadable
from octet.core.parallel import BLOCK, map_shards, reading_ahead
from octet.data.arrays import Indices, Input, Labels
from octet.data.unreadable import Unread
from octet.evaluate.predictions import Prediction

T = TypeVar("T")
TOP = 5
Logits = npt.NDArray[np.float32]
_Top = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


@runtime_checkable
class _Together(Protocol):
    """An engine that computes a few images together in less time than one after the other: ncnn's."""

    def each(self, images: Sequence[Input]) -> Sequence[Logits]:
        """The logits of each of up to BLOCK images."""


@dataclass(frozen=True)
class TopClasses:
    """The most likely classes of the images of a sequence, of those that could be read; five, or all where fewer.

    Args:
        indices: Which images could be read: their places in the sequence, of shape (n,), ascending.
        classes: The most likely classes of each, best first, equal logits by class, of shape (n, 5).
        probabilities: The softmax of their logits, of shape (n, 5).
    """

    indices: Indices
    classes: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]

    def predictions(self, images: Sequence[str], labels: Labels | None, classes: Sequence[str]) -> list[Prediction]:
        """The same with names.

        Args:
            images: The names of the images that could be read.
            labels: Their labels, of shape (n,); None: they have none.
            classes: The names of all classes, by label.
        """
        actual = [""] * len(images) if labels is None else [classes[label] for label in labels]
        rows = zip(images, actual, self.classes, self.probabilities, strict=True)
        return [
            Prediction(image, label, [classes[k] for k in top], probabilities.tolist())
            for image, label, top, probabilities in rows
        ]


def evaluate(
    engine: Callable[[Input], Logits],
    images: Sequence[Input],
    what: str,
    workers: int | None = None,
    readers: int = 0,
    scheduler: str | None = None,
) -> TopClasses:
    """The five most likely classes of every image.

    >>> engine = lambda x: np.array([x.sum(), -x.sum(), 0], np.float32)
    >>> images = [np.full((3, 2, 2), value, np.float32) for value in (1, -1)]
    >>> evaluate(engine, images, "evaluate").classes.tolist()
    [[0, 2, 1], [1, 2, 0]]

    Args:
        engine: The logits, of shape (classes,), of a network's input; called by any thread.
        images: A network's inputs, of shape (C, H, W).
        what: Who asks, for the messages.
        workers: How many threads compute; None: one a core.
        readers: How many threads of this machine read ahead of them; 0: each worker reads its own.
        scheduler: A Dask cluster's, whose workers then compute and read.

    Raises:
        OctetError: Too many images cannot be read, or logits are not finite.
    """

    def judge(numbers: Sequence[int], block: Sequence[Input]) -> list[_Top]:
        rows = []
        results = engine.each(block) if isinstance(engine, _Together) else map(engine, block)
        for k, logits in zip(numbers, results, strict=True):
            if not np.isfinite(logits).all():
                raise OctetError(f"{what}: the logits of test image {k} are not finite")
            rows.append(top(logits))
        return rows

    results = each_block(judge, images, what, workers, readers, scheduler)
    return TopClasses(
        np.array([k for k, _ in results], np.int64),
        np.stack([classes for _, (classes, _) in results]),
        np.stack([probabilities for _, (_, probabilities) in results]),
    )


def each_block(
    judge: Callable[[Sequence[int], Sequence[Input]], Sequence[T]],
    images: Sequence[Input],
    what: str,
    workers: int | None = None,
    readers: int = 0,
    scheduler: str | None = None,
) -> list[tuple[int, T]]:
    """What a judge says of each image; it is given a block of them at a time.

    The result does not depend on the number of workers (octet/core/parallel.py), nor on that of readers. Memory does
    not grow with the number of images but for the result itself. Images that cannot be read are named on standard error.

    Args:
        judge: From images' numbers and the network's inputs to what is kept of each; called by any thread.
        images: A network's inputs, of shape (C, H, W).
        what: Who asks, for the messages.
        workers: How many threads compute; None: one a core.
        readers: How many threads of this machine read ahead of them; 0: each worker reads its own.
        scheduler: A Dask cluster's, whose workers then compute and read.

    Returns:
        The number of each image that could be read, ascending, and what the judge said.

    Raises:
        OctetError: Too many images cannot be read.
    """

    def work(shard: range) -> tuple[list[tuple[int, T]], list[Unreadable]]:
        done, unreadable = list[tuple[int, T]](), list[Unreadable]()
        for start in range(0, len(shard), BLOCK):
            block = {}
            for k in shard[start : start + BLOCK]:
                try:
                    block[k] = read(k)
                except Unreadable as problem:
                    unreadable.append(problem)
            done += zip(block, judge(list(block), list(block.values())), strict=True)
        return done, unreadable

    unread, results = Unread(len(images), what), dict[int, T]()
    with (
        reading_ahead(images, readers) if readers and not scheduler else nullcontext(images.__getitem__) as read,
        map_shards(work, len(images), what, workers, scheduler) as shards,
    ):
        for done, unreadable in shards:
            results.update(done)
            for problem in unreadable:
                unread.add(problem)
    unread.report()
    if not results:
        raise OctetError(f"{what}: not one image can be read")
    return sorted(results.items(), key=lambda item: item[0])


def top(logits: Logits) -> _Top:
    """The five most likely classes of one image, best first (equal logits by class), and their probabilities.

    >>> [values.tolist() for values in top(np.array([0, 50, 0], np.float32))]
    [[1, 0, 2], [1.0, 1.9287498479639178e-22, 1.9287498479639178e-22]]

    Args:
        logits: Of shape (classes,).
    """
    order = np.argsort(-logits, kind="stable")[:TOP]
    shares = np.exp(logits.astype(np.float64) - logits[order[0]])
    return order, shares[order] / shares.sum()
