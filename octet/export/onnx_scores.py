"""Where in an ONNX model the class scores are: its one output, before a softmax at the end; or that there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.outputs import Output
from octet.core.text import printable
from octet.data.class_names import problem
from octet.export.onnx_opset import Model

_FORMS = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout")  # what changes no value
_SOFTMAX = ("Softmax", "LogSoftmax")
_SEVERAL = ("Sigmoid", "HardSigmoid")
_ANSWERS = ("ArgMax", "TopK", "ArgMin")


def scores(model: Model, path: str) -> str:
    """The name of the value that has the logits, in which a softmax at the end is left out.

    Args:
        model: As onnx_file reads it, with one output.
        path: Its file, for errors.

    Raises:
        OctetError: It ends in a sigmoid.
    """
    output = output_names(model)[0]
    node = _maker(model, output)
    if node is None:
        return output
    if node.op_type in _SOFTMAX:
        return str(node.input[0])
    if node.op_type in _SEVERAL:
        raise OctetError(
            f"{path}: ends in {node.op_type}, which gives an image several labels or none; Octet judges accuracy where a network "
            "chooses one class, by a softmax or by its largest score. 'classes: []' in 'preprocess' has its outputs compared "
            "as they are"
        )
    return output


def _maker(model: Model, name: str) -> Any:
    """The operator that computes a value, behind which nothing changes it; None: the value is an input of the model's."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in _FORMS:
        node = makers.get(node.input[0])
    return node


def output_names(model: Model) -> list[str]:
    """The names of all its outputs."""
    return [value.name for value in model.graph.output]


def plain_outputs(
    model: Model, given: Sequence[str] | None, values: Sequence[npt.NDArray[Any]], path: str
) -> list[Output]:
    """What the network gives, where that is no class scores: several outputs, one of another form, or what the entry says is none.

    Args:
        model: As onnx_file reads it.
        given: The class names of the entry: None where it has none, () where it says that there are no classes.
        values: What its outputs are for an image.
        path: Its file, for errors.

    Returns:
        The outputs; [] where there is one and it is the class scores.

    Raises:
        OctetError: The entry has class names all the same, or an output cannot be compared.
    """
    names = output_names(model)
    scores = len(values) == 1 and values[0].size > 1 and values[0].size in values[0].shape
    if scores and (given is None or len(given)) and values[0].dtype.kind == "f":
        return []
    if given and not scores:
        shapes = ", ".join(f"{printable(name)!r} of {list(y.shape)}" for name, y in zip(names, values, strict=True))
        raise OctetError(
            f"{path}: 'classes' in 'preprocess' has {len(given)} names, but its outputs are no class scores: {shapes}; class "
            "scores are one output of [1, classes]. Leave 'classes' out, and its outputs are compared as they are"
        )
    for name, y in zip(names, values, strict=True):
        node = _maker(model, name)
        if node is not None and node.op_type in _ANSWERS:
            raise OctetError(
                f"{path}: ends in {node.op_type}: it tells classes and no scores. Export it without that operator"
            )
        if problem(name) or y.dtype.kind != "f" or not y.size:
            raise OctetError(
                f"{path}: the output {printable(name)!r} has the type {y.dtype} and the shape {list(y.shape)}; expected numbers "
                "(float) that int8 can be compared by. Export it without that output"
            )
    return [
        Output(name, list(y.shape[1:] if y.ndim > 1 and y.shape[0] == 1 else y.shape))
        for name, y in zip(names, values, strict=True)
    ]


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
