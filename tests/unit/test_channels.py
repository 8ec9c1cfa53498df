"""Balanced channels: ncnn computes the same, and channels reach alike."""

import numpy as np
import pytest

from octet.calibrate.channel_ranges import channel_ranges
from octet.graph.channels import balance, channel_groups
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net


def convolution(name, inputs, outputs, channels, kernel=1, activation="0", depthwise=False):
    random = np.random.default_rng(sum(map(ord, name)))
    before, after = channels
    size = after * kernel * kernel * (1 if depthwise else before)
    params = {0: str(after), 1: str(kernel), 4: str(kernel // 2), 5: "1", 6: str(size), 9: activation}
    if depthwise:
        params[7] = str(after)
    if activation == "3":
        params[-23310] = "2,0.0,6.0"
    rows = random.normal(size=(after, size // after)) * np.exp(2 * random.normal(size=(after, 1)))
    weights = {
        "weight": Tensor(rows.reshape(-1).astype(np.float32), 0),
        "bias": Tensor(random.normal(size=after).astype(np.float32)),
    }
    return Layer("ConvolutionDepthWise" if depthwise else "Convolution", name, [inputs], [outputs], params, weights)


def head(blob, channels):
    weights = {"weight": Tensor(np.random.default_rng(7).normal(size=5 * channels).astype(np.float32), 0)}
    return [
        Layer("Pooling", "gap", [blob], ["pooled"], {0: "1", 4: "1"}),
        Layer("InnerProduct", "fc", ["pooled"], ["out"], {0: "5", 2: str(5 * channels)}, weights),
    ]


def residual():
    """ReLU behind a sum, read by a convolution with a border: factors alone."""
    return Net(
        [
            Layer("Input", "in", [], ["x"]),
            convolution("stem", "x", "a", (3, 8), 3, "1"),
            Layer("Split", "s", ["a"], ["a1", "a2"]),
            convolution("first", "a1", "b", (8, 8), 3, "1"),
            convolution("second", "b", "c", (8, 8), 3),
            Layer("BinaryOp", "add", ["c", "a2"], ["d"], {0: "0"}),
            Layer("ReLU", "relu", ["d"], ["e"]),
            *head("e", 8),
        ]
    )


def bottleneck():
    """MobileNetV2's: linear tensors with a sum between them, read by 1x1 convolutions: factors and shifts."""
    return Net(
        [
            Layer("Input", "in", [], ["x"]),
            convolution("stem", "x", "a", (3, 6)),
            Layer("Split", "s", ["a"], ["a1", "a2"]),
            convolution("expand", "a1", "b", (6, 12), 1, "3"),
            convolution("depthwise", "b", "c", (12, 12), 3, "3", depthwise=True),
            convolution("project", "c", "d", (12, 6)),
            Layer("BinaryOp", "add", ["d", "a2"], ["e"], {0: "0"}),
            convolution("last", "e", "f", (6, 8), 1, "3"),
            *head("f", 8),
        ]
    )


IMAGES = [np.random.default_rng(k).normal(size=(3, 6, 6)).astype(np.float32) for k in range(8)]


@pytest.mark.parametrize("net", [residual(), bottleneck()], ids=["residual", "bottleneck"])
def test_ncnn_computes_the_same(net):
    balanced = balance(net, *channel_ranges(net, IMAGES))
    plain, scaled = ([Engine.of(one)(image) for image in IMAGES] for one in (net, balanced))
    assert np.abs(np.subtract(scaled, plain)).max() < 1e-5 * np.ptp(plain)
    assert any(
        not np.array_equal(layer.weights["weight"].data, balanced.layer(layer.name).weights["weight"].data)
        for layer in net.layers
        if layer.weights
    )


def test_channels_reach_alike_and_around_zero():
    net = bottleneck()
    low, high = channel_ranges(net, IMAGES)
    after_low, after_high = channel_ranges(balance(net, low, high), IMAGES)
    before, after = (
        np.max([(h[blob] - least[blob]) / (h[blob] - least[blob]).max() for blob in low], axis=0)
        for least, h in ((low, high), (after_low, after_high))
    )
    assert after.max() / after.min() < 0.7 * before.max() / before.min()
    for blob in low:
        assert np.abs(after_high[blob] + after_low[blob]).max() < 1e-3 * after_high[blob].max()


def test_what_groups_there_are():
    assert [(set(group.tensors), group.shifts) for group in channel_groups(residual())] == [
        ({"a", "pooled"}, False),
        ({"b"}, False),
    ]
    assert [(set(group.tensors), group.shifts) for group in channel_groups(bottleneck())] == [({"a", "e"}, True)]


def test_no_factor_through_relu6_and_none_where_nothing_can_be_balanced():
    net = Net([Layer("Input", "in", [], ["x"]), convolution("stem", "x", "a", (3, 4), 3, "3"), *head("a", 4)])
    assert channel_groups(net) == []
    assert channel_ranges(net, IMAGES) == ({}, {})
