"""Which pictures of a split are used when not all are."""

from __future__ import annotations

import numpy as np

from octet.errors import OctetError


def balanced(labels: np.ndarray, count: int, where: str) -> np.ndarray:
    """The indices of the first `count` pictures, taken in turn from every class: int64, ascending.

    The same for the same labels; a smaller count is a subset of a larger one.
    """
    if count > len(labels):
        raise OctetError(f"{where}: {count} pictures asked for, the split has {len(labels)}")
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, rank))[:count])
