"""The threshold that loses the least information: KL divergence, as ncnn2table's kl.

Szymon Migacz, «8-bit Inference with TensorRT», GTC 2017, as ncnn does it (quantize_KL in tools/quantize/
ncnn2table.cpp): zeros not counted, 2,048 bins or a little more up to the largest value, clipped values added to the
last bin, the middle of the best one. ncnn tries every bin; here every 6th and the last, then all around the best five,
which on the inputs of two ResNet-18 gave a divergence at most 1 % larger than the least.

It compares distributions, and where all values lie in one bin there is none: then nothing is clipped. (ncnn, whose
search ends one bin before the last, clips such an input to a sixteenth of itself.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from octet.calibrate.histogram import Histogram

if TYPE_CHECKING:
    from octet.core.params import Calibrate

BINS = 2048
EPSILON = 1e-4  # ncnn's, added to every bin's share
STEP = 6


def threshold(histogram: Histogram, levels: int, _settings: Calibrate) -> float:
    """See octet.calibrate.methods."""
    if _in_one_bin(histogram):
        return histogram.largest
    counts = histogram.up_to_largest().astype(np.float64)
    step = max(1, len(counts) // BINS)
    counts = np.add.reduceat(counts, np.arange(0, len(counts), step))
    share = counts / max(counts.sum(), 1.0)
    total, bins, steps = np.concatenate([[0.0], np.cumsum(share)]), len(share), levels + 1

    def divergence(end: int) -> float:
        clipped = share[:end] + EPSILON
        clipped[-1] += total[bins] - total[end]
        # Within a level all values are taken to be spread evenly: the cumulated share is linear there.
        edges, at = np.arange(steps + 1) * (end / steps), np.arange(end + 1)
        cumulated = np.interp(at, edges, np.interp(edges, at, total[: end + 1]))
        spread = np.diff(cumulated) + EPSILON
        return float((clipped * np.log(clipped / spread)).sum())

    losses = {end: divergence(end) for end in [*range(steps, bins, STEP), bins]}
    for best in sorted(losses, key=losses.__getitem__)[:5]:
        near = range(max(steps, best - STEP + 1), min(bins, best + STEP - 1) + 1)
        losses |= {end: divergence(end) for end in near if end not in losses}
    best = min(losses, key=losses.__getitem__)
    return float(min((best + 0.5) * step * histogram.width, histogram.largest))


def remark(histogram: Histogram) -> str:
    """What kl cannot do: see octet.calibrate.methods."""
    if not _in_one_bin(histogram):
        return ""
    values = f"all values of its input but zeros are about {histogram.largest:.3g}"
    return f"{values}: kl has no distribution to go by, and clips nothing"


def _in_one_bin(histogram: Histogram) -> bool:
    return np.count_nonzero(histogram.counts) == 1
