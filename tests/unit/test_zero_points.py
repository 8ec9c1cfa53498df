"""Zero points: what the engine computes is what an integer from -127 to 127 says about a value from 0 to 2c."""

from dataclasses import replace

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.calibrate.weights import weight_scales
from octet.graph.layers import is_int8, quantizable
from octet.graph.profiles import target
from octet.graph.targets import Target
from octet.graph.zero_points import drop_clip
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net, save_net
from octet.ncnn.table import Table
from octet.quantize.quantize import quantize
from tests import nets, simulate

pytestmark = pytest.mark.unit
packings = pytest.mark.parametrize("packing", [True, False], ids=["packed", "plain"])

PLAIN, ASYMMETRIC = (Target("t", winograd=False, asymmetric=on, fp32_input=True) for on in (False, True))


def start():
    return Layer("Input", "in0", [], ["in0"])


def relu6(layer):
    layer.params.pop(9, None)
    layer.params |= {9: "3", -23310: "2,0.0e+00,1.5e+00"}
    return layer


def residual():
    return nets.small()


def inverted():
    """MobileNetV2's block: ReLU6, depthwise with a border, ReLU6 as a layer of its own, a linear end; then a mean."""
    return Net(
        [
            start(),
            relu6(nets.conv("a", "in0", "1", 3, 16, seed=1)),
            nets.conv("dw", "1", "2", 16, 16, seed=2, relu=False, groups=16),
            Layer("Clip", "clip", ["2"], ["3"], {0: "0.0", 1: "1.5"}),
            nets.conv("b", "3", "4", 16, 8, kernel=1, seed=3, relu=False),
            Layer("Pooling", "gap", ["4"], ["5"], {0: "1", 4: "1"}),
            nets.linear("fc", "5", "out0", 8, 5, seed=4),
        ]
    )


def pooled():
    """A maximum with a border, a mean without, a border on two sides only, and a flattened end."""
    uneven = nets.conv("b", "3", "4", 8, 13, seed=2)
    uneven.params |= {4: "0", 14: "1", 15: "2", 16: "0"}
    return Net(
        [
            start(),
            nets.conv("a", "in0", "1", 3, 8, seed=1),
            Layer("Pooling", "max", ["1"], ["2"], {0: "0", 1: "3", 2: "2", 3: "1", 5: "1"}),
            Layer("Pooling", "mean", ["2"], ["3"], {0: "1", 1: "2", 2: "1", 5: "1", 6: "1"}),
            uneven,
            Layer("Flatten", "flat", ["4"], ["5"]),
            nets.linear("fc", "5", "out0", 13 * 6, 5, seed=4),
        ]
    )


def strided():
    """A downsampling block: two convolutions read a trunk with a zero point, and their sum is a trunk again."""
    return Net(
        [
            start(),
            nets.conv("a", "in0", "1", 3, 16, seed=1),
            Layer("Split", "split", ["1"], ["2", "3"]),
            nets.conv("b", "2", "4", 16, 16, stride=2, seed=2),
            nets.conv("c", "4", "5", 16, 16, seed=3, relu=False),
            nets.conv("down", "3", "6", 16, 16, kernel=1, stride=2, seed=5, relu=False),
            Layer("BinaryOp", "add", ["5", "6"], ["7"], {0: "0"}),
            Layer("ReLU", "relu", ["7"], ["8"]),
            nets.conv("d", "8", "9", 16, 4, kernel=1, seed=6, relu=False),
            Layer("Pooling", "gap", ["9"], ["out0"], {0: "1", 4: "1"}),
        ]
    )


def beside():
    """A depthwise convolution that stays in fp32, with a border, beside an int8 one that reads the same values."""
    return Net(
        [
            start(),
            nets.conv("a", "in0", "1", 3, 16, seed=1),
            Layer("Split", "split", ["1"], ["2", "3"]),
            nets.conv("dw", "2", "4", 16, 16, seed=2, groups=16),
            nets.conv("b", "3", "5", 16, 16, seed=3, relu=False),
            Layer("BinaryOp", "add", ["4", "5"], ["6"], {0: "0"}),
            Layer("Pooling", "gap", ["6"], ["7"], {0: "1", 4: "1"}),
            nets.linear("fc", "7", "out0", 16, 5, seed=4),
        ]
    )


NETS = {"residual": residual, "inverted": inverted, "pooled": pooled, "strided": strided, "beside": beside}
NEGATIVE = {"inverted": {"fc"}, "beside": {"fc"}}  # what reads values of either sign, and so has no zero point


def calibrated(net, tmp_path, profile, count=16):
    files = tmp_path / "fp32.param", tmp_path / "fp32.bin"
    save_net(net, *files)
    return calibrate(net, nets.images(count), nets.settings("minmax"), profile, workers=1)


def run(net, image, tmp_path, packing=True):
    files = tmp_path / "n.param", tmp_path / "n.bin"
    save_net(net, *files)
    return Engine(*files, packing=packing)(image)


def expected(net, table, result, symmetric, image, packing):
    """The fp32 network in which the input of every int8 layer is rounded to the steps that its integers stand for, and
    its weights to theirs: nothing of how the zero points are put in.

    But where ncnn takes an approximate reciprocal, of a relative error r, it multiplies all that the kernel sums by 1 + r:
    the weights and the values without their zero point, x - c. That c * weight is in the bias then, exactly.
    """
    blobs = {}
    for layer in net.layers:
        inputs = [image] if layer.type == "Input" else [blobs[name] for name in layer.inputs]
        if is_int8(result.layer(layer.name)):
            layer, scale = layer.copy(), float(table.inputs[layer.name])
            low, levels = (-127, 127) if layer.name in symmetric else (0, 254)
            step = 127 / scale / levels
            inputs = [(np.clip(np.round(inputs[0].astype(np.float64) / step), low, levels) * step).astype(np.float32)]
            weight, scales = layer.weights["weight"], table.weights[layer.name].astype(np.float64)
            rows = np.round(weight.data.reshape(len(scales), -1) * scales[:, None]) / scales[:, None]
            if simulate.takes_rcpps(result.layer(layer.name), packing):
                errors, constant = simulate.rcpps_errors(result.layer(layer.name)), (levels - 127) * step
                bias = layer.weights["bias"].data - errors * constant * rows.sum(axis=1)
                layer.weights["bias"] = Tensor(bias.astype(np.float32))
                rows = rows * (1 + errors[:, None])
            layer.weights["weight"] = Tensor(rows.astype(np.float32).ravel(), 0)
        blobs.update(zip(layer.outputs, simulate.layer(layer, inputs), strict=True))
    return blobs[net.output]


@packings
@pytest.mark.parametrize("name", NETS)
def test_the_engine_computes_it(name, packing, tmp_path):
    net = NETS[name]()
    profile = replace(ASYMMETRIC, fp32_depthwise=name == "beside")
    table = calibrated(net, tmp_path, profile)
    result = quantize(net, table, profile, [], "t")
    int8 = profile.int8_layers(net)
    doubled = {layer for layer in int8 if result.layer(layer).weights["input_scale"].data[0] > table.inputs[layer]}
    assert doubled == int8 - NEGATIVE.get(name, set()), "all layers behind a ReLU have a zero point"
    off = []
    for image in nets.images(6, seed=7):
        wanted = expected(net, table, result, NEGATIVE.get(name, set()), image, packing)
        off.append(np.abs(run(result, image, tmp_path, packing) - wanted).max() / np.ptp(wanted))
    # A value on the border between two steps may fall to either side, and a layer's sums differ in their last bits.
    assert max(off) < 0.004
    assert np.median(off) < 1e-6


@packings
def test_the_border_is_zero_exactly(packing, tmp_path):
    """A constant image: every pixel, at the border and inside, is what the fp32 network gives, up to the weights."""
    net = Net([start(), nets.conv("a", "in0", "1", 3, 16, kernel=1), nets.conv("b", "1", "out0", 16, 16, relu=False)])
    net.layer("a").weights["bias"].data = np.ones(16, np.float32)
    net.layer("a").weights["weight"].data = np.zeros(48, np.float32)
    table = Table({layer.name: weight_scales(layer, ASYMMETRIC) for layer in quantizable(net.layers)})
    table.inputs = {"a": np.float32(127), "b": np.float32(127)}
    result, image = quantize(net, table, ASYMMETRIC, [], "t"), nets.images(1)[0]
    actual, wanted = (run(n, image, tmp_path, packing) for n in (result, net))
    assert np.ptp(wanted) > 1
    assert np.abs(actual - wanted).max() < 0.01 * np.ptp(wanted)


def test_where_an_output_leaves_as_int8_the_clamp_is_the_relu(tmp_path):
    net = strided()
    result = quantize(net, calibrated(net, tmp_path, ASYMMETRIC), ASYMMETRIC, [], "t")
    b, a = result.layer("b"), result.layer("a")
    assert b.int(8) == 102, "b's only reader is an int8 convolution"
    assert not {9, -23310} & b.params.keys(), "b's only reader is an int8 convolution"
    half = 127 / float(result.layer("b").weights["input_scale"].data[0])
    assert a.int(9) == 3, "a stays fp32: a clip instead of a ReLU"
    assert a.floats(10) == pytest.approx([-half, 3.402823e38]), "a stays fp32: a clip instead of a ReLU"
    assert float(result.layer("b").params[18]) == 129
    assert 18 not in a.params


def test_a_clip_below_the_range_stays():
    layer = relu6(nets.conv("a", "in0", "1", 3, 8))
    layer.params[-23310] = "2,-1.0e+00,5.0e-01"
    drop_clip(layer, np.float32(127))
    assert layer.int(9) == 3, "0.5 is 64 steps: the clamp at 127 does not clip it"
    layer.params[-23310] = "2,-1.0e+00,1.0e+00"
    drop_clip(layer, np.float32(127))
    assert layer.int(9) == 0


def sigmoid(net):
    net.layers.append(Layer("Sigmoid", "sigmoid", ["8x"], ["9x"]))
    net.layer("split_1").outputs.append("8x")


def leaky(net):
    net.layer("conv_2").params |= {9: "2", -23310: "1,1.0e-01"}


def multiplied(net):
    net.layer("add_1").params[0] = "2"


@pytest.mark.parametrize("change", [sigmoid, leaky, multiplied])
def test_where_something_else_reads_or_makes_the_values_nothing_has_a_zero_point(change, tmp_path):
    net = residual()
    change(net)
    result = quantize(net, calibrated(net, tmp_path, ASYMMETRIC), ASYMMETRIC, [], "t")
    plain = quantize(net, calibrated(net, tmp_path, PLAIN), PLAIN, [], "t")
    conv_3 = result.layer("conv_3")
    assert conv_3.weights["input_scale"].data[0] == plain.layer("conv_3").weights["input_scale"].data[0]
    assert 18 not in conv_3.params
    assert result.layer("conv_2").floats(10) == plain.layer("conv_2").floats(10), (
        "what makes the values clips as before"
    )


def test_readers_with_different_scales_have_no_zero_point(tmp_path):
    net = strided()
    table = calibrated(net, tmp_path, ASYMMETRIC)
    table.inputs["down"] *= np.float32(1.5)
    result = quantize(net, table, ASYMMETRIC, [], "t")
    assert result.layer("down").weights["input_scale"].data[0] == table.inputs["down"]
    assert result.layer("c").weights["input_scale"].data[0] == 2 * table.inputs["c"], "another ReLU's values are"


def test_the_default_profile_is_asymmetric():
    assert target("dotprod").asymmetric
    assert not target("ncnn2int8").asymmetric


@pytest.mark.parametrize(("mean", "masked"), [(0.0, False), (0.3, True)], ids=["either sign", "one sign"])
def test_where_zeros_add_up_beyond_what_winograd_holds_it_is_masked(mean, masked, tmp_path):
    """-127 stands for 0: a layer whose weights have one sign adds up all of them, with whatever it reads."""
    net = Net([start(), nets.conv("a", "in0", "1", 3, 256, seed=1), nets.conv("b", "1", "out0", 256, 8, seed=2)])
    weight = net.layer("b").weights["weight"]
    weight.data = (np.abs(weight.data) if mean else weight.data) + np.float32(mean)
    profile = replace(ASYMMETRIC, winograd=True)
    result = quantize(net, calibrated(net, tmp_path, profile), profile, [], "t")
    assert bool(result.layer("b").int(31) & 64) is masked
    for image in nets.images(2, seed=7, size=16):
        fp32, int8 = (run(one, image, tmp_path, True) for one in (net, result))
        assert np.abs(int8 - fp32).max() < 0.05 * np.ptp(fp32)
