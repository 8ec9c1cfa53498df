"""Linear layers (Gemm) of an ONNX model in the one form of them that pnnx reads rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

from octet.export.onnx_opset import Model

_DEFAULTS = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def plain_gemms(model: Model) -> None:
    """Gives each Gemm with constant weights, in place, one row of weights a class, factors of 1 and a bias of one axis.

    pnnx leaves out the factors alpha and beta, and takes weights of one column a class as rows where there is no bias. Those that
    it reads as they are stay so.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for k, node in enumerate(model.graph.node):
        if node.op_type != "Gemm" or any(name not in constants for name in node.input[1:] if name):
            continue
        given: dict[str, Any] = _DEFAULTS | {item.name: helper.get_attribute_value(item) for item in node.attribute}
        weights = numpy_helper.to_array(constants[node.input[1]])
        rows = weights if given["transB"] else weights.T
        named = node.input[2] if len(node.input) > 2 else ""
        bias = numpy_helper.to_array(constants[named]) if named else None
        if given["transA"] or (bias is not None and bias.size not in (1, len(rows))):
            continue
        flat = bias is not None and bias.shape == (len(rows),)
        if given["alpha"] == 1 and ((given["beta"] == 1 and flat) or (bias is None and given["transB"])):
            continue
        new = [("weight", rows * np.float32(given["alpha"]))]
        if bias is not None:
            new.append(("bias", np.broadcast_to(bias.reshape(-1) * np.float32(given["beta"]), len(rows))))
        _give(model, node, [(f"octet_gemm_{k}_{word}", array) for word, array in new])


def _give(model: Model, node: Any, arrays: list[tuple[str, npt.NDArray[Any]]]) -> None:
    """Gives a Gemm its weights, one row a class, and its bias where it has one."""
    for name, array in arrays:
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
    node.input[:] = [node.input[0], *(name for name, _ in arrays)]
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("transB", 1))
