"""An ONNX model in the form that all later stages read: fp32, a batch of 1, fixed sizes, one opset, fixed names."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from octet.core.errors import OctetError
from octet.core.outputs import Output
from octet.export.onnx_gemm import plain_gemms
from octet.export.onnx_input import Input
from octet.export.onnx_opset import Model, in_opset
from octet.export.onnx_session import run, session

_WIDE = {TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}


def normalized(
    model: Model, given: Input, size: tuple[int, int], opset: int, path: str, outputs: Sequence[Output] = ()
) -> bytes:
    """The model with an fp32 input 'input' of shape (1, C, H, W) and one output 'output' of shape (1, classes).

    One that gives no class scores keeps its outputs, under the names output_0, output_1, …

    Args:
        model: With one output, the scores of the classes, or with other outputs.
        given: Its input.
        size: (height, width) of the network's input.
        opset: The one that the result has.
        path: The model's file, for errors.
        outputs: What it gives where that is no class scores.

    Raises:
        OctetError: ONNX Runtime cannot run it at that size, it has no class scores, or it cannot be written in that opset.
    """
    model = onnx.inliner.inline_local_functions(model) if model.functions else model
    model = to_fp32(model)
    _set_input(model, given, size)
    model = in_opset(_folded(model, path), opset)
    plain_gemms(model)
    if outputs:
        _keep_outputs(model, outputs, path)
    else:
        _keep_scores(model, path)
    del model.graph.value_info[:]
    _name_nodes(model)
    _say_kernel_shapes(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _keep_scores(model: Model, path: str) -> None:
    """Makes the one output 'output', of shape (1, classes)."""
    (shape,) = _shapes(model, path)
    classes = [k for k in shape if k != 1]
    if len(classes) != 1:
        raise OctetError(
            f"{path}: its output has the shape {shape}; expected [1, classes], the scores of at least two "
            f"classes. Octet judges "
            "classifiers"
        )
    if len(shape) > 2 and shape[:2] == [1, classes[0]]:
        _append(model, "Flatten", [])  # which does not fix the batch
    elif len(shape) != 2 or shape[0] != 1:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "octet_scores"))
        _append(model, "Reshape", ["octet_scores"])
    _rename_output(model)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, classes[0]]))


def _keep_outputs(model: Model, outputs: Sequence[Output], path: str) -> None:
    """Names the outputs output_0, output_1, …, and says their shapes."""
    made = {name for node in model.graph.node for name in node.output}
    names = [value.name for value in model.graph.output]
    shapes = _shapes(model, path)
    for name, output in zip(names, outputs, strict=True):
        if name not in made:
            raise OctetError(
                f"{path}: the output {output.name!r} is the same for every image; export it without that one"
            )
    new = [f"output_{k}" for k in range(len(names))]
    for k, name in enumerate(new):
        _rename(model, name, f"octet_not_{name}")
        names = [f"octet_not_{name}" if other == name else other for other in names]
        _rename(model, names[k], name)
    del model.graph.output[:]
    for name, shape in zip(new, shapes, strict=True):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def to_fp32(model: Model) -> Model:
    """A copy in which all numbers of fp16 and fp64 are fp32; its input, too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        _cast(tensor)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _cast(attribute.t)
            elif attribute.name in ("to", "dtype") and attribute.i in _WIDE:
                attribute.i = TensorProto.FLOAT
    for value in copy.graph.input:
        if value.type.tensor_type.elem_type in _WIDE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for value in copy.graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        value.type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    return copy


def computes_in_half(model: Model) -> bool:
    """Has the model fp16 numbers, so that what it gives is only as exact as they are?"""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {
        item.i for node in model.graph.node for item in node.attribute if node.op_type == "Cast" and item.name == "to"
    }
    return TensorProto.FLOAT16 in kinds


def not_finite(model: Model) -> list[str]:
    """The names of constants with numbers that are not finite. A mask may have infinite ones rightly."""
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type in (TensorProto.FLOAT, *_WIDE)]
    return [tensor.name for tensor in floats if not np.isfinite(numpy_helper.to_array(tensor)).all()]


def _cast(tensor: Any) -> None:
    if tensor.data_type in _WIDE:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _set_input(model: Model, given: Input, size: tuple[int, int]) -> None:
    """Makes the input fp32 'input' of shape (1, C, H, W)."""
    weights = {tensor.name for tensor in model.graph.initializer}
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, given.channels, *size]))
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | weights
    front = []
    if given.layout == "NHWC":
        front.append(helper.make_node("Transpose", ["input"], ["octet_nhwc"], perm=[0, 2, 3, 1]))
    source = "octet_nhwc" if front else "input"
    if "input" in taken - {given.name}:
        _rename(model, "input", "octet_input")
    _rename(model, given.name, source, inputs_only=True)
    nodes = [*front, *model.graph.node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _rename(model: Model, old: str, new: str, inputs_only: bool = False) -> None:
    for node in model.graph.node:
        for field in (node.input,) if inputs_only else (node.input, node.output):
            for k, name in enumerate(field):
                if name == old:
                    field[k] = new
    for tensor in model.graph.initializer if not inputs_only else ():
        if tensor.name == old:
            tensor.name = new
    for value in model.graph.output:
        if value.name == old and not inputs_only:
            value.name = new


def _folded(model: Model, path: str) -> Model:
    """What ONNX Runtime makes of it before it runs it: no constant is computed twice, batch norms are in convolutions."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        session(model, path, options)
        folded = onnx.load(options.optimized_model_filepath)
    domains = {node.domain for node in folded.graph.node}
    imports = [entry for entry in folded.opset_import if entry.domain in domains | {""}]
    del folded.opset_import[:]
    folded.opset_import.extend(imports)
    return folded


def _shapes(model: Model, path: str) -> list[list[int]]:
    """Those of the outputs, as they come: ONNX does not infer all of them."""
    engine = session(model, path)
    entry = engine.get_inputs()[0]
    return [list(value.shape) for value in run(engine, entry.name, np.zeros(entry.shape, np.float32), path)]


def _name_nodes(model: Model) -> None:
    """Gives each node a name of its own: calibration by PPQ finds them by it."""
    taken = [node.name for node in model.graph.node]
    for k, node in enumerate(model.graph.node):
        if not node.name or taken.count(node.name) > 1:
            node.name = f"octet_{node.op_type}_{k}"


def _say_kernel_shapes(model: Model) -> None:
    """Gives each convolution its kernel's size as an attribute, which ONNX leaves to the weights and PPQ asks for."""
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        known = {attribute.name for attribute in node.attribute}
        if node.op_type in ("Conv", "ConvTranspose") and "kernel_shape" not in known and node.input[1] in sizes:
            node.attribute.append(helper.make_attribute("kernel_shape", sizes[node.input[1]][2:]))


def _append(model: Model, kind: str, more: list[str]) -> None:
    """One more operator at the end."""
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node(kind, [last, *more], ["octet_output"]))
    model.graph.output[0].name = "octet_output"


def _rename_output(model: Model) -> None:
    last = model.graph.output[0].name
    if last != "output":
        _rename(model, "output", "octet_not_output")
        _rename(model, last, "output")
