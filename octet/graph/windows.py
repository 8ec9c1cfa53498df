"""What a convolution multiplies its weights with."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from octet.graph.layers import integer
from octet.ncnn.layer import Layer

T = TypeVar("T", bound=np.generic)
SAME_UPPER, SAME_LOWER = -233, -234  # in pad_left: a border as wide as it has to be, the odd pixel behind or in front


def windows(layer: Layer, values: npt.NDArray[T], border: np.generic | float = 0) -> npt.NDArray[T]:
    """Cuts a convolution's input into its windows. Source: make_padding and forward in ncnn's src/layer/convolution.cpp.

    Args:
        layer: A Convolution or ConvolutionDepthWise.
        values: Its input, of shape (C, H, W).
        border: The value around the input.

    Returns:
        A view of shape (C, output height, output width, kernel height, kernel width).
    """
    stride, dilation, extent = _both(layer, "stride"), _both(layer, "dilation"), _extent(layer)
    sides = [(0, 0), *border_sizes(layer, (values.shape[1], values.shape[2]))]
    whole = sliding_window_view(np.pad(values, sides, constant_values=border), extent, (1, 2))  # type: ignore[call-overload]  # numpy's stub knows one axis
    view: npt.NDArray[T] = whole[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return view


def border_sizes(layer: Layer, size: tuple[int, int]) -> list[tuple[int, int]]:
    """How many values a convolution reads around its input: in front of it and behind, by height and width.

    Args:
        layer: A Convolution or ConvolutionDepthWise.
        size: Its input's height and width.
    """
    left, right, top, bottom = (integer(layer, f"pad_{side}") for side in ("left", "right", "top", "bottom"))
    if left not in (SAME_UPPER, SAME_LOWER):
        return [(top, bottom), (left, right)]
    sizes = zip(size, _extent(layer), _both(layer, "stride"), strict=True)
    whole = [max(e + (n - 1) // s * s - n, 0) for n, e, s in sizes]
    halves = [(n // 2, n - n // 2) for n in whole]
    return halves if left == SAME_UPPER else [half[::-1] for half in halves]


def _extent(layer: Layer) -> tuple[int, int]:
    """How far a kernel reaches, by height and width."""
    kernel, dilation = _both(layer, "kernel"), _both(layer, "dilation")
    return dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1


def _both(layer: Layer, name: str) -> tuple[int, int]:
    """A parameter's values by height and width."""
    return integer(layer, f"{name}_h"), integer(layer, f"{name}_w")
