"""What a model's file says besides its operators: its version, its inputs and outputs. What is left out there is filled in."""

from __future__ import annotations

from typing import Any

import onnx

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.export.onnx_opset import Model

_OLDEST_IR, _NEWEST_IR = 4, 10  # of the file's own form: from 4 on weights are no inputs, 10 is what ONNX Runtime reads


def complete(model: Model, path: str) -> Model:
    """The model with a type and a shape for each input and output, in a form of the file that ONNX Runtime reads.

    The form's version counts its types of numbers and notes; a model that has newer ones is refused by ONNX's checker.

    Args:
        model: Whole; it is changed.
        path: Its file, for errors.

    Raises:
        OctetError: An input has no shape, or an output's type cannot be inferred, or an output is no tensor, or there is none.
    """
    model.ir_version = min(max(model.ir_version, _OLDEST_IR), _NEWEST_IR)
    for item in (*model.opset_import, *model.graph.node):
        item.domain = "" if item.domain == "ai.onnx" else item.domain
    for value in model.graph.input:
        if missing := _missing(value):
            raise OctetError(
                f"{path}: the input {printable(value.name)!r} has no {missing}; expected an image: [1, channels, height, width]. "
                "Export it again with the input's shape"
            )
    if not model.graph.output:
        raise OctetError(
            f"{path}: has no outputs; expected one, the scores of the classes, or several. Export it again with them"
        )
    known = [value for value in model.graph.value_info if not _missing(value)]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    if any(map(_missing, model.graph.output)):
        model = _inferred(model)
    for value in model.graph.output:
        kind = value.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            raise OctetError(
                f"{path}: the output {printable(value.name)!r} is no tensor but {kind.removesuffix('_type')}; Octet compares "
                "tensors. Export the model with its elements as outputs, or without it"
            )
        if _missing(value) == "type":
            raise OctetError(
                f"{path}: the output {printable(value.name)!r} has no type in the file, and ONNX cannot infer it. Export the model "
                "again with the types of its outputs"
            )
        if _missing(value):
            value.type.tensor_type.shape.SetInParent()  # ONNX's checker asks for one, and what it is comes from running the model
    return model


def _missing(value: Any) -> str:
    """What a value of a graph lacks: 'type', 'shape' or nothing. Sequences and maps have no shape."""
    if not value.HasField("type") or not value.type.WhichOneof("value"):
        return "type"
    tensor = value.type.WhichOneof("value") == "tensor_type"
    return "shape" if tensor and not value.type.tensor_type.HasField("shape") else ""


def _inferred(model: Model) -> Model:
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):  # a damaged model, or one over 2 GB
        return model
