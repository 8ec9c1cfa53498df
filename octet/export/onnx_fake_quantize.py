"""OpenVINO's operator FakeQuantize in an ONNX file, as MMRazor and NNCF write it: QuantizeLinear and DequantizeLinear in one.

Its inputs are a tensor, the ends of what is kept of it, and what these ends become; its attribute is how many levels there are
(OpenVINO's documentation, «FakeQuantize»). ONNX does not know it, so ONNX's checker and ONNX Runtime get the model without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.export.onnx_constants import Array
from octet.export.onnx_integers import Quantized
from octet.export.onnx_opset import Model

_KIND = "FakeQuantize"
_DOMAIN = "org.openvinotoolkit"


def is_fake_quantize(node: Any) -> bool:
    """Is a node that operator?"""
    return bool(node.op_type == _KIND and node.domain == _DOMAIN)


def without(model: Model) -> Model:
    """The model in which each of them lets its tensor through; itself where it has none."""
    if not any(map(is_fake_quantize, model.graph.node)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in filter(is_fake_quantize, copy.graph.node):
        node.op_type, node.domain = "Identity", ""
        del node.input[1:], node.attribute[:]
    return copy


def spelled_out(model: Model) -> Model:
    """The model with operators that ONNX Runtime has in the place of each of them; itself where it has none."""
    if not any(map(is_fake_quantize, model.graph.node)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    for node in model.graph.node:
        copy.graph.node.extend(_in_onnx(node, copy) if is_fake_quantize(node) else [node])
    return copy


def _in_onnx(node: Any, model: Model) -> list[Any]:
    """What OpenVINO says that one of them does, in several operators, whose one constant goes to the model."""
    (tensor, low, high, low_becomes, high_becomes), (output,) = node.input, node.output
    levels = next((item.i for item in node.attribute if item.name == "levels"), 256)
    steps = f"{output}/octet_steps"
    model.graph.initializer.append(numpy_helper.from_array(np.array(levels - 1, np.float32), steps))
    made: list[Any] = []

    def make(kind: str, *names: str) -> str:
        made.append(helper.make_node(kind, names, [f"{output}/octet_{len(made)}"]))
        return str(made[-1].output[0])

    above = make("Sub", make("Min", make("Max", tensor, low), high), low)
    step, step_becomes = (make("Div", make("Sub", *ends), steps) for ends in ((high, low), (high_becomes, low_becomes)))
    integers = make("Round", make("Div", above, step))
    make("Add", make("Mul", integers, step_becomes), low_becomes)
    made[-1].output[0] = output
    return made


def fake_quantized(node: Any, tensor: str, constants: Mapping[str, Array], path: str) -> Quantized:
    """What one of them says.

    Args:
        node: It.
        tensor: What it quantizes.
        constants: By name.
        path: The model's file, for errors.

    Raises:
        OctetError: It does more than to round, or its limits are no constants.
    """
    of = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    ends = [constants.get(name) for name in node.input[1:]]
    known = [end for end in ends if end is not None]
    levels = int(of.get("levels", 256))
    limits = _limits(known, levels) if len(ends) == len(known) == 4 else None
    if limits is None:
        raise OctetError(
            f"{path}: {_KIND} {printable(node.name)!r}: expected constant limits, those of what comes out the "
            "same as of what goes in, one for the tensor or one a channel. Export the model again"
        )
    scale, zero, axis = limits
    first = int(zero.flat[0])
    if (zero == first).all():  # around 0, so that a weight's integers are seen to be
        return Quantized(tensor, scale, zero - first, -first, levels - 1 - first, axis)
    return Quantized(tensor, scale, zero, 0, levels - 1, axis)


def _limits(ends: list[Array], levels: int) -> tuple[Array, Array, int] | None:
    """The steps, the integer of 0, and the axis of which each index has its own.

    Args:
        ends: The two of what is kept, and what these become, each of one shape that broadcasts to the tensor's.
        levels: How many integers there are.

    Returns:
        None where what comes out is not the tensor, rounded.
    """
    low, high, low_becomes, high_becomes = (
        np.broadcast_to(end, np.broadcast_shapes(*(e.shape for e in ends))) for end in ends
    )
    scale = (high.astype(np.float64) - low) / (levels - 1)
    same = np.allclose(low, low_becomes, 1e-3, 1e-12) and np.allclose(high, high_becomes, 1e-3, 1e-12)
    if not same or levels < 2 or not (scale > 0).all():
        return None
    axes = [k for k, count in enumerate(low.shape) if count > 1]
    if len(axes) > 1:
        return None
    zero = np.rint(-low / scale).astype(np.int64)
    return scale.astype(np.float32).reshape(-1), zero.reshape(-1), axes[0] if axes else 0
