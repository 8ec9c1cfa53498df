"""A model whose constants are all tensors: what it computes of constants alone is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from octet.export.onnx_opset import Model
from octet.export.onnx_session import fixed

PAIR = ("QuantizeLinear", "DequantizeLinear")

Array = npt.NDArray[Any]


def constants(model: Model) -> dict[str, Array]:
    """The tensors of a model by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_constants(model: Model, path: str) -> Model:
    """The model with tensors in the place of all nodes that no image changes, but for QuantizeLinear and DequantizeLinear.

    Args:
        model: Whole; it stays as it is.
        path: Its file, for errors.

    Raises:
        OctetError: ONNX Runtime cannot compute them.
    """
    known = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    alone, others = [], []
    for node in model.graph.node:
        constant = known.issuperset(name for name in node.input if name) and outputs.isdisjoint(node.output)
        if constant and node.op_type not in PAIR and not node.domain:
            alone.append(node)
            known.update(node.output)
        else:
            others.append(node)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(others)
    read = {name for node in others for name in node.input if name}
    tensors = {name: _value(node) for node in alone for name in node.output if _value(node) is not None}
    wanted = [name for node in alone for name in node.output if name in read and name not in tensors]
    if wanted:
        tensors |= dict(zip(wanted, _computed(model, alone, wanted, path), strict=True))
    result.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items() if k in read)
    return result


def _value(node: Any) -> Array | None:
    """The tensor of a Constant; None where it is another node, or says its value in another form."""
    values = [item.t for item in node.attribute if item.name == "value" and node.op_type == "Constant"]
    return numpy_helper.to_array(values[0]) if values else None


def _computed(model: Model, nodes: list[Any], wanted: list[str], path: str) -> list[Array]:
    """What nodes that read constants alone give, by ONNX Runtime."""
    read = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = helper.make_graph(nodes, "octet", [], [onnx.ValueInfoProto(name=name) for name in wanted], tensors)
    part = helper.make_model(graph, opset_imports=model.opset_import)
    part.ir_version = model.ir_version
    return fixed(part, path)
