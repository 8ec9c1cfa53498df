"""GPTQ for the engines' int8 ONNX models: ONNX Runtime is the oracle."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from octet.qdq.network import Network
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import Int8, check, quantize
from octet.qdq.ranges import runner
from octet.qdq.weights import Weights, weights
from octet.qdq.windows import Reads, windows
from tests import nets

pytestmark = pytest.mark.unit

SETTINGS = nets.settings("minmax", weights="absmax")


def smooth_images(count=96, size=16, seed=0):
    """Images whose pixels depend on those beside them, as photos' do."""
    noise = np.random.Generator(np.random.PCG64(seed)).normal(0, 1, (count, 3, size + 3, size + 3))
    sums = sum(noise[:, :, y : y + size, x : x + size] for y in range(4) for x in range(4))
    return (sums / 4 + 0.5).astype(np.float32)


def blocks(end: str = "Gemm") -> Network:
    """A convolution, a depthwise and a pointwise one without a bias, one in groups, and a linear layer."""
    random, node = np.random.Generator(np.random.PCG64(2)), onnx.helper.make_node
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (16, 8, 1, 1), "w4": (16, 4, 3, 3)}
    shapes |= {"w5": (16, 5)}
    tensors = {name: (random.standard_normal(shape) * 0.4).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "depthwise", auto_pad="SAME_LOWER", group=8, strides=[2, 2]),
        node("Relu", ["c2"], ["r2"], "relu2"),
        node("Conv", ["r2", "w3"], ["c3"], "pointwise"),
        node("Relu", ["c3"], ["r3"], "relu3"),
        node("Conv", ["r3", "w4"], ["c4"], "groups", dilations=[2, 2], group=4),
        node("GlobalAveragePool", ["c4"], ["mean"], "mean"),
        node("Flatten", ["mean"], ["flat"], "flat"),
        node(end, ["flat", "w5"], ["logits"], "last"),
    ]
    value = onnx.helper.make_tensor_value_info
    inputs, outputs = (
        value(name, onnx.TensorProto.FLOAT, shape) for name, shape in (("image", (1, 3, 16, 16)), ("logits", (1, 5)))
    )
    graph = onnx.helper.make_graph(
        nodes, "net", [inputs], [outputs], [onnx.numpy_helper.from_array(v, k) for k, v in tensors.items()]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    return Network(model, "net.onnx")


def output_error(net: Network, int8: Int8, name: str, images) -> np.ndarray:
    """What a layer's output loses by its weights and bias alone, where it reads integers: shape (n, outputs)."""
    layer, weights, errors = net.layers[name], int8.weights[name], []
    source = int8.grids[int8.placement.owner(layer.input)]
    run = runner(net.rebuilt(net.nodes, {}), net.where, [layer.input])
    exact = layer.rows(layer.weight)
    rounded = layer.rows(weights.integers.astype(np.float32)) * weights.scales[:, None]
    bias = np.zeros(len(exact)) if weights.bias is None else weights.bias * 1.0
    if weights.bias is not None and weights.bias.dtype == np.int32:
        bias = bias * weights.scales * source.scale
    for image in images:
        values = run(image)[0][0]
        seen = windows(layer, values) if layer.node.op_type == "Conv" else values[:, None, None, None, None]
        grouped = seen.reshape(layer.groups, -1, *seen.shape[1:]).transpose(0, 2, 3, 1, 4, 5)
        flat = grouped.reshape(layer.groups, -1, exact.shape[1])
        by_group = (
            np.einsum("gnd,god->gno", x, w.reshape(layer.groups, -1, exact.shape[1]))
            for x, w in ((flat, exact), (source.fake(flat), rounded))
        )
        before, after = (np.concatenate(list(y), axis=1) for y in by_group)
        errors.append(after + bias - before - (0 if layer.bias is None else layer.bias))
    return np.concatenate(errors)


def plain_weights(net: Network, int8: Int8, name: str) -> Weights:
    """A layer's weights rounded to the nearest, and its bias as it is."""
    layer = net.layers[name]
    return weights(layer, int8.grids[int8.placement.owner(layer.input)], int8.profile.int_bias)


@pytest.mark.parametrize("engine", sorted(PROFILES))
@pytest.mark.parametrize("end", ["Gemm", "MatMul"])
def test_each_layer_loses_less(engine, end):
    net, images = blocks(end), smooth_images()
    (nearest,) = quantize(net, [PROFILES[engine]], images, SETTINGS)
    (better,) = quantize(net, [PROFILES[engine]], images, SETTINGS, gptq_images=images)
    check(better, images[0], "int8.onnx")
    with_bias = [name for name in better.placement.layers if net.layers[name].node.op_type != "MatMul"]
    assert all(better.weights[name].bias is not None for name in with_bias), "also where there was none"
    plain = replace(nearest, weights={name: plain_weights(net, nearest, name) for name in nearest.weights})
    for name in with_bias:
        before, after, moved = (output_error(net, int8, name, images) for int8 in (plain, better, nearest))
        assert np.abs(moved.mean(axis=0)).mean() < 0.6 * np.abs(before.mean(axis=0)).mean(), "its bias was corrected"
        assert np.square(after).mean() < np.square(before).mean()
        assert np.abs(after.mean(axis=0)).mean() < 0.6 * np.abs(before.mean(axis=0)).mean()


@pytest.mark.parametrize("engine", sorted(PROFILES))
def test_the_same_bytes_from_any_number_of_workers(engine):
    once, again = (
        quantize(blocks(), [PROFILES[engine]], smooth_images(24), SETTINGS, (), workers, smooth_images(24))[0].model
        for workers in (1, 3)
    )
    assert once.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"dilations": [2, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
        {"auto_pad": "SAME_LOWER", "strides": [1, 2]},
        {"auto_pad": "VALID", "strides": [3, 1]},
    ],
    ids=str,
)
def test_windows_are_what_a_convolution_multiplies(attributes):
    random = np.random.Generator(np.random.PCG64(3))
    weight = random.standard_normal((4, 3, 3, 2)).astype(np.float32)
    image = random.standard_normal((3, 11, 8)).astype(np.float32)
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Conv", ["image", "w"], ["y"], "conv", **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [value("image", onnx.TensorProto.FLOAT, (1, 3, 11, 8))],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    (computed,) = runner(model, "net.onnx")(image)
    layer = Network(model, "net.onnx").layers["conv"]
    view = windows(layer, image)
    assert np.allclose(np.einsum("chwyx,ocyx->ohw", view, weight), computed[0], atol=1e-5)
    assert np.allclose(Reads.of(layer, (11, 8)).means(image), view.mean(axis=(1, 2), dtype=np.float64), atol=1e-6)
