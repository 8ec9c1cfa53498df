"""The int8 model, in the file and in ncnn."""

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.calibrate.weights import weight_scales
from octet.core.errors import OctetError
from octet.graph.layers import is_requantized, quantizable
from octet.graph.profiles import target
from octet.graph.targets import Target
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, load_net, loads, save_net
from octet.ncnn.rounding import round_int8
from octet.ncnn.table import Table
from octet.quantize.int8_files import write
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit

PLAIN = Target("plain", winograd=False)  # dotprod without its shifts, and int8 from the network's input on


@pytest.fixture
def calibrated(tmp_path):
    net, images = nets.small(), nets.images(32)
    files = tmp_path / "fp32.param", tmp_path / "fp32.bin"
    save_net(net, *files)

    def table(profile=PLAIN):
        return calibrate(net, images, nets.settings("minmax"), profile, workers=1)

    return net, files, table


def test_rounding_is_half_away_from_zero_and_clamps():
    given = np.array([0.4999, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.4, 300, -300], np.float32)
    assert round_int8(given).tolist() == [0, 1, 2, 3, -1, -2, -3, 127, 127, 127, -127]


def test_the_file(calibrated):
    net, _, table = calibrated
    result = quantize(net, table(), PLAIN, [], "t")
    terms = {layer.name: (layer.int(8), layer.int(31)) for layer in result.layers if layer.weights}
    # conv_1's only reader is conv_2, so its output leaves as int8; conv_2's is a Split with an add behind it.
    assert terms == {"conv_1": (102, 64), "conv_2": (2, 64), "conv_3": (2, 64), "fc": (2, 0)}
    conv = result.layer("conv_1")
    assert conv.weights["output_scale"].data[0] == result.layer("conv_2").weights["input_scale"].data[0]
    assert np.abs(conv.weights["weight"].data.reshape(8, -1)).max(axis=1).tolist() == [127] * 8
    assert net.layer("conv_1").weights["weight"].data.dtype == np.float32, "the given model is left as it was"


def test_target_ncnn2int8(calibrated):
    net, _, table = calibrated
    result = quantize(net, table(target("ncnn2int8")), target("ncnn2int8"), [], "t")
    assert result.layer("conv_1").int(31) == 0
    assert np.abs(result.layer("conv_1").weights["weight"].data).max() == 31
    assert np.abs(result.layer("fc").weights["weight"].data).max() == 127


def test_a_table_for_the_other_target(calibrated):
    net, _, table = calibrated
    with pytest.raises(OctetError, match="layer conv_1: .*integers up to 127.*Winograd"):
        quantize(net, table(), target("ncnn2int8"), [], "t")
    with pytest.raises(OctetError, match="layer conv_1: the weight scales use 6 bits.*set 'target: ncnn2int8'"):
        quantize(net, table(target("ncnn2int8")), PLAIN, [], "t")


def test_keep_fp32(calibrated):
    net, _, table = calibrated
    result = quantize(net, table(), PLAIN, ["conv_2"], "t")
    assert result.layer("conv_2").int(8) == 0
    assert result.layer("conv_1").int(8) == 2, "no int8 reader, no requantizing"
    with pytest.raises(OctetError, match="keep_fp32: 'conv_9' .*Did you mean 'conv_"):
        quantize(net, table(), PLAIN, ["conv_9"], "t")


def chain(*behind):
    """conv_a, a Split, and behind it what is given, each with a blob of its own."""
    copies = [f"s{k}" for k in range(len(behind))]
    layers = [
        Layer("Input", "in0", [], ["in0"]),
        nets.conv("conv_a", "in0", "a", 3, 4),
        Layer("Split", "split", ["a"], copies),
    ]
    return Net(
        layers + [make(f"l{k}", blob, f"o{k}") for k, (make, blob) in enumerate(zip(behind, copies, strict=True))]
    )


def conv_b(name, blob, out):
    return nets.conv(name, blob, out, 4, 4)


def depthwise(name, blob, out):
    return nets.conv(name, blob, out, 4, 4, groups=4)


def relu(name, blob, out):
    return Layer("ReLU", name, [blob], [out])


def pooled(name, blob, out):
    return nets.linear(name, blob, out, 4 * 64, 4)


@pytest.mark.parametrize(
    ("behind", "scales", "requantized"),
    [
        ([conv_b, conv_b], [20, 20], True),
        ([conv_b, depthwise], [20, 20], True),
        ([conv_b, conv_b], [20, 30], False),
        ([conv_b, relu], [20], False),
        ([conv_b, pooled], [20, 20], False),
    ],
)
def test_requantizing_across_a_split(behind, scales, requantized):
    net = chain(*behind)
    table = Table()
    for layer, scale in zip(quantizable(net.layers), [50, *scales], strict=True):
        table.weights[layer.name] = weight_scales(layer, PLAIN)
        table.inputs[layer.name] = np.float32(scale)
    conv_a = quantize(net, table, PLAIN, [], "t").layer("conv_a")
    assert conv_a.int(8) == (102 if requantized else 2)
    if requantized:
        assert conv_a.weights["output_scale"].data.tolist() == [20]


def test_written_read_back_and_run(calibrated, tmp_path):
    net, _files, table = calibrated
    result = quantize(net, table(), PLAIN, [], "t")
    image = nets.images(1, seed=9)[0]
    write(result, tmp_path / "int8.param", tmp_path / "int8.bin", image)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fp32.bin", "fp32.param", "int8.bin", "int8.param"]
    again = load_net(tmp_path / "int8.param", tmp_path / "int8.bin")
    assert [layer.params for layer in again.layers] == [layer.params for layer in result.layers]
    fp32, int8 = (Engine(tmp_path / f"{p}.param", tmp_path / f"{p}.bin")(image) for p in ("fp32", "int8"))
    assert 0 < np.abs(fp32 - int8).max() < 0.05 * np.ptp(fp32), "close to fp32, but not fp32"


def test_values_that_are_not_finite_leave_no_file(calibrated, tmp_path):
    net, _, table = calibrated
    result = quantize(net, table(), PLAIN, [], "t")
    bias = result.layer("fc").weights["bias"]
    bias.data = np.array([np.nan, 0, 0, 0], np.float32)
    with pytest.raises(OctetError, match="not finite|read back"):
        write(result, tmp_path / "int8.param", tmp_path / "int8.bin", nets.images(1)[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fp32.bin", "fp32.param"]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_blob_that_leaves_the_network_and_is_read_in_it_stays_fp32(leaves):
    """Requantized, the network's output would hold integers."""
    layers = ["Input in0 0 1 in0", "Convolution a 1 1 in0 a 0=4 1=1 6=16"]
    layers += [f"Split s 1 2 a {'out1' if leaves else 'x'} b", "Convolution c 1 1 b out0 0=4 1=1 6=16"]
    layers += [] if leaves else ["Convolution d 1 1 x out1 0=4 1=1 6=16"]
    weights = bytes(4) + np.full(16, 0.5, np.float32).tobytes()
    net = loads(
        "\n".join(["7767517", f"{len(layers)} {5 if leaves else 6}", *layers, ""]), weights * (2 if leaves else 3)
    )
    assert net.outputs == ["out0", "out1"]
    scales, scale = np.full(4, 254, np.float32), np.float32(10)
    table = Table(dict.fromkeys("acd"[: len(layers) - 2], scales), dict.fromkeys("acd"[: len(layers) - 2], scale))
    for name in ("dotprod", "ncnn2int8") if leaves else ("ncnn2int8",):
        result = quantize(net, table, target(name), [], "table")
        assert is_requantized(result.layer("a")) == (not leaves), name
