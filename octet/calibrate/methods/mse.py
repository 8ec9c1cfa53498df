"""The threshold with the least squared error between the values and their int8 versions.

160 candidates from a fifth of the largest magnitude up to it; every bin stands for its middle. The sum of
c (v - q)² over the bins that round to one q comes from the cumulated sums of c, c v and c v². Nagel et al., «A white
paper on neural network quantization», 2021, section 3.1, has it among the ways to set a range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octet.calibrate.histogram import Histogram

if TYPE_CHECKING:
    from octet.core.params import Calibrate

CANDIDATES = 160
ENDS = 96  # candidates of each end, from a seventh of the furthest value on


def threshold(histogram: Histogram, levels: int, _settings: Calibrate) -> float:
    """See octet.calibrate.methods."""
    counts = histogram.up_to_largest().astype(np.float64)
    values = np.arange(len(counts)) + 0.5  # in bins
    sums = [np.concatenate([[0.0], np.cumsum(counts * values**power)]) for power in range(3)]
    integers = np.arange(levels + 1)
    best, least = histogram.largest, np.inf
    for candidate in np.linspace(0.2, 1.0, CANDIDATES) * histogram.largest:
        step = candidate / histogram.width / levels
        # The first bin whose middle rounds to each level; what lies behind the last is clipped to it.
        first = np.clip(np.ceil((integers - 0.5) * step - 0.5), 0, len(counts)).astype(np.int64)
        n, v, v2 = (total[np.append(first[1:], len(counts))] - total[first] for total in sums)
        q = integers * step
        error = float(np.sum(v2 - 2 * q * v + q * q * n))
        if error <= least:
            best, least = float(candidate), error
    return best


def ends(negative: Histogram, positive: Histogram, rounded: int) -> tuple[float, float]:
    """How far a range of 256 integers reaches below and above zero, with the least squared error of both ends together.

    Args:
        negative: The histogram of what lies below zero.
        positive: That of what lies above.
        rounded: How many of the values count as rounded, with a mean squared error of a twelfth of a step's square; all
            count where they are clipped.
    """
    (low, below), (high, above) = _clipped(negative), _clipped(positive)
    error = below[:, None] + above + rounded * ((low[:, None] + high) / 255) ** 2 / 12
    k, m = np.unravel_index(int(error.argmin()), error.shape)
    return float(low[k]), float(high[m])


def _clipped(histogram: Histogram) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Candidates for an end, and the squared error of what lies behind each."""
    if histogram.largest == 0:
        return np.zeros(1), np.zeros(1)
    candidates = np.linspace(0.15, 1.0, ENDS) * histogram.largest
    counts = histogram.up_to_largest().astype(np.float64)
    middles = (np.arange(len(counts)) + 0.5) * histogram.width
    first = np.searchsorted(middles, candidates, "right")  # the first bin that is clipped
    n, v, v2 = (np.append(np.cumsum((counts * middles**power)[::-1])[::-1], 0.0)[first] for power in range(3))
    return candidates, v2 - 2 * candidates * v + candidates**2 * n
