"""ncnn layers and ONNX nodes find each other by their weights."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from octet.calibrate.match import match
from octet.core.errors import OctetError
from octet.ncnn.net import Net
from tests import nets

pytestmark = pytest.mark.unit


def node(kind, name, weight, **attributes):
    """A node and its weight, an initializer."""
    tensor = numpy_helper.from_array(np.ascontiguousarray(weight), f"{name}.weight")
    return helper.make_node(kind, [f"{name}.x", tensor.name], [f"{name}.y"], name=name, **attributes), tensor


def model(*parts):
    nodes, tensors = [part[0] for part in parts], [part[1] for part in parts if part[1] is not None]
    return onnx.helper.make_model(helper.make_graph(nodes, "g", [], [], initializer=tensors))


def weight(layer, *shape):
    return layer.weights["weight"].data.reshape(shape)


def matched(net, *parts):
    return match(net, model(*parts), "fp32.onnx")


def test_every_kind_of_layer_finds_its_node_in_any_order():
    conv = nets.conv("convrelu_0", "a", "b", 3, 8, seed=1)
    depthwise = nets.conv("convdw_1", "b", "c", 8, 8, seed=2, groups=8)
    grouped = nets.conv("convdw_2", "c", "d", 8, 8, seed=3, groups=2)
    as_is, turned, product = (nets.linear(f"linear_{k}", "d", "e", 8, 8, seed=k) for k in (4, 5, 6))
    parts = [
        node("MatMul", "matmul", weight(product, 8, 8).T),
        node("Gemm", "gemm", weight(turned, 8, 8).T, alpha=1.0),
        node("Gemm", "gemm_b", weight(as_is, 8, 8), transB=1),
        node("Conv", "grouped", weight(grouped, 8, 4, 3, 3), group=2),
        node("Conv", "depthwise", weight(depthwise, 8, 1, 3, 3), group=8),
        node("Conv", "conv", weight(conv, 8, 3, 3, 3)),
        node("Conv", "another", np.ones((8, 3, 3, 3), np.float32)),
    ]
    assert matched(Net([conv, depthwise, grouped, as_is, turned, product]), *parts) == {
        "convrelu_0": "conv",
        "convdw_1": "depthwise",
        "convdw_2": "grouped",
        "linear_4": "gemm_b",
        "linear_5": "gemm",
        "linear_6": "matmul",
    }


def test_a_convolution_of_one_pixel_may_have_become_an_inner_product():
    layer = nets.linear("linear_0", "a", "b", 6, 5)
    assert matched(Net([layer]), node("Conv", "squeeze", weight(layer, 5, 6, 1, 1))) == {"linear_0": "squeeze"}


def test_equal_weights_match_in_the_network_s_order():
    layers = [nets.conv(name, "a", "b", 4, 4, seed=seed) for name, seed in (("x", 7), ("y", 8), ("z", 7))]
    parts = [node("Conv", f"n{k}", weight(layer, 4, 4, 3, 3)) for k, layer in enumerate(layers)]
    assert matched(Net(layers), *parts) == {"x": "n0", "y": "n1", "z": "n2"}


def test_weights_behind_identities_and_constants_are_seen():
    """torch.onnx.export writes equal tensors once, with Identity nodes for the others."""
    one, two, three = (nets.conv(f"conv_{k}", "a", "b", 4, 4, seed=k) for k in (1, 1, 2))
    two.name = "conv_1b"
    shared = numpy_helper.from_array(weight(one, 4, 4, 3, 3), "w")
    constant = numpy_helper.from_array(weight(three, 4, 4, 3, 3), "c")
    parts = [
        (helper.make_node("Identity", ["w"], ["w2"], name="identity"), shared),
        (helper.make_node("Constant", [], ["w3"], name="constant", value=constant), None),
        (helper.make_node("Conv", ["x", "w"], ["y"], name="first"), None),
        (helper.make_node("Conv", ["y", "w2"], ["z"], name="second"), None),
        (helper.make_node("Conv", ["z", "w3"], ["o"], name="third"), None),
        (helper.make_node("Conv", ["z", "made"], ["p"], name="weights are an input"), None),
    ]
    wanted = {"conv_1": "first", "conv_1b": "second", "conv_2": "third"}
    assert matched(Net([one, two, three]), *parts) == wanted


def test_a_batch_norm_that_was_folded_in_leaves_the_direction():
    random = np.random.Generator(np.random.PCG64(0))
    layers = [nets.conv(f"conv_{k}", "a", "b", 4, 6, seed=k) for k in range(3)]
    parts = [node("Conv", f"n{k}", weight(layer, 6, 4, 3, 3).copy()) for k, layer in enumerate(layers)]
    for layer in layers[:2]:
        scale = random.normal(0, 1, 6).astype(np.float32)
        scale[2] = 0  # and a batch norm may switch a channel off
        layer.weights["weight"].data = (weight(layer, 6, 36) * scale[:, None]).ravel()
    assert matched(Net(layers), *reversed(parts)) == {"conv_0": "n0", "conv_1": "n1", "conv_2": "n2"}


def test_direction_alone_does_not_match_other_weights():
    single = nets.conv("conv_0", "a", "b", 1, 5, kernel=1)  # a row of one number has every direction
    dead = nets.conv("conv_1", "b", "c", 4, 5, seed=1)
    dead.weights["weight"].data = np.zeros(180, np.float32)
    near = nets.conv("conv_2", "c", "d", 4, 5, seed=2)
    off = weight(near, 5, 36).copy()
    off[3, 0] += 0.1
    parts = [
        node("Conv", "a", np.ones((5, 1, 1, 1), np.float32)),
        node("Conv", "b", np.ones((5, 4, 3, 3), np.float32)),
        node("Conv", "c", off.reshape(5, 4, 3, 3)),
        node("Conv", "zero", np.zeros((5, 4, 3, 3), np.float32)),
    ]
    with pytest.raises(OctetError, match=r"2 of 3 ncnn layers:\n  conv_0 .*5 x 1.*\n  conv_2 .*5 x 36"):
        matched(Net([single, dead, near]), *parts)


def test_all_layers_without_a_partner_are_listed():
    net = nets.small()
    parts = [node("Conv", "conv", weight(net.layer("conv_2"), 8, 8, 3, 3))]
    with pytest.raises(OctetError, match="fp32.onnx: no Conv.* 3 of 4 ncnn layers") as raised:
        matched(net, *parts)
    for words in ("conv_1 (Convolution, 8 x 27)", "conv_3", "fc (InnerProduct, 4 x 8)", "calibrate.method: kl, minmax"):
        assert words in str(raised.value)


def test_one_node_serves_one_layer():
    layers = [nets.conv(name, "a", "b", 4, 4, seed=1) for name in ("x", "y")]
    with pytest.raises(OctetError, match="1 of 2 ncnn layers:\n  y "):
        matched(Net(layers), node("Conv", "n", weight(layers[0], 4, 4, 3, 3)))


def test_matching_needs_no_torch():
    code = "import sys, octet.calibrate.match; sys.exit('torch' in sys.modules or 'ppq' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
