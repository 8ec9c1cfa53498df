"""The scales of the weights. Needs ncnn and numpy alone: the tuner uses it on a board."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octet.graph.scales import weight_scale_count
from octet.graph.targets import Target
from octet.ncnn.layer import Layer
from octet.ncnn.rounding import round_int8

CANDIDATES = 64


def weight_scales(layer: Layer, target: Target, method: str = "absmax") -> npt.NDArray[np.float32]:
    """The scales of a layer's weights.

    Args:
        layer: A convolution or a linear layer, in fp32.
        target: Says how many levels the weights have: 127, or 31 where ncnn may run the layer as Winograd.
        method: absmax: levels / largest magnitude. mse: of 64 scales from that one up, the one with the least squared
            error; where weights have 6 bits, only as far as the largest still rounds to 31, since ncnn clamps at 127.

    Returns:
        One an output channel (a group, for depthwise), fp32; 1 for a channel of zeros.
    """
    rows = layer.weights["weight"].data.astype(np.float32).reshape(weight_scale_count(layer), -1)
    levels = target.weight_levels(layer)
    with np.errstate(divide="ignore"):
        scales = np.float32(levels) / np.abs(rows).max(axis=1)
    scales = np.where(np.isfinite(scales), scales, np.float32(1)).astype(np.float32)
    return _least_squares(rows, scales, 1.6 if levels == 127 else 31.49 / 31) if method == "mse" else scales


def _least_squares(
    rows: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], most: float
) -> npt.NDArray[np.float32]:
    """Of these scales times 1 to `most`, for each row the one with the least squared error."""
    best, least = scales, np.full(len(rows), np.inf)
    for factor in np.linspace(1, most, CANDIDATES, dtype=np.float32):
        candidates = (scales * factor)[:, None]
        error = np.square(rows - round_int8(rows * candidates) / candidates).sum(axis=1)
        best = np.where(error < least, candidates[:, 0], best)
        least = np.minimum(least, error)
    return best
