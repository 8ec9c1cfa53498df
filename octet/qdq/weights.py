"""The weights' integers: int8, one scale for each output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octet.qdq.grids import Grid
from octet.qdq.network import Floats, Layer

LEVELS = 127
INT32 = 2**31 - 1


@dataclass(frozen=True)
class Weights:
    """A layer's weights as integers.

    Args:
        integers: int8, of the weight's shape.
        scales: fp32 of shape (outputs,): what an integer of each output is multiplied with.
        bias: fp32 of shape (outputs,), or int32 in units of the input's scale times the weights'; None: there is none.
    """

    integers: npt.NDArray[np.int8]
    scales: Floats
    bias: npt.NDArray[np.float32] | npt.NDArray[np.int32] | None


def weights(layer: Layer, source: Grid, int_bias: bool) -> Weights:
    """Rounds a layer's weights to the nearest.

    Args:
        layer: In fp32.
        source: The grid of its input.
        int_bias: Is the bias int32?
    """
    scales = weight_scales(layer, source, int_bias)
    steps = np.moveaxis(layer.weight, layer.axis, -1) / scales
    integers = np.clip(np.rint(steps), -LEVELS, LEVELS).astype(np.int8)
    return Weights(np.moveaxis(integers, -1, layer.axis), scales, bias(layer, source, scales, int_bias))


def weight_scales(layer: Layer, source: Grid, int_bias: bool) -> Floats:
    """The scale of each output's weights: as trained, or the largest is 127; larger where the bias would not fit into int32."""
    scales = (
        layer.steps if layer.steps is not None else np.abs(layer.rows(layer.weight)).max(axis=1) / np.float32(LEVELS)
    )
    if int_bias and layer.bias is not None:
        scales = np.maximum(scales, np.abs(layer.bias) / (source.scale * np.float32(INT32 // 2)))
    tiny = np.finfo(np.float32).tiny
    return np.where(scales > tiny, scales, np.float32(1)).astype(np.float32)


def bias(
    layer: Layer, source: Grid, scales: Floats, int_bias: bool
) -> npt.NDArray[np.float32] | npt.NDArray[np.int32] | None:
    """A layer's bias as the engine takes it."""
    if layer.bias is None or not int_bias:
        return layer.bias
    return np.rint(layer.bias.astype(np.float64) / (np.float64(source.scale) * scales)).astype(np.int32)
