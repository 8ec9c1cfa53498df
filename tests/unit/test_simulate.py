"""ncnn's own output, layer by layer, against the reference simulator: each layer gets the engine's input."""

import ctypes
import platform

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.ncnn import machine
from octet.ncnn.engine import Engine
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net, save_net
from tests import nets, simulate

pytestmark = pytest.mark.unit
packings = pytest.mark.parametrize("packing", [True, False], ids=["packed", "plain"])

FP32 = 1e-6  # of the blob's largest value: how far a layer with an fp32 output may be off
STEPS = (
    0.001  # the share of a requantized output that may be off by one step (seen: at most 0.00005 of 10,000s of values)
)
RCPPS = 1.5 * 2**-12  # the relative error of x86's approximate reciprocal
RCPPS_STEPS = (
    0.02  # it moves a value of up to 127 steps by up to 0.05: some then round the other way (seen: at most 0.005)
)


def conv(name, blob_in, blob_out, inputs, outputs, kernel=3, groups=1, **other):
    """A convolution; other: parameters by number, p9=3 and so on."""
    result = nets.conv(name, blob_in, blob_out, inputs, outputs, kernel, seed=outputs, relu=False, groups=groups)
    result.params |= {int(key[1:]): str(value) for key, value in other.items()}
    return result


def int8(layer, input_scale=40.0, output_scale=None, levels=127, weight_scales=None, winograd=False):
    """Makes a layer int8 by hand, its scales as given or the weights' own. Returns it."""
    weight = layer.weights["weight"].data
    count = layer.int(7, 1) if layer.type == "ConvolutionDepthWise" else layer.int(0)
    if weight_scales is None:
        weight_scales = levels / np.abs(weight.reshape(count, -1)).max(1)
    scales = np.array(weight_scales, np.float32)
    layer.params[8] = str({"ConvolutionDepthWise": 1}.get(layer.type, 2) + (100 if output_scale else 0))
    layer.weights["weight"] = Tensor(simulate.quantize(weight.reshape(count, -1), scales[:, None]).ravel(), TAG_INT8)
    layer.weights["weight_scales"] = Tensor(scales)
    layer.weights["input_scale"] = Tensor(np.array([input_scale], np.float32))
    if output_scale:
        layer.weights["output_scale"] = Tensor(np.array([output_scale], np.float32))
    if not winograd and layer.type != "InnerProduct":
        layer.params[31] = "64"
    return layer


def start():
    return Layer("Input", "in0", [], ["in0"])


def image(channels, size=11, seed=5, largest=None):
    """fp32 of shape (channels, size, size + 2): not square. largest: all values are that, up to the sign."""
    values = np.random.Generator(np.random.PCG64(seed)).normal(0, 1, (channels, size, size + 2)).astype(np.float32)
    return values if largest is None else np.copysign(np.float32(largest), values)


def blobs(net, image, tmp_path, packing):
    """All of the engine's blobs by name, the requantized ones as int8."""
    files = tmp_path / "n.param", tmp_path / "n.bin"
    save_net(net, *files)
    engine = Engine(*files, packing=packing)
    names = [name for layer in net.layers for name in layer.outputs]
    result = {name: np.array(blob) for name, blob in zip(names, engine.blobs(image, names), strict=True)}
    bits = engine.bits(image, names)
    return {name: blob.astype(np.int8) if bits[name] == 8 else blob for name, blob in result.items()}


def check(net, image, tmp_path, packing):
    """Every layer of the engine against the simulator, fed with the engine's own input. Returns the engine's blobs."""
    result = blobs(net, image, tmp_path, packing)
    for layer in net.layers[1:]:
        inputs = [result[name] for name in layer.inputs]
        for name, wanted in zip(layer.outputs, simulate.layer(layer, inputs), strict=True):
            same(result[name], wanted, layer, inputs[0], packing)
    return result


def without_activation(layer, values):
    plain = layer.copy()
    plain.params.pop(9, None)
    return simulate.layer(plain, [values])[0]


def same(actual, wanted, layer, values, packing):
    assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape), layer.name
    off = np.abs(actual.astype(np.float64) - wanted)
    rcpps = simulate.takes_rcpps(layer, packing)
    if actual.dtype == np.int8:
        assert off.max() <= 1, (layer.name, off.max(), off.mean())
        assert (off > 0).mean() <= (RCPPS_STEPS if rcpps else STEPS), (layer.name, off.max(), off.mean())
    elif rcpps:
        product = without_activation(layer, values) - layer.weights["bias"].data.reshape(-1, 1, 1)
        assert (off <= 1.5 * RCPPS * np.abs(product) + 1e-6).all(), layer.name  # 1.5: hardswish at its steepest
    else:
        assert off.max() <= FP32 * max(np.abs(wanted).max(), 1), (layer.name, off.max())


SHAPES = {  # inputs, outputs, and what differs from 3x3 of stride 1 with a border of 1
    "3x3": (3, 16, {}),
    "3x3 of stride 2": (13, 7, {"p3": 2}),
    "1x1": (16, 13, {"kernel": 1}),
    "1x1 of stride 2": (5, 8, {"kernel": 1, "p3": 2}),
    "5x5": (5, 17, {"kernel": 5}),
    "dilation 2": (7, 16, {"p2": 2, "p4": 2}),
    "dilation 1 by 2": (4, 12, {"p2": 1, "p12": 2, "p3": 2, "p13": 1}),
    "uneven border": (17, 4, {"p4": 0, "p15": 2, "p14": 1, "p16": 3}),
    "border of another value": (3, 5, {"p18": 4}),
    "same, upper": (3, 8, {"p4": -233, "p3": 2}),
    "same, lower": (8, 3, {"p4": -234, "p3": 2}),
    "depthwise, 16": (16, 16, {"groups": 16}),
    "depthwise, 16, stride 2": (16, 16, {"groups": 16, "p3": 2}),
    "depthwise, 5": (5, 5, {"groups": 5}),
    "depthwise, 13, stride 2": (13, 13, {"groups": 13, "p3": 2}),
    "depthwise, 7, 5x5": (7, 7, {"groups": 7, "kernel": 5}),
    "2 groups": (16, 24, {"groups": 2}),
    "3 groups": (15, 9, {"groups": 3, "p3": 2}),
}
ACTIVATIONS = {
    "relu": {"p9": 1},
    "leaky relu": {"p9": 2, "p-23310": "1,1.0e-01"},
    "clip": {"p9": 3, "p-23310": "2,-5.0e-01,6.0e-01"},
    "sigmoid": {"p9": 4},
    "mish": {"p9": 5},
    "hardswish": {"p9": 6, "p-23310": "2,1.6666667e-01,5.0e-01"},
}


@packings
@pytest.mark.parametrize("output_scale", [None, 20.0], ids=["fp32 out", "int8 out"])
@pytest.mark.parametrize(("inputs", "outputs", "other"), SHAPES.values(), ids=SHAPES)
def test_convolution(inputs, outputs, other, output_scale, packing, tmp_path):
    layer = int8(conv("c", "in0", "out0", inputs, outputs, **other), output_scale=output_scale)
    result = check(Net([start(), layer]), image(inputs), tmp_path, packing)["out0"]
    assert result.dtype == (np.int8 if output_scale else np.float32)
    assert np.ptp(result.astype(float)) > 1


@pytest.fixture
def marked_memory():
    """Memory that nobody wrote holds the byte that comes back: glibc fills what it gives out (mallopt, M_PERTURB)."""
    libc, perturb = ctypes.CDLL(None), -6
    if not hasattr(libc, "mallopt") or libc.mallopt(perturb, 0xA5) != 1:
        pytest.skip("needs glibc's malloc, to tell memory that was never written")
    yield 0xFF - 0xA5
    libc.mallopt(perturb, 0)


@pytest.mark.skipif("avx" not in machine.processor()[1], reason="of ncnn's kernels for x86 with AVX")
@pytest.mark.parametrize("per_group", [8, 16])
def test_groups_of_8_outputs_with_packing_and_fp32_output_are_never_written(per_group, marked_memory, tmp_path):
    """Why convolutions in groups stay in fp32 (Fp32Reason.GROUPS). Where this fails, ncnn has mended it: see tests/simulate.py."""
    layer = int8(conv("c", "in0", "out0", 16, 2 * per_group, groups=2))
    result = blobs(Net([start(), layer]), image(16), tmp_path, packing=True)["out0"]
    assert set(result.tobytes()) == {marked_memory}


@packings
def test_groups_of_8_outputs_requantized_or_without_packing(packing, tmp_path):
    layer = int8(conv("c", "in0", "out0", 16, 32, groups=2), output_scale=20.0 if packing else None)
    check(Net([start(), layer]), image(16), tmp_path, packing)


@packings
@pytest.mark.parametrize("output_scale", [None, 100.0], ids=["fp32 out", "int8 out"])
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(activation, output_scale, packing, tmp_path):
    for layer in (
        conv("c", "in0", "out0", 8, 16, **activation),
        conv("c", "in0", "out0", 7, 5, **activation),
        conv("c", "in0", "out0", 8, 8, groups=8, **activation),
        conv("c", "in0", "out0", 7, 7, groups=7, **activation),
    ):
        inputs = 8 if layer.int(0) in (16, 8) else 7
        check(Net([start(), int8(layer, output_scale=output_scale)]), image(inputs), tmp_path, packing)


@packings
@pytest.mark.parametrize("outputs", [1, 5, 10, 16, 17])
def test_inner_product(outputs, packing, tmp_path):
    whole = nets.linear("f", "in0", "out0", 3 * 11 * 13, outputs)
    check(Net([start(), int8(whole)]), image(3), tmp_path, packing)
    whole.params[9] = "1"
    check(Net([start(), whole]), image(3), tmp_path, packing)


@packings
def test_saturating_inputs_and_outputs(packing, tmp_path):
    net = Net(
        [
            start(),
            int8(conv("a", "in0", "1", 5, 16), input_scale=400.0, output_scale=300.0),
            int8(conv("b", "1", "2", 16, 13), input_scale=300.0, output_scale=1.0),
        ]
    )
    result = check(net, image(5), tmp_path, packing)
    assert (np.abs(result["1"]) == 127).mean() > 0.4
    assert np.abs(result["1"].astype(int)).max() == 127


@packings
def test_rounding_of_inputs_that_lie_on_a_half(packing, tmp_path):
    one = conv("c", "in0", "out0", 1, 1, kernel=1, p5=0)
    one.weights = {"weight": Tensor(np.ones(1, np.float32), 0)}
    values = (np.arange(-140, 140, dtype=np.float32) / 2).reshape(1, 1, -1)
    result = check(Net([start(), int8(one, 1.0, weight_scales=[1])]), values, tmp_path, packing)["out0"]
    assert result[0, 0, [139, 138, 141, 143, 135]].tolist() == [-1, -1, 1, 2, -3]


@packings
def test_dead_channels(packing, tmp_path):
    layer = conv("c", "in0", "out0", 3, 16)
    weight = layer.weights["weight"].data.reshape(16, -1)
    weight[[2, 9]] = 0
    scales = [1 if dead else 127 / np.abs(row).max() for row, dead in zip(weight, weight.max(1) == 0, strict=True)]
    result = check(Net([start(), int8(layer, weight_scales=scales)]), image(3), tmp_path, packing)["out0"]
    assert np.ptp(result[2]) == 0
    assert result[2, 0, 0] == layer.weights["bias"].data[2]
    layer.weights["weight_scales"].data[9] = 0  # ncnn itself takes a scale of 0 for a factor of 0
    check(Net([start(), layer]), image(3), tmp_path, packing)


@packings
def test_a_whole_net(packing, tmp_path):
    """Requantized into convolution, depthwise and across a Split, with the fp32 layers of ResNet and ShuffleNet."""
    net = Net(
        [
            start(),
            int8(conv("a", "in0", "1", 3, 16, p9=1), 50.0, 30.0),
            int8(conv("dw", "1", "2", 16, 16, groups=16), 30.0, 25.0),
            Layer("Split", "s1", ["2"], ["3", "4"]),
            int8(conv("b", "3", "5", 16, 16), 25.0),
            int8(conv("c", "4", "6", 16, 16, kernel=1), 25.0),
            Layer("BinaryOp", "add", ["5", "6"], ["7"], {0: "0"}),
            Layer("ReLU", "relu", ["7"], ["8"]),
            Layer("Slice", "slice", ["8"], ["9", "10"], {-23300: "2,-233,-233", 1: "0"}),
            conv("d", "9", "11", 8, 8),
            Layer("Clip", "clip", ["11"], ["12"], {0: "0.0", 1: "6.0"}),
            Layer("Concat", "cat", ["12", "10"], ["13"], {0: "0"}),
            Layer("ShuffleChannel", "shuffle", ["13"], ["14"], {0: "2"}),
            Layer("Split", "s2", ["14"], ["15", "16", "17"]),
            Layer("Pooling", "max", ["15"], ["18"], {0: "0", 1: "3", 2: "2", 3: "1", 5: "1"}),
            Layer("Pooling", "tail", ["18"], ["19"], {0: "1", 1: "2", 2: "2", 5: "0"}),
            Layer("Pooling", "mean", ["16"], ["20"], {0: "1", 1: "3", 2: "2", 3: "1", 5: "1", 6: "1"}),
            Layer("Pooling", "adapt", ["20"], ["21"], {0: "1", 7: "1", 8: "4", 18: "2"}),
            Layer("Flatten", "flat", ["21"], ["22"]),
            Layer("Pooling", "gap", ["17"], ["23"], {0: "1", 4: "1"}),
            Layer("Padding", "pad", ["19"], ["24"], {0: "1", 1: "0", 2: "2", 3: "1", 5: "0.5"}),
            int8(nets.linear("f", "23", "25", 16, 10)),
            Layer("Softmax", "soft", ["25"], ["26"], {0: "0", 1: "1"}),
        ]
    )
    result = check(net, image(3), tmp_path, packing)
    assert {name for name, blob in result.items() if blob.dtype == np.int8} == {"1", "2", "3", "4"}
    simulated = simulate.run(net, image(3))
    assert simulated.keys() == result.keys()
    assert np.abs(simulated["25"] - result["25"]).max() < 0.01 * np.ptp(result["25"])


def alike(outputs=32, inputs=32, **how):
    """A 3x3 convolution with all weights at their limit, alike, and an image of size 8 at its limit: the largest sums."""
    layer = conv("c", "in0", "out0", inputs, outputs, p5=0)
    layer.weights = {"weight": Tensor(np.ones(outputs * inputs * 9, np.float32), 0)}
    return Net([start(), int8(layer, 127.0, **how)]), np.ones((inputs, 8, 8), np.float32)


@packings
@pytest.mark.parametrize("levels", [31, 127])
def test_winograd_is_exact_while_its_sums_fit(levels, packing, tmp_path):
    net = Net([start(), int8(conv("c", "in0", "out0", 32, 32), levels=levels, winograd=True)])
    result = check(net, image(32), tmp_path, packing)["out0"]
    net.layers[1].params[31] = "64"
    assert np.array_equal(result, blobs(net, image(32), tmp_path, packing)["out0"])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of the x86 kernels")
@packings
@pytest.mark.parametrize(
    ("inputs", "levels", "off"),
    [
        (12, 127, "exact"),  # 9 * 12 * 127 * 127 = 1,741,932
        (13, 127, "by one"),  # 1,887,093, over 2**24 / 9
        (52, 31, "exact"),  # 1,842,516
        (53, 31, "by one"),  # 1,877,949
        (32, 127, "wrapped"),  # 4,645,152, over 2**31 / 576
        (112, 31, "wrapped"),  # 3,968,496: 6 bits do wrap, too
    ],
)
def test_where_winograd_ends(inputs, levels, off, packing, tmp_path):
    net, image = alike(inputs=inputs, levels=levels, weight_scales=[levels] * 32, winograd=True)
    unit = 127.0 * levels
    wanted = simulate.run(net, image)["out0"] * unit
    result = blobs(net, image, tmp_path, packing)["out0"] * unit
    largest = np.abs(result - wanted).max()
    assert {"exact": largest < 0.5, "by one": 0.5 < largest < 1.5, "wrapped": largest > 1e6}[off]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of the x86 kernels")
@packings
def test_winograd_also_runs_inside_a_group_convolution(packing, tmp_path):
    """With 8-bit weights at their limit it wraps, so these layers need the mask as well; the mask reaches the groups."""
    layer = conv("c", "in0", "out0", 64, 64, groups=2, p5=0)
    layer.weights = {"weight": Tensor(np.ones(64 * 32 * 9, np.float32), 0)}
    net = Net([start(), int8(layer, 127.0, output_scale=0.1, weight_scales=[127, 127], winograd=True)])
    image = np.ones((64, 8, 8), np.float32)
    wanted = simulate.run(net, image)["out0"].astype(int)
    assert np.abs(blobs(net, image, tmp_path, packing)["out0"] - wanted).max() > 40
    layer.params[31] = "64"
    assert np.array_equal(blobs(net, image, tmp_path, packing)["out0"], wanted)


def test_unknown_layers_and_parameters_are_named():
    with pytest.raises(OctetError, match="layer l: the simulator knows no LSTM; known: BinaryOp, Clip"):
        simulate.layer(Layer("LSTM", "l", ["a"], ["b"]), [image(1)])
    with pytest.raises(OctetError, match="layer c: the simulator knows no activation 9=7"):
        simulate.layer(conv("c", "a", "b", 3, 3, p9=7), [image(3)])
    with pytest.raises(OctetError, match="layer b: the simulator knows no BinaryOp 0=6"):
        simulate.layer(Layer("BinaryOp", "b", ["a", "c"], ["d"], {0: "6"}), [image(1), image(1)])
