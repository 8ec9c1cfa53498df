"""What stands in LAYER_TYPES is what ncnn does."""

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.graph import layers
from octet.graph.layer_types import LAYER_TYPES, QUANTIZABLE, UNCALIBRATED, Int8, LayerType, Parameter
from octet.graph.layers import can_requantize, clip_range, integer, is_int8, scale_counts, set_clip
from octet.graph.profiles import target
from octet.graph.scales import needed_entries
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.layout import slots
from octet.ncnn.net import Net, dumps
from octet.ncnn.parameters import RULES
from octet.ncnn.table import Table
from octet.quantize.int8_layers import make_int8
from octet.quantize.quantize import quantize
from tests import nets, simulate

pytestmark = pytest.mark.unit
DOTPROD = target("dotprod")


def filled(layer):
    """The layer with weights of its own."""
    random = np.random.Generator(np.random.PCG64(0))
    for slot in slots(layer):
        values = random.normal(0, 0.3, slot.count).astype(np.float32)
        layer.weights[slot.role] = Tensor(values, 0 if slot.tagged else None)
    return layer


# A layer of every type that Octet quantizes, and the shape of its input. A new type needs one here.
SAMPLES = {
    "Convolution": (nets.conv("x", "in0", "out0", 3, 8), (3, 8, 8)),
    "ConvolutionDepthWise": (nets.conv("x", "in0", "out0", 8, 8, groups=8), (8, 8, 8)),
    "InnerProduct": (nets.linear("x", "in0", "out0", 24, 8), (24,)),
    "Gemm": (
        filled(Layer("Gemm", "x", ["in0"], ["out0"], {3: "1", 5: "1", 6: "1", 8: "5", 9: "6", 10: "4"})),
        (4, 6),
    ),
    "MultiHeadAttention": (
        filled(Layer("MultiHeadAttention", "x", ["in0"], ["out0"], {0: "8", 1: "2", 2: "64"})),
        (5, 8),
    ),
    "SDPA": (Layer("SDPA", "x", ["a", "b", "c"], ["out0"]), (2, 4, 8)),
}


def network(layer):
    start, inputs = [Layer("Input", "in0", [], ["in0"])], layer.inputs
    if len(inputs) > 1:
        start.append(Layer("Split", "split", ["in0"], list(inputs)))
    return Net([*start, layer])


def scales(layer):
    """A table for one layer: as if everything had been absmax."""
    table, key = Table(), f"{layer.name}_param_0"
    for entry, (role, count) in zip(needed_entries(layer), scale_counts(layer).items(), strict=False):
        rows = np.abs(layer.weights[role].data.reshape(count, -1)).max(axis=1)
        values = (127 / rows).astype(np.float32)
        if entry == key:
            table.weights[layer.name] = values
        else:
            table.more[entry] = values
    if layer.name in needed_entries(layer):
        table.inputs[layer.name] = np.float32(127 / 3)
    return table


@pytest.mark.parametrize("name", [*QUANTIZABLE, *UNCALIBRATED])
def test_ncnn_computes_it_in_int8(name):
    assert name in SAMPLES, "a new type needs a layer and the shape of its input among SAMPLES"
    layer, shape = SAMPLES[name]
    image = np.random.Generator(np.random.PCG64(1)).normal(0, 1, shape).astype(np.float32)
    wanted = Engine.of(network(layer))(image)
    int8 = layer.copy()
    make_int8(int8, scales(layer), DOTPROD, "t")
    assert is_int8(int8)
    assert not is_int8(layer)
    result = Engine.of(network(int8))(image)
    assert 0 < np.abs(result - wanted).max() < 0.1 * np.ptp(wanted), "as in fp32, but for int8's error"
    assert can_requantize(int8) == (name in ("Convolution", "ConvolutionDepthWise"))


def test_the_simulator_computes_what_the_table_calibrates():
    assert set(QUANTIZABLE) <= simulate.LAYERS.keys(), "a new type needs a function in tests/simulate.py"


@pytest.mark.parametrize("kind", LAYER_TYPES.values(), ids=lambda kind: kind.name)
def test_the_parameters_are_ncnn_s(kind):
    """The same numbers, kinds and defaults as in the table of ncnn2int8's writer, where both know a parameter."""
    rules = {int(rule.number): rule for rule in RULES.get(kind.name, [])}
    by_number = {parameter.number: name for name, parameter in kind.parameters.items()}
    assert len(by_number) == len(kind.parameters), "no number twice"
    for parameter in kind.parameters.values():
        rule = rules.get(parameter.number)
        if rule is None or rule.kind == "F":
            continue
        assert (rule.kind == "f") == isinstance(parameter.default, float), parameter
        if rule.relation == "@":
            assert by_number[int(rule.operand)] == parameter.default
        elif rule.kind == "":
            assert int(rule.operand or 0) == parameter.default


def test_a_type_that_ncnn_has_no_int8_for():
    name = next(name for name, kind in LAYER_TYPES.items() if kind.int8 is None and name.startswith("Deconvolution"))
    layer = filled(Layer(name, "up", ["in0"], ["out0"], {0: "4", 1: "2", 6: "48"}))
    net = network(layer)
    with pytest.raises(OctetError, match=f"keep_fp32: 'up' is no layer .*ncnn has no int8 for {name}"):
        quantize(net, Table(), DOTPROD, ["up"], "t")
    with pytest.raises(OctetError, match=f"layer up: ncnn has no int8 for {name}; it can only stay in fp32"):
        make_int8(layer, Table(), DOTPROD, "t")


def test_a_type_that_is_said_to_have_int8_and_has_not(monkeypatch):
    """Whoever adds it to LAYER_TYPES alone is told that ncnn does not read such a layer."""
    known = LAYER_TYPES["Convolution"]
    forged = LayerType("Deconvolution", known.parameters, Int8("20180830", 2, {"weight": "num_output"}, "input"))
    monkeypatch.setitem(LAYER_TYPES, "Deconvolution", forged)
    monkeypatch.setattr(layers, "QUANTIZABLE", (*QUANTIZABLE, "Deconvolution"))
    layer = filled(Layer("Deconvolution", "up", ["in0"], ["out0"], {0: "4", 1: "2", 6: "48"}))
    result = quantize(network(layer), scales(layer), target("dotprod"), [], "t")
    with pytest.raises(
        OctetError, match="layer up: ncnn's Deconvolution .* reads no .*weight_scales.* has no int8 for it"
    ):
        dumps(result)


@pytest.mark.parametrize(
    ("layer", "limits"),
    [
        (Layer("ReLU", "r", ["a"], ["b"]), (0, np.inf)),
        (Layer("ReLU", "r", ["a"], ["b"], {0: "0.1"}), None),
        (Layer("Clip", "c", ["a"], ["b"], {0: "0.0", 1: "6.0"}), (0, 6)),
        (Layer("Clip", "c", ["a"], ["b"], {0: "-3.402823e+38", 1: "3.402823e+38"}), (-np.inf, np.inf)),
        (nets.conv("c", "a", "b", 3, 3), (0, np.inf)),
        (nets.conv("c", "a", "b", 3, 3, relu=False), (-np.inf, np.inf)),
        (Layer("Sigmoid", "s", ["a"], ["b"]), None),
        (Layer("Pooling", "p", ["a"], ["b"]), None),
    ],
)
def test_activations(layer, limits):
    assert clip_range(layer) == limits


def test_a_clip_is_set_and_its_kept_limit_keeps_its_text():
    clip = Layer("Clip", "c", ["a"], ["b"], {0: "0.0", 1: "6.0"})
    set_clip(clip, 0.0, 3.5)
    assert clip.params == {0: "0.0", 1: "3.50000000e+00"}
    relu = Layer("ReLU", "r", ["a"], ["b"])
    set_clip(relu, -1.5, np.inf)
    assert (relu.type, relu.params) == ("Clip", {0: "-1.50000000e+00", 1: "3.402823e+38"})
    fused = nets.conv("c", "a", "b", 3, 3)
    set_clip(fused, -1.5, np.inf)
    assert clip_range(fused) == (-1.5, np.inf)
    assert fused.params[-23310] == "2,-1.50000000e+00,3.402823e+38"


def test_a_parameter_that_equals_another_where_it_is_absent():
    layer = nets.conv("c", "a", "b", 3, 3)
    names = "kernel_w", "kernel_h", "pad_left", "pad_right", "pad_top", "pad_bottom", "dilation_h"
    assert [integer(layer, name) for name in names] == [3, 3, 1, 1, 1, 1, 1]
    layer.params |= {14: "2", 11: "5"}
    assert [integer(layer, name) for name in names] == [3, 5, 1, 1, 2, 2, 1]
    with pytest.raises(KeyError):
        integer(layer, "group")


def test_parameter_numbers_fit():
    assert all(
        isinstance(parameter, Parameter) and 0 <= parameter.number <= 31
        for kind in LAYER_TYPES.values()
        for parameter in kind.parameters.values()
    )
