"""Histograms of magnitudes that merge exactly, whatever the order.

The width of a bin is a power of two. When a larger value comes, neighbouring bins join until the range holds it; since
scaling by a power of two is exact in floating point, that gives the same counts as if the range had been known from
the start. So shards of one pass over the images can be added in any order and the sums are the same integers.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

BINS = 8192
_room = threading.local()


@dataclass
class Histogram:
    """Counts of |x| > 0 in bins of width 2**exponent / BINS from 0 to 2**exponent.

    zeros: how many values were exactly 0. largest: the largest |x|, exact.
    """

    counts: np.ndarray
    exponent: int
    zeros: int
    largest: float

    @classmethod
    def of(cls, values: np.ndarray) -> Histogram:
        """The histogram of an fp32 array of any shape. A value that is not finite raises ValueError."""
        magnitude = np.abs(values).ravel()
        largest = float(magnitude.max(initial=0.0))
        if not np.isfinite(largest):
            raise ValueError("not finite")
        if largest == 0.0:
            return cls(np.zeros(BINS, np.int64), -126, magnitude.size, 0.0)
        exponent = max(int(np.frexp(np.float32(largest))[1]), -100)
        index = _indices(magnitude.size)
        np.multiply(magnitude, np.float32(2.0 ** (13 - exponent)), out=index, casting="unsafe")
        counts = np.bincount(index, minlength=BINS)
        zeros = int(magnitude.size - np.count_nonzero(magnitude != 0))  # of booleans: many times as fast
        counts[0] -= zeros
        return cls(counts, exponent, zeros, largest)

    def merge(self, other: Histogram) -> Histogram:
        """Takes in the other's values; returns itself."""
        exponent = max(self.exponent, other.exponent)
        self.counts = _widen(self.counts, exponent - self.exponent)
        self.counts += _widen(other.counts, exponent - other.exponent)
        self.exponent, self.zeros = exponent, self.zeros + other.zeros
        self.largest = max(self.largest, other.largest)
        return self

    @property
    def width(self) -> float:
        """The width of a bin, in the values' own units."""
        return 2.0**self.exponent / BINS

    def used(self) -> np.ndarray:
        """The counts up to the bin of the largest value."""
        return self.counts[: int(self.largest / self.width) + 1]


def _indices(size: int) -> np.ndarray:
    """Room for so many indices, one array a thread: a new one each time costs more than all else, in page faults."""
    if getattr(_room, "indices", np.empty(0)).size < size:
        _room.indices = np.empty(size, np.intp)  # what bincount wants
    return _room.indices[:size]


def _widen(counts: np.ndarray, octaves: int) -> np.ndarray:
    """Joins 2**octaves neighbouring bins into one."""
    if octaves == 0:
        return counts
    for _ in range(min(octaves, 13)):  # many times as fast as one sum over short rows
        counts = counts[::2] + counts[1::2]
    return np.pad(counts, (0, BINS - len(counts)))
