"""Which ONNX node an ncnn layer was made from, found by the weights: pnnx gives the layers names of its own.

pnnx keeps a Conv's weight, (O, I / groups, kernel height, kernel width), as it is, flat; an InnerProduct's is (O, I),
which is what Gemm has with transB=1; Gemm without it and MatMul have (I, O).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from octet.core.errors import OctetError
from octet.graph.layers import integer, quantizable
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net

Weights = npt.NDArray[np.floating[Any]]
PARALLEL = 1e-6  # how far the cosine of two rows of equal direction may be from 1


def match(net: Net, model: onnx.ModelProto, where: str) -> dict[str, str]:
    """Which node each layer that can be int8 was made from.

    Equal weights match first; layers and nodes whose weights are all the same do so in the network's order. Then
    weights whose rows, one an output channel, have equal directions: there pnnx folded a batch norm into the layer.

    Args:
        net: The ncnn network.
        model: The ONNX model that it was made from.
        where: Names the ONNX file in errors.

    Returns:
        The node's name by the layer's, in the network's order.

    Raises:
        OctetError: A layer has no partner.
    """
    layers = quantizable(net.layers)
    free = list(_weights(model))
    nodes: dict[str, str] = {}
    for equal in (np.array_equal, _parallel):
        for layer in layers:
            if layer.name in nodes:
                continue
            rows = _rows(layer)
            for index, (name, weight) in enumerate(free):
                if weight.shape == rows.shape and equal(rows, weight):
                    nodes[layer.name] = name
                    del free[index]
                    break
    lonely = [layer for layer in layers if layer.name not in nodes]
    if lonely:
        shapes = [" x ".join(map(str, _rows(layer).shape)) for layer in lonely]
        raise OctetError(
            f"{where}: no Conv, Gemm or MatMul node has the weights of {len(lonely)} of {len(layers)} ncnn layers:"
            + "".join(f"\n  {layer.name} ({layer.type}, {s})" for layer, s in zip(lonely, shapes, strict=True))
            + "\nIf the two models are not of one export, run the stages export and convert again. Otherwise choose "
            "another calibrate.method: kl, minmax and mse work on ncnn's own graph and need no match"
        )
    return {layer.name: nodes[layer.name] for layer in layers}


def _rows(layer: Layer) -> Weights:
    """The layer's weights, one row an output channel."""
    return layer.weights["weight"].data.reshape(integer(layer, "num_output"), -1)


def _weights(model: onnx.ModelProto) -> Iterator[tuple[str, Weights]]:
    """The name and the constant weight, one row an output channel, of each node that has one, in the graph's order."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            constants[node.output[0]] = attributes["value"].t
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        elif node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in constants:
            weight = numpy_helper.to_array(constants[node.input[1]])
            if node.op_type == "Conv":
                yield node.name, weight.reshape(weight.shape[0], -1)
            elif weight.ndim == 2:
                yield node.name, weight if "transB" in attributes and attributes["transB"].i else weight.T


def _parallel(rows: Weights, weight: Weights) -> bool:
    """Has each row of the layer, unless it is zero, the direction of the node's, or the opposite one?"""
    live = rows.any(axis=1)
    if rows.shape[1] < 2 or not live.any():
        return False
    a, b = rows[live].astype(np.float64), weight[live].astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return bool(np.all(lengths > 0) and np.all(np.abs((a * b).sum(axis=1)) >= (1 - PARALLEL) * lengths))
