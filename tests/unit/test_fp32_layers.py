"""Why a layer of an int8 model is fp32: every reason, on a network with a layer for each."""

from dataclasses import replace

import pytest

from octet.calibrate.calibrate import calibrate
from octet.graph.targets import TARGETS, Choice, Fp32Reason
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.quantize.fp32_layers import by_reason, fp32_layers
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit


def net():
    return Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("stem", "in0", "1", 3, 16, seed=1),
            nets.conv("second", "1", "s", 16, 16, seed=9),
            nets.conv("dw", "s", "2", 16, 16, seed=2, groups=16),
            nets.conv("grouped", "2", "3", 16, 16, seed=3, groups=4),
            nets.conv("a", "3", "4", 16, 16, seed=4),
            nets.conv("b", "4", "5", 16, 16, seed=5),
            nets.conv("c", "5", "6", 16, 16, seed=6),
            nets.conv("d", "6", "7", 16, 16, seed=7),
            Layer("Pooling", "gap", ["7"], ["8"], {0: "1", 4: "1"}),
            nets.linear("fc", "8", "out0", 16, 5, seed=8),
        ]
    )


def int8(target, keep_fp32):
    table = calibrate(net(), nets.images(4), nets.settings("minmax"), target, workers=1)
    return quantize(net(), table, target, keep_fp32, "t")


def test_every_layer_that_stays_in_fp32_has_its_reason():
    target = replace(TARGETS["dotprod"], layers={"a": Choice(int8=False)})
    result = int8(target, ["b", "c"])
    # Deconvolution has weights and no int8 in ncnn
    deconvolution = Layer("Deconvolution", "up", ["7"], ["9"], {0: "16"}, dict(nets.conv("x", "", "", 3, 4).weights))
    reasons = fp32_layers(Net([*result.layers, deconvolution]), target, ["b", "stem"], ["c"])
    assert reasons == {
        "stem": Fp32Reason.INPUT,  # the profile's reason goes before the entry's
        "second": Fp32Reason.SECOND,
        "dw": Fp32Reason.DEPTHWISE,
        "grouped": Fp32Reason.GROUPS,
        "a": Fp32Reason.PROFILE,
        "b": Fp32Reason.KEEP_FP32,
        "c": Fp32Reason.PLAN,
        "fc": Fp32Reason.NARROW,
        "up": Fp32Reason.NO_INT8,
    }
    assert set(reasons.values()) == set(Fp32Reason)
    assert list(by_reason(reasons)) == list(reasons.values())


def test_a_model_that_is_int8_all_over_has_none():
    assert fp32_layers(int8(TARGETS["ncnn2int8"], []), TARGETS["ncnn2int8"], []) == {}
