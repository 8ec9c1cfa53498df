"""What a network's speed depends on, as a checksum: two networks that differ in weights alone run the same kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import onnx

from octet.ncnn.layer import Layer


def kernels(layers: Sequence[Layer]) -> str:
    """Of an ncnn network on one size of its input: its layers and their whole-number parameters.

    Two int8 networks that differ in weights and in parameters with a point alone, as those of two calibrators do, run the same
    kernels.

    Args:
        layers: The network's.
    """
    lines = []
    for layer in layers:
        numbers = [f"{key}={value}" for key, value in layer.params.items() if not {".", "e"} & set(value)]
        lines.append(" ".join([layer.type, layer.name, *layer.inputs, *layer.outputs, *numbers]))
    return _checksum(lines)


def onnx_kernels(model: onnx.ModelProto, engine: str, version: str) -> str:
    """Of an ONNX model in an engine: the operators, their attributes and what they read, and the shapes of the constants.

    Args:
        model: The model.
        engine: The engine's name.
        version: Its version: another one may have other kernels.
    """
    graph = model.graph
    lines = [f"{engine} {version}", *(f"{used.domain} {used.version}" for used in model.opset_import)]
    lines += [_text(value) for value in (*graph.input, *graph.value_info, *graph.output)]
    lines += [_constant(tensor) for tensor in graph.initializer]
    for node in graph.node:
        attributes = [_constant(one.t, one.name) if one.HasField("t") else _text(one) for one in node.attribute]
        lines.append(" ".join([node.domain, node.op_type, *node.input, "->", *node.output, *attributes]))
    return _checksum(lines)


def _constant(tensor: onnx.TensorProto, name: str = "") -> str:
    """Its type and shape; of shapes, axes and such, which are int64 in ONNX, the values, too."""
    values = _text(tensor) if tensor.data_type == onnx.TensorProto.INT64 else ""
    return f"{name or tensor.name} {tensor.data_type} {list(tensor.dims)} {values}"


def _text(message: onnx.AttributeProto | onnx.TensorProto | onnx.ValueInfoProto) -> str:
    data: bytes = message.SerializeToString(deterministic=True)
    return data.hex()


def _checksum(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
