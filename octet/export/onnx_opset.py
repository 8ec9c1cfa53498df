"""An ONNX model in another opset.

Upwards onnx's own converter does it. Downwards it lacks most operators, though few of them changed for fp32 numbers but in how a
constant is given: those are written as the older opset has them. Whatever comes out, export compares with the original.

From opset 22 on, which ONNX Runtime does not read, the older form is the original: what those opsets changed in operators that
opset 21 has are types of numbers, and attributes, which have to be the default's.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper, numpy_helper, version_converter

from octet.core.errors import OctetError
from octet.core.text import printable

Model = Any  # onnx.ModelProto, which has no types

OLDEST, NEWEST = 7, 21  # opsets that ONNX Runtime reads
_ALIKE = 25  # up to which operators changed in types of numbers and in new attributes alone
_NO_EFFECT = {  # attributes that newer opsets have, with the value by which they change nothing
    "allowzero": 0,
    "training_mode": 0,
    "antialias": 0,
    "noop_with_empty_axes": 0,
    "axes_nearest": 0,
    "num_outputs": None,
    "round_mode": b"up",
}


def opset(model: Model) -> int:
    """The one of ONNX's own operators."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1))


def in_opset(model: Model, wanted: int) -> Model:
    """The model in that opset; in its own where that cannot be, which pnnx may read all the same."""
    now = opset(model)
    if now == wanted:
        return model
    if now > wanted:
        lower = onnx.shape_inference.infer_shapes(
            model
        )  # a copy, whose outputs have the shapes that ONNX's checker asks for
        if not _lower(lower, wanted) and _is_valid(lower):
            return lower
    try:
        return version_converter.convert_version(model, wanted)
    except (RuntimeError, ValueError, IndexError):
        return model


def readable(model: Model, path: str) -> Model:
    """The model in an opset that ONNX Runtime reads; whether it is valid there is not looked at.

    Args:
        model: Whole.
        path: Its file, for errors.

    Raises:
        OctetError: It needs another one.
    """
    now = opset(model)
    if now < OLDEST:
        raise OctetError(
            f"{path}: is of opset {now}; expected {OLDEST} to {NEWEST}. Export it with a newer one, as torch.onnx.export(…, "
            f"opset_version=13), or try onnx.version_converter.convert_version"
        )
    if now <= NEWEST:
        return model
    lower = _copy(model)
    misfits = _lower(lower, NEWEST) if now <= _ALIKE else []
    if misfits or now > _ALIKE:
        names = ", ".join(map(printable, misfits))
        raise OctetError(
            f"{path}: is of opset {now}; expected {OLDEST} to {NEWEST}, or up to {_ALIKE} where all operators are as in {NEWEST}"
            f"{names and f', as {names} ' + ('is not' if len(misfits) == 1 else 'are not')}. Export it with an older opset: "
            f"torch.onnx.export(…, opset_version=17)"
        )
    return lower


def _copy(model: Model) -> Model:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _lower(model: Model, wanted: int) -> list[str]:
    """Writes the model as the older opset has it, in place; returns the operators of which that has no such form."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = wanted
    return sorted({node.op_type for node in model.graph.node if not _lower_node(node, wanted, constants)})


def _is_valid(model: Model) -> bool:
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _lower_node(node: Any, wanted: int, constants: dict[str, Any]) -> bool:
    """Writes an operator as the older opset has it, in place; returns whether that has such a form."""
    if node.domain not in ("", "ai.onnx"):
        return True
    try:
        schema = onnx.defs.get_schema(node.op_type, wanted)
    except onnx.defs.SchemaError:
        return False
    known = {name.value if hasattr(name, "value") else name for name in schema.attributes}
    _axes_as_attribute(node, known, constants)
    for attribute in [item for item in node.attribute if item.name not in known]:
        if _NO_EFFECT.get(attribute.name, attribute) not in (None, helper.get_attribute_value(attribute)):
            return False
        node.attribute.remove(attribute)
    return len(node.input) <= schema.max_input and len(node.output) <= schema.max_output


def _axes_as_attribute(node: Any, known: set[str], constants: dict[str, Any]) -> None:
    """Reductions take their axes as an input from opset 18 on, and as an attribute before."""
    if "axes" in known and len(node.input) == 2 and node.input[1] in constants:
        node.attribute.append(helper.make_attribute("axes", numpy_helper.to_array(constants[node.input[1]]).tolist()))
        del node.input[1]
