"""Histograms of magnitudes that merge exactly, whatever the order.

The width of a bin is a power of two. When a larger value comes, neighbouring bins join until the range holds it; since
scaling by a power of two is exact in floating point, that gives the same counts as if the range had been known from
the start. So shards of one pass over the images can be added in any order and the sums are the same integers.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 8192
_thread = threading.local()  # scratch memory, apart for each thread


@dataclass
class Histogram:
    """Counts of |x| > 0 in bins of width 2**exponent / BINS from 0 to 2**exponent.

    >>> a, b = Histogram.of(np.float32([0, 0.5, -1.5])), Histogram.of(np.float32([100, 2]))
    >>> both = a.merge(b)
    >>> both == Histogram.of(np.float32([0, 0.5, -1.5, 100, 2]))
    True
    >>> both.zeros, both.largest, int(both.counts.sum())
    (1, 100.0, 4)

    Args:
        counts: How many values each bin has, int64 of shape (BINS,).
        exponent: Of the range.
        zeros: How many values were exactly 0.
        largest: The largest |x|, exact.
    """

    counts: npt.NDArray[np.int64]
    exponent: int
    zeros: int
    largest: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float32]) -> Histogram:
        """The histogram of an array of any shape.

        Raises:
            ValueError: A value is not finite.
        """
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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, others = ((h.exponent, h.zeros, h.largest) for h in (self, other))
        return mine == others and np.array_equal(self.counts, other.counts)

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

    @property
    def size(self) -> int:
        """How many values it holds, zeros among them."""
        return int(self.counts.sum()) + self.zeros

    def up_to_largest(self) -> npt.NDArray[np.int64]:
        """The counts up to the bin of the largest value, which is the last."""
        return self.counts[: int(self.largest / self.width) + 1]

    def over_pct(self, threshold: float) -> float:
        """The share of all values, zeros among them, in the bins above a threshold's, in percent."""
        over = int(self.counts[int(threshold / self.width) + 1 :].sum())
        return 100 * over / max(self.size, 1)


def _indices(size: int) -> npt.NDArray[np.intp]:
    """Room for so many indices, one array a thread: a new one each time costs more than all else, in page faults."""
    if getattr(_thread, "indices", np.empty(0)).size < size:
        _thread.indices = np.empty(size, np.intp)  # what bincount wants
    indices: npt.NDArray[np.intp] = _thread.indices[:size]
    return indices


def _widen(counts: npt.NDArray[np.int64], octaves: int) -> npt.NDArray[np.int64]:
    """Joins 2**octaves neighbouring bins into one."""
    if octaves == 0:
        return counts
    for _ in range(min(octaves, 13)):  # many times as fast as one sum over short rows
        counts = counts[::2] + counts[1::2]
    result = np.zeros(BINS, np.int64)
    result[: len(counts)] = counts
    return result
