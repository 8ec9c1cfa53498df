"""Cross-layer equalization: the same network, with other channels."""

import numpy as np
import pytest

from octet.graph.equalize import equalize, pairs
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from tests import nets

pytestmark = pytest.mark.unit


def start():
    return Layer("Input", "in0", [], ["in0"])


def uneven(layer, seed=3):
    """Rows of very different sizes."""
    rows = layer.weights["weight"].data.reshape(layer.int(0), -1)
    sizes = np.exp2(np.random.Generator(np.random.PCG64(seed)).integers(-5, 5, len(rows))).astype(np.float32)
    layer.weights["weight"].data = (rows * sizes[:, None]).reshape(-1)
    return layer


def chain():
    """Everything that lets factors through, and a Split that does not."""
    return Net(
        [
            start(),
            uneven(nets.conv("a", "in0", "1", 3, 16)),
            uneven(nets.conv("dw", "1", "2", 16, 16, groups=16)),
            Layer("Pooling", "max", ["2"], ["3"], {0: "0", 1: "2", 2: "2", 5: "1"}),
            uneven(nets.conv("b", "3", "4", 16, 8, kernel=1, relu=False)),
            Layer("Split", "split", ["4"], ["5", "6"]),
            nets.conv("c", "5", "7", 8, 8, relu=False),
            Layer("BinaryOp", "add", ["7", "6"], ["8"], {0: "0"}),
            Layer("ReLU", "relu", ["8"], ["9"]),
            Layer("Pooling", "gap", ["9"], ["10"], {0: "1", 4: "1"}),
            nets.linear("fc", "10", "out0", 8, 4),
        ]
    )


def test_where_factors_can_go():
    assert [(pair.first.name, pair.second.name) for pair in pairs(chain())] == [("a", "dw"), ("dw", "b")]
    assert [pair.first.name for pair in pairs(nets.small())] == ["conv_1"]


def test_fp32_computes_the_same_bits_and_the_ranges_are_alike():
    net = chain()
    result = equalize(net)
    for image in nets.images(4):
        assert np.array_equal(Engine.of(result)(image), Engine.of(net)(image))
    for pair in pairs(result):
        rows = np.abs(pair.first.weights["weight"].data.reshape(16, -1)).max(axis=1)
        weight = pair.second.weights["weight"].data
        columns = np.abs(weight.reshape(16, -1) if pair.second.name == "dw" else weight.reshape(8, 16).T).max(axis=1)
        assert (np.abs(np.log2(rows / columns)) <= 1 + 1e-6).all(), "equal, but for the power of two"
    assert np.ptp(np.log2(np.abs(net.layer("a").weights["weight"].data.reshape(16, -1)).max(axis=1))) > 5


def test_dead_channels_stay():
    net = chain()
    rows = net.layer("a").weights["weight"].data.reshape(16, -1)
    rows[3] = 0
    result = equalize(net)
    assert np.isfinite(result.layer("a").weights["weight"].data).all()
    assert np.array_equal(Engine.of(result)(nets.images(1)[0]), Engine.of(net)(nets.images(1)[0]))


@pytest.mark.parametrize("fused", [True, False])
def test_relu6_is_clipped_no_earlier_than_it_was(fused):
    a, b = uneven(nets.conv("a", "in0", "1", 3, 16, relu=False)), nets.conv("b", "2", "out0", 16, 4, relu=False)
    clip = Layer("Clip", "clip", ["1"], ["2"], {0: "0.0", 1: "6.0"})
    net = Net([start(), a, clip, b])
    if fused:
        a.params |= {9: "3", -23310: "2,0.0e+00,6.0e+00"}
        a.outputs = ["2"]
        net.layers.remove(clip)
    result = equalize(net)
    limit = result.layer("a").floats(10)[1] if fused else float(result.layer("clip").params[1])
    factors = result.layer("a").weights["bias"].data / a.weights["bias"].data
    assert limit == pytest.approx(6 * factors.max())
    assert factors.max() > 1
    dark = nets.images(1)[0] * 0.02  # nothing is over 6: exact
    assert np.array_equal(Engine.of(result)(dark), Engine.of(net)(dark))


def test_a_sigmoid_lets_nothing_through():
    a = nets.conv("a", "in0", "1", 3, 16)
    a.params[9] = "4"
    assert not pairs(Net([start(), a, nets.conv("b", "1", "out0", 16, 4)]))
