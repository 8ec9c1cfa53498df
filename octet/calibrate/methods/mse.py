"""The threshold with the least squared error between the values and their int8 versions.

160 candidates from a fifth of the largest magnitude up to it; every bin stands for its middle. The sum of
c (v - q)² over the bins that round to one q comes from the cumulated sums of c, c v and c v². Nagel et al., «A white
paper on neural network quantization», 2021, section 3.1, has it among the ways to set a range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from octet.calibrate.histogram import Histogram

if TYPE_CHECKING:
    from octet.core.params import Calibrate

CANDIDATES = 160


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
