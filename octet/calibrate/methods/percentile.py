"""The magnitude below which a share of all values lies, zeros among them; `calibrate.percentile` says which.

McKinstry et al., «Discovering low-precision networks close to full-precision networks for efficient embedded inference»,
2018; Wu et al., «Integer quantization for deep learning inference: principles and empirical evaluation», 2020, compares
it with the largest magnitude and with KL divergence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from octet.calibrate.histogram import Histogram

if TYPE_CHECKING:
    from octet.core.params import Calibrate


def threshold(histogram: Histogram, _levels: int, settings: Calibrate) -> float:
    """See octet.calibrate.methods."""
    counts = histogram.up_to_largest()
    rank = settings.percentile / 100 * histogram.size - histogram.zeros
    return min(float(np.searchsorted(np.cumsum(counts), rank) + 1) * histogram.width, histogram.largest)
