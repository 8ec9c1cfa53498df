"""Which images of a split are used when not all are."""

from __future__ import annotations

import numpy as np

from octet.core.errors import OctetError
from octet.data.arrays import Indices, Labels


def balanced(labels: Labels, count: int | None, where: str) -> Indices:
    """The indices of the first `count` images, taken in turn from every class, ascending.

    >>> balanced(np.array([0, 0, 0, 1, 1]), 4, "calibrate.images").tolist()
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
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.empty(len(labels), np.int64)  # of an image within its class
    rank[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return np.sort(np.lexsort((labels, rank))[:count])


def hold_out(labels: Labels, count: int | None, where: str) -> Indices:
    """The indices of `count` images from the end of a split, balanced and ascending.

    >>> hold_out(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2, "mixed_precision.images").tolist()
    [3, 7]

    Apart from what `balanced` takes from the front as long as the two together are not more than the split.

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
    return np.sort(len(labels) - 1 - balanced(labels[::-1], half if count is None else count, where))
