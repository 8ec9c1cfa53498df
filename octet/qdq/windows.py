"""What an ONNX convolution multiplies its weights with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from numpy.lib.stride_tricks import sliding_window_view

from octet.qdq.network import Floats, Layer

Doubles = npt.NDArray[np.float64]


def windows(layer: Layer, values: Floats) -> Floats:
    """Cuts a convolution's input into its windows. Source: ONNX's definition of Conv.

    Args:
        layer: A convolution over height and width.
        values: Its input, of shape (C, H, W).

    Returns:
        A view of shape (C, output height, output width, kernel height, kernel width).
    """
    stride, dilation, border = _geometry(layer, (values.shape[1], values.shape[2]))
    extent = [d * (kernel - 1) + 1 for d, kernel in zip(dilation, layer.weight.shape[2:], strict=True)]
    view: npt.NDArray[np.float32] = sliding_window_view(np.pad(values, [(0, 0), *border]), extent, (1, 2))  # type: ignore[call-overload]  # numpy's stub knows one axis
    return view[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


@dataclass(frozen=True)
class Reads:
    """Which share of a convolution's windows reads each input at each place of the kernel, by height and width.

    Args:
        rows: fp64 of shape (kernel height, H).
        columns: fp64 of shape (W, kernel width).
    """

    rows: Doubles
    columns: Doubles

    @classmethod
    def of(cls, layer: Layer, shape: tuple[int, ...]) -> Reads:
        """Those of a convolution over height and width, for inputs of a shape (…, H, W)."""
        size = shape[-2], shape[-1]
        stride, dilation, border = _geometry(layer, size)
        shares = []
        for axis, kernel in enumerate(layer.weight.shape[2:]):
            places = np.arange(kernel) * dilation[axis]
            corners = np.arange(0, size[axis] + sum(border[axis]) - places[-1], stride[axis]) - border[axis][0]
            shares.append((corners[:, None] + places[:, None, None] == np.arange(size[axis])).mean(axis=1))
        return cls(shares[0], shares[1].T)

    def means(self, values: Floats) -> Doubles:
        """The mean of the windows, fp64 of shape (C, kernel height, kernel width), of an input of shape (C, H, W)."""
        result: Doubles = self.rows @ (values.astype(np.float64) @ self.columns)
        return result


def _geometry(layer: Layer, size: tuple[int, int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Stride, dilation and border (in front, behind) of a convolution, by height and width of an input of that size."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.node.attribute}
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    sides = attributes.get("pads", [0, 0, 0, 0])
    border = [(sides[0], sides[2]), (sides[1], sides[3])]
    if same := attributes.get("auto_pad", b"NOTSET").decode() in ("SAME_UPPER", "SAME_LOWER"):
        extent = [d * (kernel - 1) + 1 for d, kernel in zip(dilation, layer.weight.shape[2:], strict=True)]
        whole = [max(-(-n // s) * s - s + e - n, 0) for n, e, s in zip(size, extent, stride, strict=True)]
        border = [(n // 2, n - n // 2) for n in whole]
    if same and attributes["auto_pad"] == b"SAME_LOWER":
        border = [(after, before) for before, after in border]
    return stride, dilation, border
