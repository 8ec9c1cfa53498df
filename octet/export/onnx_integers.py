"""The integers of a model with fake quantization: what QuantizeLinear and DequantizeLinear say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.export.onnx_constants import Array


@dataclass(frozen=True)
class Quantized:
    """Integers that a QuantizeLinear gives: of which tensor, and how."""

    tensor: str
    scale: Array
    zero_point: Array
    low: int
    high: int
    axis: int

    @property
    def kind(self) -> int:
        """The integers' type, of those of 8 bits."""
        return int(TensorProto.INT8 if self.low < 0 else TensorProto.UINT8)


@dataclass(frozen=True)
class Steps:
    """Of a weight, one for all or one an index of an axis; and the largest of its integers."""

    values: Array
    axis: int
    largest: int


def integers_of(node: Any, tensor: str, constants: Mapping[str, Array], path: str) -> Quantized:
    """What the inputs and attributes of one of the two operators say.

    Args:
        node: It.
        tensor: What it quantizes.
        constants: By name.
        path: The model's file, for errors.

    Raises:
        OctetError: Its scales are no constants, or no scales.
    """
    of = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    names = [*node.input, ""]
    scale = constants.get(names[1])
    zero = constants.get(names[2]) if names[2] else None
    if scale is None or (names[2] and zero is None) or of.get("block_size"):
        raise OctetError(
            f"{path}: {node.op_type} {printable(node.name)!r} has no constant scale and zero point, or blocks of them; "
            "Octet takes scales over that are one for a tensor or one for a channel"
        )
    zero, axis = _zero(node, of, constants) if zero is None else zero, int(of.get("axis", 1))
    if zero.dtype == np.int32 and node.op_type == "QuantizeLinear" and not zero.any():
        # MMRazor's for TensorRT, in opset 11: torch's zero points as they are, and no axis, which is the weight's first
        zero, axis = zero.astype(np.int8), int(of.get("axis", 0))
    ends = np.iinfo(zero.dtype) if zero.dtype.kind in "iu" else None
    if ends is None or not np.isfinite(scale).all() or not (scale > 0).all():
        raise OctetError(
            f"{path}: {node.op_type} {printable(node.name)!r}: expected integers and scales above 0; export the model again"
        )
    low, high = int(ends.min), int(ends.max)
    return Quantized(tensor, scale.astype(np.float32), zero.astype(np.int64), low, high, axis)


def _zero(node: Any, of: Mapping[str, Any], constants: Mapping[str, Array]) -> Array:
    """The zero point of an operator that names none: 0, of the integers' type. of: its attributes."""
    if node.op_type == "DequantizeLinear":
        return np.array(0, constants[node.input[0]].dtype if node.input[0] in constants else np.uint8)
    return np.array(0, helper.tensor_dtype_to_np_dtype(of.get("output_dtype") or TensorProto.UINT8))


def check_same(node: Any, given: Quantized, read: Quantized, path: str) -> None:
    """Refuses a pair that does more than to round.

    Args:
        node: Its DequantizeLinear.
        given: What its QuantizeLinear says.
        read: What the node itself says.
        path: The model's file, for errors.

    Raises:
        OctetError: The two differ in scale, zero point or axis.
    """
    values = ((given.scale, read.scale), (given.zero_point, read.zero_point))
    same = [np.allclose(one.reshape(-1), other.reshape(-1), 1e-5, 0) for one, other in values]
    says_axis = any(item.name == "axis" for item in node.attribute)
    same.append(given.scale.size == 1 or not says_axis or given.axis == read.axis)
    if not all(same):
        what = next(name for name, alike in zip(("scale", "zero point", "axis"), same, strict=True) if not alike)
        raise OctetError(
            f"{path}: DequantizeLinear {printable(node.name)!r} has another {what} than the QuantizeLinear before it; Octet "
            "takes pairs out that round and do no more. Export the model again"
        )


def along(values: Array, axis: int, ndim: int) -> Array:
    """One value for all, or one an index of an axis, in a shape that broadcasts."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def cast_to(node: Any) -> int:
    """The type that a Cast gives."""
    return int(next((item.i for item in node.attribute if item.name == "to"), 0))
