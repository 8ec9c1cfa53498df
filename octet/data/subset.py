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
    rank, _ = _ranks(labels)
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
    judges = _judges(labels)
    rank, _ = _ranks(labels)
    in_turn = np.lexsort((labels, rank))
    others = in_turn[~np.isin(in_turn, judges)]
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
    return np.sort(_judges(labels)[:count])


def _judges(labels: Labels) -> Indices:
    """The second half of each class, in turn from the end of each: half of the split. Of odd classes every second has one more."""
    rank, sizes = _ranks(labels)
    from_end = sizes[_classes(labels)] - 1 - rank
    is_odd = sizes % 2
    halves = sizes // 2 + (is_odd & (np.cumsum(is_odd) % 2 == 0))
    in_turn: Indices = np.lexsort((labels, from_end))
    is_judge = from_end < halves[_classes(labels)]
    judges: Indices = in_turn[is_judge[in_turn]]
    return judges


def _ranks(labels: Labels) -> tuple[Indices, Indices]:
    """Of each image, how many of its class come before it; how many images each class has, ascending."""
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return rank, sizes


def _classes(labels: Labels) -> Indices:
    """Of each image, the place of its class among those that have images."""
    _, places = np.unique(labels, return_inverse=True)
    return places.astype(np.int64)
