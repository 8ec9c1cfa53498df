"""An ONNX model in another opset.

Upwards onnx's own converter does it. Downwards it lacks most operators, though few of them changed for fp32 numbers but in how a
constant is given: those are written as the older opset has them. Whatever comes out, export compares with the original.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper, numpy_helper, version_converter

from octet.export.onnx_file import Model

_NO_EFFECT = {  # attributes that newer opsets have, with the value by which they change nothing
    "allowzero": 0,
    "training_mode": 0,
    "antialias": 0,
    "noop_with_empty_axes": 0,
    "axes_nearest": 0,
    "num_outputs": None,
}


def opset(model: Model) -> int:
    """The one of ONNX's own operators."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1))


def in_opset(model: Model, wanted: int) -> Model:
    """The model in that opset; in its own where that cannot be, which pnnx may read all the same."""
    now = opset(model)
    if now == wanted:
        return model
    lower = _lowered(model, wanted) if now > wanted else None
    if lower is not None:
        return lower
    try:
        return version_converter.convert_version(model, wanted)
    except (RuntimeError, ValueError, IndexError):
        return model


def _lowered(model: Model, wanted: int) -> Model | None:
    """The model as the older opset has it; None where it has not."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    for entry in copy.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = wanted
    for node in copy.graph.node:
        try:
            schema = onnx.defs.get_schema(node.op_type, wanted)
        except onnx.defs.SchemaError:
            return None
        known = {name.value if hasattr(name, "value") else name for name in schema.attributes}
        _axes_as_attribute(node, known, constants)
        for attribute in [item for item in node.attribute if item.name not in known]:
            if _NO_EFFECT.get(attribute.name, attribute) not in (None, helper.get_attribute_value(attribute)):
                return None
            node.attribute.remove(attribute)
        if len(node.input) > schema.max_input or len(node.output) > schema.max_output:
            return None
    try:
        onnx.checker.check_model(copy)
        onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    return copy


def _axes_as_attribute(node: Any, known: set[str], constants: dict[str, Any]) -> None:
    """Reductions take their axes as an input from opset 18 on, and as an attribute before."""
    if "axes" in known and len(node.input) == 2 and node.input[1] in constants:
        node.attribute.append(helper.make_attribute("axes", numpy_helper.to_array(constants[node.input[1]]).tolist()))
        del node.input[1]
