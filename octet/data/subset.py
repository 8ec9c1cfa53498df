"""Which images of a split are used when not all are."""

from __future__ import annotations

import numpy as np

from octet.core.errors import OctetError


def balanced(labels: np.ndarray, count: int | None, where: str) -> np.ndarray:
    """The indices of the first `count` images (None: of all), taken in turn from every class: int64, ascending.

    The same for the same labels; a smaller count is a subset of a larger one.
    """
    count = len(labels) if count is None else count
    if count > len(labels):
        raise OctetError(f"{where}: {count} images asked for, the split has {len(labels)}")
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, rank))[:count])


def held_out(labels: np.ndarray, count: int | None, where: str) -> np.ndarray:
    """The indices of `count` images from the end of a split, balanced and ascending; None: of half the split.

    Apart from what `balanced` takes from the front as long as the two together are not more than the split.
    """
    half = len(labels) // 2
    if count is not None and count > half:
        raise OctetError(f"{where}: {count} held-out images asked for; half of the split is {half}")
    return np.sort(len(labels) - 1 - balanced(labels[::-1], half if count is None else count, where))
