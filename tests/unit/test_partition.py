"""Partitioned models, a chain of parts: the same logits, bit for bit, in fp32 and int8, wherever the cuts are."""

import json

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.graph.origins import partition_boundaries
from octet.graph.profiles import target
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import load_net, save_net
from octet.ncnn.partition import Chain, runner, split, write
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit

BLOBS = ["1", "2", "3", "5", "6", "7", "8"]
IMAGES = nets.images(6)


def int8(folder, name, partition):
    net = nets.small()
    save_net(net, folder / "fp32.param", folder / "fp32.bin")
    table = calibrate(net, IMAGES, nets.settings("minmax"), target(name))
    return quantize(net, table, target(name), [], "t", boundaries=partition_boundaries(net, partition, "net"))


def same(whole, chain):
    for image in IMAGES:
        assert np.array_equal(whole(image), chain(image))


@pytest.mark.parametrize("partition", [[a] for a in BLOBS] + [["1", "5", "8"], ["2", "4", "5"], ["7", "8"]])
def test_fp32(partition):
    net = nets.small()
    parts = split(net, partition, "net")
    assert len(parts) == len(partition) + 1
    assert parts[0].inputs == ["in0"]
    assert parts[-1].outputs[-1] == "out0"
    layers = [layer.name for part in parts for layer in part.net.layers if layer.type != "Input"]
    assert sorted(layers) == sorted(layer.name for layer in net.layers if layer.type != "Input"), "each layer once"
    for cut, part in zip(partition, parts, strict=False):
        assert cut in part.outputs
    same(Engine.of(net), Chain(parts))


@pytest.mark.parametrize("name", ["dotprod", "ncnn2int8"])
@pytest.mark.parametrize("partition", [["1"], ["2"], ["5"], ["1", "5", "8"]])
def test_int8(tmp_path, name, partition):
    net = int8(tmp_path, name, partition)
    boundaries = partition_boundaries(net, partition, "net")
    before = [layer for layer in net.layers if layer.outputs[0] in boundaries and layer.type == "Convolution"]
    assert before
    assert max(layer.int(8) for layer in before) < 100, "what goes from part to part is fp32"
    same(Engine.of(net), Chain(split(net, partition, "net")))


def test_what_passes_over_a_cut(tmp_path):
    """The skip connection around conv_3: the second part gets both its tensors."""
    parts = split(nets.small(), ["conv_3"], "net")
    assert sorted(parts[1].inputs) == sorted(parts[0].outputs) == ["4", "5"]
    assert partition_boundaries(nets.small(), ["conv_3"], "net") == {"2", "4", "5"}
    whole = int8(tmp_path, "ncnn2int8", [])
    assert any(layer.int(8) > 100 for layer in whole.layers), "whole, conv_1 leaves as int8"


def test_a_late_part_may_read_the_input():
    net = nets.small()
    skip = Layer("BinaryOp", "again", ["in0", "x"], ["y"], {0: "0"})
    split_in = Layer("Split", "split_in", ["in0"], ["in0_a", "in0_b"])
    first = net.layers[1]
    first.inputs = ["in0_a"]
    net.layers.insert(1, split_in)
    net.layers[2:] = [
        first,
        nets.conv("down", "1", "x", 8, 3, seed=9),
        skip,
        nets.conv("up", "y", "out0", 3, 4, seed=8),
    ]
    skip.inputs = ["in0_b", "x"]
    same(Engine.of(net), Chain(split(net, ["x"], "net")))


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        (["conv_4"], "net: partition: 'conv_4' is no blob of the model, nor a layer. Did you mean 'conv_"),
        (["split_1"], "layer 'split_1' makes 3, 4; name one of them"),
        (["in0"], "'in0' leaves nothing for its part to compute"),
        (["out0"], "'out0' leaves nothing"),
        (["5", "1"], "'1' leaves nothing for its part to compute; expected tensors in the network's order"),
        (["5", "5"], "'5' leaves nothing"),
    ],
)
def test_cuts_that_cannot_be(partition, message):
    with pytest.raises(OctetError, match=message):
        split(nets.small(), partition, "net")


def test_files_of_the_parts(tmp_path):
    """chain.json is all that one needs to run them, here through load and Engine."""
    folder = ModelFolder("m", tmp_path)
    save_net(nets.small(), *folder.fp32)
    save_net(int8(tmp_path, "dotprod", ["2"]), *folder.int8)
    assert write(folder, ["2"]) == 2
    chain = json.loads((folder.parts / "chain.json").read_text())
    for precision in ("fp32", "int8"):
        whole = Engine(*folder.ncnn(precision))
        first, second = chain[precision]
        assert first["inputs"] == ["in0"]
        assert first["outputs"] == second["inputs"] == ["2"]
        engines = [Engine(*(folder.parts / part[key] for key in ("param", "bin"))) for part in (first, second)]
        middle = np.array(next(engines[0].blobs(IMAGES[0], ["2"])))
        assert np.array_equal(engines[1](middle), whole(IMAGES[0]))
        load_net(folder.parts / second["param"], folder.parts / second["bin"])
    assert isinstance(runner(folder.int8, ["2"]), Chain)
    assert isinstance(runner(folder.int8, []), Engine)
    assert len(list(folder.parts.iterdir())) == 9
