"""Octet's own calibrators: from a histogram of magnitudes to the largest value that int8 shall hold.

Values above the threshold are clipped to it; the scale is 127 / threshold. levels: the integer that stands for the
threshold, 127, or 254 where values are never negative and get a zero point (octet/graph/zero_points.py).
"""

from __future__ import annotations

import numpy as np

from octet.calibrate.histogram import Histogram

LEVELS = 127


def minmax(histogram: Histogram, levels: int = LEVELS) -> float:
    """The largest magnitude seen: nothing is clipped."""
    return histogram.largest


def kl(histogram: Histogram, levels: int = LEVELS) -> float:
    """The threshold whose levels, zero among them, lose the least information (KL divergence).

    Szymon Migacz, «8-bit Inference with TensorRT», GTC 2017, as ncnn does it (quantize_KL in tools/quantize/
    ncnn2table.cpp): zeros not counted, 2,048 bins or a little more up to the largest value, clipped values added to the
    last bin, the middle of the best one. ncnn tries every bin; here every 6th, then all around the best five, which
    on the inputs of two ResNet-18 gave a divergence at most 1 % larger than the least.
    """
    counts = histogram.used().astype(np.float64)
    step = max(1, len(counts) // 2048)
    counts = np.add.reduceat(counts, np.arange(0, len(counts), step))
    share = counts / max(counts.sum(), 1.0)
    total, bins, steps, epsilon = np.concatenate([[0.0], np.cumsum(share)]), len(share), levels + 1, 1e-4

    def divergence(threshold: int) -> float:
        clipped = share[:threshold] + epsilon
        clipped[-1] += total[bins] - total[threshold]
        # Within a level all values are taken to be spread evenly: the cumulated share is linear there.
        edges = np.arange(steps + 1) * (threshold / steps)
        at = np.arange(threshold + 1)
        cumulated = np.interp(at, edges, np.interp(edges, at, total[: threshold + 1]))
        spread = np.diff(cumulated) + epsilon
        return float((clipped * np.log(clipped / spread)).sum())

    found = {threshold: divergence(threshold) for threshold in range(steps, bins + 1, 6)}
    for near in sorted(found, key=found.__getitem__)[:5]:
        for threshold in range(max(steps, near - 5), min(bins, near + 5) + 1):
            found[threshold] = divergence(threshold)
    best = min(found, key=found.__getitem__, default=bins)
    return min((best + 0.5) * step * histogram.width, histogram.largest)


def mse(histogram: Histogram, levels: int = LEVELS) -> float:
    """The threshold with the least squared error between the values and their int8 versions.

    160 candidates from a fifth of the largest magnitude up to it; every bin stands for its middle. The sum of
    c (v - q)² over the bins that round to one q comes from the cumulated sums of c, c v and c v².
    """
    counts = histogram.used().astype(np.float64)
    values = np.arange(len(counts)) + 0.5  # in bins
    sums = [np.concatenate([[0.0], np.cumsum(counts * values**power)]) for power in range(3)]
    integers = np.arange(levels + 1)
    best, best_error = histogram.largest, np.inf
    for candidate in np.linspace(0.2, 1.0, 160) * histogram.largest:
        step = candidate / histogram.width / levels
        # The first bin whose middle rounds to each level; what lies behind the last is clipped to it.
        first = np.clip(np.ceil((integers - 0.5) * step - 0.5), 0, len(counts)).astype(np.int64)
        n, v, v2 = (total[np.append(first[1:], len(counts))] - total[first] for total in sums)
        q = integers * step
        error = float(np.sum(v2 - 2 * q * v + q * q * n))
        if error <= best_error:
            best, best_error = float(candidate), error
    return best


def aciq(histogram: Histogram, levels: int = LEVELS) -> float:
    """The threshold that would be best for a Laplace distribution of the same mean magnitude, in closed form.

    Banner et al., «Post training 4-bit quantization of convolutional networks», NeurIPS 2019: the minimum of
    2 b² exp(-a / b) + a² / (12 n²) over a, where n = levels + 1 (the paper's 2⁷ for 8 bits), lies where x = a / b
    solves x exp(x) = 12 n²: at 9.8968 for 127 levels. Zeros, which quantize to themselves, are not counted.
    """
    counts = histogram.used().astype(np.float64)
    mean = float(counts @ (np.arange(len(counts)) + 0.5)) * histogram.width / max(counts.sum(), 1.0)
    x = 10.0
    for _ in range(40):  # each step takes the error to a tenth
        x = float(np.log(12 * (levels + 1) ** 2 / x))
    return min(x * mean, histogram.largest)


def percentile(histogram: Histogram, levels: int, percent: float) -> float:
    """The magnitude below which `percent` % of all values lie, zeros among them."""
    counts = histogram.used()
    rank = percent / 100 * (counts.sum() + histogram.zeros) - histogram.zeros
    return min(float(np.searchsorted(np.cumsum(counts), rank) + 1) * histogram.width, histogram.largest)


METHODS = {"minmax": minmax, "percentile": percentile, "kl": kl, "aciq": aciq, "mse": mse}
