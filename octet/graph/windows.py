"""What a convolution multiplies its weights with."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from octet.graph.layers import integer
from octet.ncnn.layer import Layer

SAME_UPPER, SAME_LOWER = -233, -234  # a border as wide as it has to be, the odd pixel behind or in front


def windows(layer: Layer, values: np.ndarray, border: np.generic | float = 0) -> np.ndarray:
    """Of a Convolution or ConvolutionDepthWise and its input of shape (C, H, W): a view of shape (C, output height,
    output width, kernel height, kernel width). border: the value around the input. Source: Convolution::make_padding
    and forward in ncnn's src/layer/convolution.cpp.
    """
    kernel, stride, dilation = (
        (integer(layer, f"{name}_h"), integer(layer, f"{name}_w")) for name in ("kernel", "stride", "dilation")
    )
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    bordered = np.pad(values, _border(layer, values.shape[1:], extent, stride), constant_values=border)
    whole = sliding_window_view(bordered, extent, axis=(1, 2))
    return whole[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _border(layer: Layer, size: tuple[int, ...], extent: tuple[int, ...], stride: tuple[int, ...]) -> list[tuple]:
    left, right, top, bottom = (integer(layer, f"pad_{side}") for side in ("left", "right", "top", "bottom"))
    if left not in (SAME_UPPER, SAME_LOWER):
        return [(0, 0), (top, bottom), (left, right)]
    whole = [max(e + (n - 1) // s * s - n, 0) for n, e, s in zip(size, extent, stride, strict=True)]
    halves = [(n // 2, n - n // 2) for n in whole]
    return [(0, 0), *(halves if left == SAME_UPPER else [half[::-1] for half in halves])]
