"""The threshold that would be best for a Laplace distribution of the same mean magnitude, in closed form.

Banner et al., «Post training 4-bit quantization of convolutional networks», NeurIPS 2019: the minimum of
2 b² exp(-a / b) + a² / (12 n²) over a, where n = levels + 1 (the paper's 2⁷ for 8 bits), lies where x = a / b
solves x exp(x) = 12 n²: at 9.8968 for 127 levels. Zeros, which quantize to themselves, are not counted.

ncnn2table's method of that name is another one (compute_aciq_gaussian_clip in tools/quantize/ncnn2table.cpp): the paper's
factor for a Gaussian, times a deviation that it takes from the largest magnitude alone, for the weights, too.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np

from octet.calibrate.histogram import Histogram

if TYPE_CHECKING:
    from octet.core.params import Calibrate


def threshold(histogram: Histogram, levels: int, _settings: Calibrate) -> float:
    """See octet.calibrate.methods."""
    counts = histogram.up_to_largest().astype(np.float64)
    mean = float(counts @ (np.arange(len(counts)) + 0.5)) * histogram.width / max(counts.sum(), 1.0)
    x = 10.0
    for _ in range(40):  # each step takes the error to a tenth
        x = log(12 * (levels + 1) ** 2 / x)
    return float(min(x * mean, histogram.largest))
