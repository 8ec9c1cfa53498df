"""Where in an ONNX model the class scores are: its one output, before a softmax at the end."""

from __future__ import annotations

from typing import Any

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.export.onnx_file import Model

_FORMS = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout")  # what changes no value
_SOFTMAX = ("Softmax", "LogSoftmax")
_SEVERAL = ("Sigmoid", "HardSigmoid")
_ANSWERS = ("ArgMax", "TopK", "ArgMin")


def scores(model: Model, path: str) -> str:
    """The name of the value that has the logits, in which a softmax at the end is left out.

    Args:
        model: As onnx_file reads it.
        path: Its file, for errors.

    Raises:
        OctetError: It has several outputs, ends in a sigmoid, or tells classes and no scores.
    """
    outputs = [value.name for value in model.graph.output]
    if len(outputs) != 1:
        names = ", ".join(map(repr, map(printable, outputs)))
        raise OctetError(
            f"{path}: has {len(outputs)} outputs ({names}); expected one, the scores of the classes. Export it with that alone"
        )
    makers = {name: node for node in model.graph.node for name in node.output}
    name, node = outputs[0], makers.get(outputs[0])
    while node is not None and node.op_type in _FORMS:
        name = node.input[0]
        node = makers.get(name)
    if node is None:
        return str(outputs[0])
    if node.op_type in _SOFTMAX:
        return str(node.input[0])
    if node.op_type in _SEVERAL:
        raise OctetError(
            f"{path}: ends in {node.op_type}, which gives an image several labels or none; Octet judges networks that "
            f"choose one class, by a "
            "softmax or by their largest score"
        )
    if node.op_type in _ANSWERS:
        raise OctetError(
            f"{path}: ends in {node.op_type}: it tells classes and no scores. Export it without that operator"
        )
    return str(outputs[0])


def cut(model: Model, name: str) -> Model:
    """A copy whose only output is a value of that name, and without what is then of no use."""
    short = type(model)()
    short.CopyFrom(model)
    del short.graph.output[:]
    short.graph.output.add().name = name
    needed, kept = {name}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    _replace(short.graph.node, kept[::-1])
    _replace(short.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in needed])
    return short


def _replace(field: Any, items: list[Any]) -> None:
    del field[:]
    field.extend(items)
