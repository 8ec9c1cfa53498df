"""Tiny networks as ONNX models, with random weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PREPROCESS = {"channel_order": "RGB", "mean": [120.0, 110.0, 100.0], "std": [60.0, 55.0, 50.0]}
NAMED = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16, np.float64: TensorProto.DOUBLE}


def classifier(
    opset: int = 13,
    end: Sequence[str] = ("Softmax",),
    shape: Sequence[int | str | None] = ("n", 3, 16, 16),
    dtype: type = np.float32,
    nhwc: bool = False,
    uint8: bool = False,
    inputs: int = 1,
    name: str = "image",
) -> onnx.ModelProto:
    """Two convolutions, a batch norm, and a linear layer to five classes.

    Args:
        opset: ONNX's.
        end: The operators behind the linear layer.
        shape: Of the input.
        dtype: Of all numbers.
        nhwc: Is the input's last axis its channels?
        uint8: Is the input of grey levels, made numbers and normalized in the network?
        inputs: How many; the others are added to the classes' scores.
        name: The first input's.
    """
    random, kind, nodes = np.random.Generator(np.random.PCG64(1)), NAMED[dtype], []

    def weight(label: str, *size: int, scale: float = 0.4) -> onnx.TensorProto:
        return numpy_helper.from_array((random.standard_normal(size) * scale).astype(dtype), label)

    weights = [weight("w1", 8, 3, 3, 3), weight("b1", 8), weight("w2", 16, 8, 3, 3), weight("gain", 16, scale=1)]
    weights += [weight("shift", 16), weight("mean", 16), weight("w3", 16, 5, scale=1), weight("b3", 5)]
    weights.append(numpy_helper.from_array(np.ones(16, dtype), "variance"))
    last = name
    if uint8:
        weights.append(numpy_helper.from_array(np.array(60, dtype), "sixty"))
        nodes += [
            helper.make_node("Cast", [last], ["number"], to=kind),
            helper.make_node("Div", ["number", "sixty"], ["unit"]),
        ]
        last = "unit"
    if nhwc:
        nodes.append(helper.make_node("Transpose", [last], ["nchw"], perm=[0, 3, 1, 2]))
        last = "nchw"
    nodes += [
        helper.make_node("Conv", [last, "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c2", "gain", "shift", "mean", "variance"], ["n2"]),
        helper.make_node("Relu", ["n2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["m"]),
        helper.make_node("Add", ["m", "b3"], ["scores"]),
    ]
    last = "scores"
    for k in range(1, inputs):
        nodes.append(helper.make_node("Add", [last, f"more{k}"], [f"sum{k}"]))
        last = f"sum{k}"
    for k, operator in enumerate(end):
        attributes = {"axis": 1} if operator in ("Softmax", "LogSoftmax", "ArgMax") else {}
        nodes.append(helper.make_node(operator, [last], [f"end{k}"], **attributes))
        last = f"end{k}"
    images = [helper.make_tensor_value_info(name, TensorProto.UINT8 if uint8 else kind, shape)]
    images += [helper.make_tensor_value_info(f"more{k}", kind, [1, 5]) for k in range(1, inputs)]
    out = TensorProto.INT64 if "ArgMax" in end else kind
    graph = helper.make_graph(nodes, "net", images, [helper.make_tensor_value_info(last, out, ("n", None))], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def features(size: int = 16) -> onnx.ModelProto:
    """A network that gives no class scores: a map of features that is read in the network, too, and a score for each pixel."""
    random = np.random.Generator(np.random.PCG64(3))
    weights, nodes, last = [], [], "image"
    for k, (wide, outputs) in enumerate(((3, 16), (16, 8), (8, 8), (8, 4))):
        size_of = np.sqrt(9 * wide)
        weights.append(
            numpy_helper.from_array(
                (random.standard_normal((outputs, wide, 3, 3)) / size_of).astype(np.float32), f"w{k}"
            )
        )
        nodes.append(helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], pads=[1, 1, 1, 1]))
        last = ("r0", "features", "r2", "scores")[k]
        nodes.append(helper.make_node("Sigmoid" if k == 3 else "Relu", [f"c{k}"], [last]))
    shapes = (("scores", ("n", 4, "h", "w")), ("features", ("n", 8, "h", "w")))
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, size, size))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model
