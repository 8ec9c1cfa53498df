"""What an ONNX convolution multiplies its weights with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from numpy.lib.stride_tricks import sliding_window_view

from octet.qdq.network import Floats, Layer


def windows(layer: Layer, values: Floats) -> Floats:
    """Cuts a convolution's input into its windows. Source: ONNX's definition of Conv.

    Args:
        layer: A convolution over height and width.
        values: Its input, of shape (C, H, W).

    Returns:
        A view of shape (C, output height, output width, kernel height, kernel width).
    """
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.node.attribute}
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    extent = [d * (kernel - 1) + 1 for d, kernel in zip(dilation, layer.weight.shape[2:], strict=True)]
    sides = attributes.get("pads", [0, 0, 0, 0])
    border = [(sides[0], sides[2]), (sides[1], sides[3])]
    if same := attributes.get("auto_pad", b"NOTSET").decode() in ("SAME_UPPER", "SAME_LOWER"):
        whole = [max(-(-n // s) * s - s + e - n, 0) for n, e, s in zip(values.shape[1:], extent, stride, strict=True)]
        border = [(n // 2, n - n // 2) for n in whole]
    if same and attributes["auto_pad"] == b"SAME_LOWER":
        border = [(after, before) for before, after in border]
    view: npt.NDArray[np.float32] = sliding_window_view(np.pad(values, [(0, 0), *border]), extent, (1, 2))  # type: ignore[call-overload]  # numpy's stub knows one axis
    return view[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
