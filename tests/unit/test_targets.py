"""Target profiles: built in, and as files; what quantize makes of each choice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.core.errors import OctetError
from octet.graph.layer_types import LAYER_TYPES
from octet.graph.layers import is_int8, quantizable
from octet.graph.profiles import dumps, load, target
from octet.graph.targets import FOLDER, Choice, Fp32Reason
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, save_net
from octet.ncnn.net import dumps as dumps_net
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit

ALL = """# measured on a test
base: dotprod
layers:
  conv_1: {int8: true, requantize: false}
  conv_2: {winograd: true}
  fc: {int8: false}
"""


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Writes configs/targets/board.yaml and gives its target."""
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)

    def written(text):
        (FOLDER / "board.yaml").write_text(text)
        return target("board")

    return written


@pytest.fixture
def small(tmp_path):
    net, images = nets.small(), nets.images(8)
    files = tmp_path / "fp32.param", tmp_path / "fp32.bin"
    save_net(net, *files)
    return net, lambda profile: calibrate(net, images, nets.settings("minmax"), profile, workers=1)


def test_a_profile(profile):
    result = profile(ALL)
    layers = {layer.name: layer for layer in quantizable(nets.small().layers)}
    result.check(nets.small())
    assert result.name == "board"
    assert [result.masks_winograd(layer) for layer in layers.values()] == [True, False, True, False]
    assert [result.weight_levels(layer) for layer in layers.values()] == [127, 31, 127, 127]
    assert result.int8_layers(nets.small()) == {"conv_1", "conv_2", "conv_3"}
    assert [result.may_requantize(layer) for layer in layers.values()] == [False, True, True, True]
    assert nets.DOTPROD.int8_layers(nets.small()) == {"conv_2", "conv_3", "fc"}, "the first layer stays fp32"


def test_masked_in_one_layer_alone(profile):
    result = profile("base: ncnn2int8\nlayers: {conv_1: {winograd: false}}\n")
    layers = quantizable(nets.small().layers)
    assert [result.masks_winograd(layer) for layer in layers] == [True, False, False, False]
    assert [result.weight_levels(layer) for layer in layers] == [127, 31, 31, 127]


@pytest.mark.parametrize("text", ["base: dotprod\n", "base: dotprod\nlayers:\n", "base: dotprod\nlayers: {}\n"])
def test_no_layers(profile, text):
    assert profile(text) == replace(target("dotprod"), name="board")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "base: dotprod",
            "base: dotprot",
            "board.yaml: base: 'dotprot' is no built-in profile. Did you mean 'dotprod'",
        ),
        ("base: dotprod", "", "board.yaml: lacks base, the built-in profile that it starts from: dotprod, ncnn2int8"),
        ("layers:", "layer:", "board.yaml: unknown key 'layer'. Did you mean 'layers'"),
        ("int8: false", "int: false", "board.yaml: layers: fc: unknown key 'int'. Did you mean 'int8'"),
        ("winograd: true", "winograd: 1", "layers: conv_2: winograd: expected true or false, found 1"),
        ("winograd: true", "winograd: ", "layers: conv_2: winograd: expected true or false, found None"),
        ("{winograd: true}", "winograd", "layers: conv_2: expected a mapping with the keys .*, found 'winograd'"),
        ("conv_2:", "2:", "layers: expected a layer's name, found 2; put it in quotes"),
        ("conv_2:", "conv_1:", "board.yaml: 'conv_1' given twice; keep one"),
        ("int8: false", "int8: false, requantize: true", "layers: fc: stays fp32 .* take it out"),
        ("{winograd: true}", "{winograd", "line .*not valid YAML"),
        (ALL, "", "board.yaml: expected a mapping with the keys base, layers, fp32_costs_us, found None"),
        (
            "layers:",
            "fp32_costs_us: {conv_1: fast}\nlayers:",
            "fp32_costs_us: conv_1: expected a number of micro.*'fast'",
        ),
        ("layers:", "fp32_costs_us: 3\nlayers:", "fp32_costs_us: expected a mapping with entries like 'conv_1: 41.5'"),
        (ALL[ALL.index("  conv_1") :], "  - conv_1\n", "layers: expected a mapping with entries like"),
        (ALL[ALL.index("\n  conv_1") :], " []\n", r"layers: expected a mapping with entries like .*, found \[\]"),
        ("layers:", "fp32_costs_us: 0\nlayers:", "fp32_costs_us: expected a mapping with entries like .*, found 0"),
        (
            "layers:",
            "fp32_costs_us: {1: 2}\nlayers:",
            "fp32_costs_us: expected a layer's name, found 1; put it in quotes",
        ),
        ("winograd: true", "winograd: on", "layers: conv_2: winograd: expected true or false, found 'on'"),
    ],
)
def test_a_wrong_file(profile, old, new, message):
    assert old in ALL
    with pytest.raises(OctetError, match=message):
        profile(ALL.replace(old, new))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "conv_9: {int8: false}",
            "board.yaml: the profile does not fit .*\n.*'conv_9' is no layer .*Did you mean 'conv_",
        ),
        ("add_1: {int8: false}", "'add_1' is no layer of the model that can be int8"),
        ("fc: {winograd: true}", "fc: 'winograd' is for 3x3 convolutions"),
        ("fc: {requantize: false}", "fc: 'requantize' is for convolutions, this is InnerProduct"),
        ("conv_3: {fp16: false}", "conv_3: is int8, and 'fp16' is for what is not: add 'int8: false', or take it out"),
        ("conv_1: {int8: true, fp16: false}", "conv_1: is int8, and 'fp16' is for what is not"),
    ],
)
def test_a_profile_for_another_model(profile, small, entry, message):
    net, _ = small
    result = profile(f"base: dotprod\nlayers: {{{entry}}}\n")
    for check in (lambda: result.check(net), lambda: quantize(net, None, result, [], "t")):
        with pytest.raises(OctetError, match=message):
            check()


def test_unknown_names(profile):
    profile(ALL)
    with pytest.raises(OctetError, match="target: 'bord' is no profile. Did you mean 'board'"):
        target("bord")
    (FOLDER / "dotprod.yaml").write_text(ALL)
    with pytest.raises(OctetError, match="dotprod.yaml: 'dotprod' is a built-in profile; give the file another name"):
        target("dotprod")


def test_written_and_read_back(profile):
    layers = {
        "conv_1": Choice(requantize=False),
        "conv_2": Choice(winograd=True, requantize=False),
        "true": Choice(winograd=False),
        "it's: #1": Choice(int8=False),
        "conv_3": Choice(int8=False, fp16=False),
    }
    text = dumps("ncnn2int8", layers, ["a board", "a second line"])
    assert text.startswith("# a board\n# a second line\nbase: ncnn2int8\nlayers:\n  conv_1: {requantize: false}\n")
    assert profile(text) == replace(target("ncnn2int8"), name="board", layers=layers)
    assert profile(dumps("dotprod", {}, [], {"conv_1": 41.54, "2": -3.0})).fp32_costs_us == {"conv_1": 41.5, "2": -3.0}
    assert profile(dumps("dotprod", {}, [])) == replace(target("dotprod"), name="board")


def test_the_model_follows_the_profile(profile, small):
    net, table = small
    actual = profile(ALL)
    scales = table(actual)
    assert list(scales.inputs) == ["conv_1", "conv_2", "conv_3", "fc"], "a table has all layers, fp32 ones too"
    result = quantize(net, scales, actual, [], "t")
    terms = {layer.name: (layer.int(8), layer.int(31)) for layer in result.layers if layer.weights}
    # With dotprod alone conv_1 would be (0, 0), conv_2 (2, 64) and fc (2, 0).
    assert terms == {"conv_1": (2, 64), "conv_2": (2, 0), "conv_3": (2, 64), "fc": (0, 0)}
    largest = [int(np.abs(result.layer(name).weights["weight"].data).max()) for name in ("conv_1", "conv_2", "conv_3")]
    assert largest == [127, 31, 127]
    assert result.layer("fc").weights["weight"].data.dtype == np.float32


def test_fp16_is_masked_where_a_layer_stays_in_fp32(profile, small):
    """ncnn's default options compute such a layer in fp16 on a processor that has it; 1 and 2 of the mask turn that off."""
    net, table = small
    actual = profile(
        "base: dotprod\nlayers: {conv_1: {fp16: false}, conv_2: {int8: true}, fc: {int8: false, fp16: false}}\n"
    )
    result = quantize(net, table(actual), actual, [], "t")
    terms = {layer.name: (layer.int(8), layer.int(31)) for layer in result.layers if layer.weights}
    assert terms == {"conv_1": (0, 3), "conv_2": (2, 64), "conv_3": (2, 64), "fc": (0, 3)}
    engine = Engine.of(result)
    plain = Engine.of(quantize(net, table(actual), replace(actual, layers={"conv_2": Choice(int8=True)}), [], "t"))
    for image in nets.images(3):
        assert np.array_equal(engine(image), plain(image))


def test_a_table_for_another_profile(profile, small):
    net, table = small
    with pytest.raises(OctetError, match="layer conv_2: .*on target board .*Winograd"):
        quantize(net, table(target("dotprod")), profile(ALL), [], "t")


def test_the_profiles_of_the_project():
    names = [path.stem for path in (Path(__file__).parents[2] / FOLDER).glob("*.yaml")]
    assert "resnet18_digits32_avx512vnni" in names
    assert [load(Path(__file__).parents[2] / FOLDER / f"{name}.yaml").name for name in names] == names


@pytest.mark.parametrize("groups", [2, 4, 16])
def test_dotprod_leaves_convolutions_in_groups_and_depthwise_ones_alone(groups):
    first, layer = nets.conv("first", "in0", "a", 3, 16), nets.conv("c", "a", "b", 16, 16, groups=groups)
    net = Net([Layer("Input", "in0", [], ["in0"]), first, layer, nets.conv("d", "b", "c", 16, 16)])
    assert target("dotprod").int8_layers(net) == {"d"}
    assert target("ncnn2int8").int8_layers(net) == {"first", "c", "d"}
    wanted = replace(target("dotprod"), layers={"c": Choice(int8=True)})
    if groups == 16:
        assert wanted.int8_layers(net) == {"c", "d"}
    else:
        with pytest.raises(OctetError, match="c: ncnn computes a convolution in groups wrongly"):
            wanted.check(net)


def in_groups(groups=4):
    return Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("first", "in0", "a", 3, 16),
            nets.conv("c", "a", "b", 16, 16, groups=groups),
            nets.conv("d", "b", "out0", 16, 4),
        ]
    )


def test_convolutions_in_groups_are_int8_only_in_ncnn2int8_s_own_files(profile):
    """A profile that starts from ncnn2int8 and deviates in a layer computes them rightly, in fp32."""
    net = in_groups()
    deviating, same = profile("base: ncnn2int8\nlayers: {d: {winograd: false}}\n"), profile("base: ncnn2int8\n")
    assert not deviating.ncnn2int8_files
    assert deviating.fp32_reasons(net) == {"c": Fp32Reason.GROUPS}
    assert deviating.int8_layers(net) == {"first", "d"}
    assert same.ncnn2int8_files
    assert same.int8_layers(net) == {"first", "c", "d"}
    images, results = nets.images(8), {}
    for name, result in {"deviating": deviating, "same": same, "ncnn2int8": target("ncnn2int8")}.items():
        results[name] = quantize(net, calibrate(net, images, nets.settings("minmax"), result), result, [], "t")
        assert is_int8(results[name].layer("c")) == result.ncnn2int8_files
    assert dumps_net(results["same"]) == dumps_net(results["ncnn2int8"])
    wanted, engine = Engine.of(net), Engine.of(results["deviating"])
    for image in images:
        assert np.abs(engine(image) - wanted(image)).max() < 0.1 * np.ptp(wanted(image))
    with pytest.raises(OctetError, match="c: ncnn computes a convolution in groups wrongly"):
        profile("base: ncnn2int8\nlayers: {c: {int8: true}}\n").check(net)


def test_why_layers_stay_in_fp32(profile):
    net = in_groups(16)
    assert target("dotprod").fp32_reasons(net) == {"first": Fp32Reason.INPUT, "c": Fp32Reason.DEPTHWISE}
    assert profile("base: dotprod\nlayers: {d: {int8: false}, c: {int8: true}}\n").fp32_reasons(net) == {
        "first": Fp32Reason.INPUT,
        "d": Fp32Reason.PROFILE,
    }
    assert target("ncnn2int8").fp32_reasons(net) == {}


def test_layers_that_int8_does_not_speed_up_stay_in_fp32(profile):
    """1x1 convolutions and linear layers by their multiplications, what reads the first layer's outputs by its channels."""
    net = Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("first", "in0", "a", 3, 64),
            Layer("Pooling", "pool", ["a"], ["b"], {0: "0", 1: "2", 2: "2"}),
            nets.conv("second", "b", "c", 64, 64),
            nets.conv("third", "c", "d", 64, 64),
            nets.conv("expand", "d", "e", 64, 192, kernel=1),  # 12,288 multiplications of 256 values: 48
            nets.conv("wide", "e", "f", 192, 96, kernel=1),  # 64
            nets.conv("strided", "f", "g", 96, 192, kernel=1, stride=2),  # reads 4 * 96, writes 192: 32
            Layer("Pooling", "gap", ["g"], ["h"], {0: "1", 4: "1"}),
            nets.linear("logits", "h", "out0", 192, 10),
        ]
    )
    narrow = dict.fromkeys(["expand", "strided", "logits"], Fp32Reason.NARROW)
    reasons = {"first": Fp32Reason.INPUT, "second": Fp32Reason.SECOND} | narrow
    assert target("dotprod").fp32_reasons(net) == reasons
    chosen = profile("base: dotprod\nlayers: {second: {int8: true}, expand: {int8: true}}\n").fp32_reasons(net)
    assert chosen.keys() == reasons.keys() - {"second", "expand"}
    assert target("ncnn2int8").fp32_reasons(net) == {}
    assert nets.DOTPROD.int8_layers(net) == {"second", "third", "expand", "wide", "strided", "logits"}
    wider = Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("first", "in0", "a", 3, 72),
            nets.conv("second", "a", "out0", 72, 72),
        ]
    )
    assert target("dotprod").int8_layers(wider) == {"second"}


def test_a_profile_for_a_type_that_ncnn_has_no_int8_for(profile):
    net = in_groups()
    name = next(name for name, kind in LAYER_TYPES.items() if kind.int8 is None and name.startswith("Deconvolution"))
    net.layers.append(Layer(name, "up", ["out0"], ["up0"], {0: "4", 1: "2", 6: "64"}))
    result = profile("base: dotprod\nlayers: {up: {int8: true}}\n")
    with pytest.raises(OctetError, match=f"'up' is no layer .*ncnn has no int8 for {name}: such a layer stays in"):
        result.check(net)


def test_a_network_of_first_layers_alone_is_int8():
    layers = [Layer("Input", "in0", [], ["in0"]), Layer("Split", "split", ["in0"], ["a", "b"])]
    net = Net([*layers, nets.conv("c", "a", "c", 3, 8), nets.conv("d", "b", "d", 3, 8)])
    assert target("dotprod").int8_layers(net) == {"c", "d"}
    net.layers.append(nets.conv("e", "d", "e", 8, 8))
    assert target("dotprod").int8_layers(net) == {"e"}, "the second layer, too, where there is no other"
    net.layers.append(nets.conv("f", "e", "f", 8, 8))
    assert target("dotprod").int8_layers(net) == {"f"}
