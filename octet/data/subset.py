"""Which images of a split are used when not all are."""

from __future__ import annotations

import numpy as np

from octet.core.errors import OctetError
from octet.data.arrays import Indices, Labels


def balanced(labels: Labels, count: int | None, where: str) -> Indices:
    """The indices of the first `count` images, taken in turn from every class, ascending.

    >>> balanced(np.array([0, 0, 0, 1, 1]), 4, "evaluate.limit").tolist()
    [0, 1, 3, 4]

    The same for the same labels; a smaller count is a subset of a larger one.

    Args:
        labels: Those of the split.
        count: How many images; None: all.
        where: The parameter that says how many, for the error.

    Raises:
        OctetError: The split has fewer.
    """
    count = len(labels) if count is None else count
    if count > len(labels):
        raise OctetError(f"{where}: {count} images asked for, the split has {len(labels)}")
    rank, _, _ = _ranks(labels)
    return np.sort(np.lexsort((labels, rank))[:count])


def front(labels: Labels, count: int, where: str) -> Indices:
    """The indices of `count` training images to calibrate with or to learn from, balanced and ascending.

    >>> front(np.array([0, 0, 0, 0, 1, 1]), 3, "calibrate.images").tolist()
    [0, 1, 4]

    From the first half of each class, and beyond that in the opposite order of `hold_out`: so the two have an image in common
    only where together they are more than the split. A smaller count is a subset of a larger one.

    Args:
        labels: Those of the split.
        count: How many images.
        where: The parameter that says how many, for the error.

    Raises:
        OctetError: The split has fewer.
    """
    if count > len(labels):
        raise OctetError(f"{where}: {count} images asked for, the split has {len(labels)}")
    others, judges = _halves(labels)
    return np.sort(np.concatenate([others, judges[::-1]])[:count])


def hold_out(labels: Labels, count: int | None, where: str) -> Indices:
    """The indices of `count` images from the end of a split, balanced and ascending.

    >>> hold_out(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2, "mixed_precision.images").tolist()
    [3, 7]

    From the second half of each class; `front` takes the others first.

    Args:
        labels: Those of the split.
        count: How many images; None: half of the split.
        where: The parameter that says how many, for the error.

    Raises:
        OctetError: Half of the split are fewer.
    """
    half = len(labels) // 2
    if count is not None and count > half:
        raise OctetError(f"{where}: {count} hold-out images asked for; half of the split is {half}")
    _, judges = _halves(labels)
    return np.sort(judges[:count])


def _halves(labels: Labels) -> tuple[Indices, Indices]:
    """The first half of each class, in turn from its front; the second, in turn from its end: half of the split.

    Of classes with an odd number of images every second one has the one more in its second half.
    """
    rank, classes, sizes = _ranks(labels)
    is_odd = sizes % 2
    halves = sizes // 2 + (is_odd & (np.cumsum(is_odd) % 2 == 0))
    from_end = sizes[classes] - 1 - rank
    is_second = from_end < halves[classes]
    first, last = np.lexsort((labels, rank)), np.lexsort((labels, from_end))
    return first[~is_second[first]], last[is_second[last]]


def _ranks(labels: Labels) -> tuple[Indices, Indices, Indices]:
    """Of each image, how many of its class come before it, and which of the classes it has; how many images each class has."""
    by_class = np.argsort(labels, kind="stable")
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank, classes, sizes
