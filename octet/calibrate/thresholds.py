"""From a threshold for every input, the largest magnitude that int8 shall hold, to the calibration table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from octet.calibrate.histogram import Histogram
from octet.calibrate.job import Job
from octet.calibrate.observe import asymmetric_blobs
from octet.calibrate.weights import weight_scales
from octet.core.parallel import map_ordered
from octet.graph import zero_points
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.graph.scales import add_attention
from octet.ncnn.table import Table

if TYPE_CHECKING:
    from octet.core.params import Calibrate

LEVELS = 127
Threshold = Callable[[Histogram, int, "Calibrate"], float]  # octet.calibrate.methods says what it gets
Ends = Callable[[Histogram, Histogram, int], tuple[float, float]]  # and what this gets


def table(job: Job, choose: Threshold) -> Table:
    """The table in which every input's scale is 127 / threshold.

    Args:
        job: What to calibrate.
        choose: The threshold of an input's histogram.
    """
    asymmetric, origin, blobs = asymmetric_blobs(job.net, job.target), origins(job.net), list(job.histograms)

    def scale(k: int) -> np.float32:
        histogram, levels = job.histograms[blobs[k]], zero_points.LEVELS if blobs[k] in asymmetric else LEVELS
        return input_scale(choose(histogram, levels, job.settings) if histogram.largest > 0 else 0.0)

    scales = dict(zip(blobs, map_ordered(scale, range(len(blobs)), "thresholds"), strict=True))
    result = Table()
    for layer in quantizable(job.net.layers):
        result.weights[layer.name] = weight_scales(layer, job.target, job.settings.weights)
        result.inputs[layer.name] = scales[origin[layer.inputs[0]]]
    add_attention(result, job.net.layers)
    return result


def input_scale(threshold: float) -> np.float32:
    """127 / threshold, fp32; 1 where that is no number: for an input that is always zero, or next to it.

    >>> float(input_scale(2.0)), float(input_scale(0.0))
    (63.5, 1.0)
    """
    with np.errstate(over="ignore"):
        scale = np.float32(LEVELS / threshold) if threshold > 0 else np.float32(1)
    return scale if np.isfinite(scale) else np.float32(1)
