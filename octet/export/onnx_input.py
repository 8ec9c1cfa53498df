"""The one input of an ONNX model: its channels, size, layout and type, and the same as Octet's: fp32 of (1, C, H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from octet.core.errors import OctetError
from octet.export.onnx_opset import Model

_TYPES = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.DOUBLE: np.float64,
    onnx.TensorProto.UINT8: np.uint8,
}


@dataclass(frozen=True)
class Input:
    """The input of a model.

    Args:
        name: In the model.
        dtype: Its numbers' type.
        layout: 'NCHW' or 'NHWC'.
        channels: How many.
        height: In pixels; None: open.
        width: In pixels; None: open.
    """

    name: str
    dtype: Any
    layout: str
    channels: int
    height: int | None
    width: int | None

    def feed(self, x: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """A network input of Octet's, of shape (C, H, W), as this model takes it."""
        batch = x[None] if self.layout == "NCHW" else x.transpose(1, 2, 0)[None]
        return np.ascontiguousarray(batch.astype(self.dtype))


def only_input(model: Model, path: str, layout: str | None = None) -> Input:
    """The model's input.

    Args:
        model: As onnx_file reads it.
        path: Its file, for errors.
        layout: What the entry says of it.

    Raises:
        OctetError: There are several, or it is no image of 1 or 3 channels, or of a type that images do not have.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs)
        raise OctetError(
            f"{path}: has {len(inputs)} inputs{f' ({names})' if names else ''}; Octet quantizes networks with one image as input"
        )
    value = inputs[0]
    if (form := value.type.WhichOneof("value")) != "tensor_type":
        raise OctetError(
            f"{path}: the input {value.name!r} is no tensor but {form}; expected an image: [1, channels, height, width]"
        )
    kind = value.type.tensor_type.elem_type
    if kind not in _TYPES:
        known = ", ".join(onnx.TensorProto.DataType.Name(key).lower() for key in _TYPES)
        raise OctetError(
            f"{path}: the input {value.name!r} is of type {onnx.TensorProto.DataType.Name(kind).lower()}; expected one of {known}"
        )
    sizes = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in value.type.tensor_type.shape.dim
    ]
    shown = f"[{', '.join(str(size or '?') for size in sizes)}]"
    if len(sizes) != 4:
        raise OctetError(
            f"{path}: the input {value.name!r} has the shape {shown}; expected an image: [1, channels, height, width]"
        )
    if sizes[0] not in (None, 1):
        raise OctetError(
            f"{path}: the input {value.name!r} takes {sizes[0]} images at once; expected one, or any number. Export "
            f"it again with a batch of 1"
        )
    layout = layout or _layout(sizes)
    if layout is None:
        raise OctetError(
            f"{path}: the input {value.name!r} has the shape {shown}, which does not tell its layout. Write 'layout: "
            f"NCHW' or 'layout: NHWC' into 'preprocess'"
        )
    channels, height, width = sizes[1:] if layout == "NCHW" else (sizes[3], *sizes[1:3])
    if channels not in (1, 3):
        raise OctetError(
            f"{path}: the input {value.name!r} has the shape {shown}, as {layout} with {channels or 'any number of'} "
            f"channels; expected 3, or 1 (grey)"
        )
    return Input(value.name, _TYPES[kind], layout, channels, height, width)


def _layout(sizes: list[int | None]) -> str | None:
    first, last = sizes[1] in (1, 3), sizes[3] in (1, 3)
    return None if first == last else "NCHW" if first else "NHWC"
