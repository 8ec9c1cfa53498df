"""The tuner: its decision rule by made-up times, and one real run where there is nothing but numpy and ncnn."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.core.errors import OctetError
from octet.core.files import write_json
from octet.core.folder import NcnnFiles
from octet.graph.layers import quantizable
from octet.graph.profiles import load, target
from octet.graph.targets import TARGETS, Choice
from octet.ncnn import table
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, load_net, save_net
from octet.tune.bench import Bench
from octet.tune.command import input_shape
from octet.tune.compare import PAIRS, Gain, compare, in_turn
from octet.tune.text import report
from octet.tune.tune import candidates, chosen
from tests import nets

pytestmark = pytest.mark.unit


def machine(mean_us, noise_us=0.0, load_noise_us=0.0, seed=0):
    """What loads a network whose runs take so many µs, with noise of each run and of each loading."""
    random = np.random.Generator(np.random.PCG64(seed))

    def load():
        placed = mean_us + load_noise_us * random.normal()
        return lambda: placed + noise_us * random.normal()

    return load


def test_a_clear_gain():
    gain = compare(in_turn(machine(1000, 10, seed=1), machine(950, 10, seed=2)))
    assert gain.verdict == "faster"
    assert len(gain.rounds) == 10, "2**-10 is the first below 0.001"
    assert gain.us == pytest.approx(50, abs=5)
    assert gain.percent == pytest.approx(5, abs=0.5)
    assert gain.won == 10


def test_a_clear_loss_ends_early():
    gain = compare(in_turn(machine(1000, 10, seed=1), machine(1050, 10, seed=2)))
    assert gain.verdict == "no gain"
    assert len(gain.rounds) == 6


def test_a_gain_too_small_to_matter_is_none():
    assert compare(in_turn(machine(1000), machine(998))).verdict == "no gain"


def test_noise_is_no_gain():
    """Of 200 candidates that gain nothing, with loadings that differ by 1 %, at most 2 may pass (0.1 % a look)."""
    result = [
        compare(in_turn(machine(1000, 30, 10, seed), machine(1000, 30, 10, seed + 1000))).verdict for seed in range(200)
    ]
    assert result.count("faster") <= 2


def test_a_gain_in_the_noise_is_found():
    """2 % is found in most cases though two loadings of one network differ by 1 %, and single runs by 2 %."""
    result = [
        compare(in_turn(machine(1000, 20, 10, seed), machine(980, 20, 10, seed + 1000))).verdict for seed in range(50)
    ]
    assert result.count("faster") >= 30


def test_one_loading_by_itself_decides_nothing():
    placed = iter([500.0] + [1000.0] * 100)

    def lucky():
        us = next(placed)
        return lambda: us

    assert compare(in_turn(machine(1000, 1), lucky)).verdict == "no gain"


def test_the_two_run_in_turn_and_are_loaded_anew():
    calls = []

    def loader(name):
        def load():
            calls.append(f"load {name}")
            return lambda: calls.append(name) or 1000.0

        return load

    gain = compare(in_turn(loader("a"), loader("b")), rounds=2)
    assert len(gain.rounds) == 2
    assert calls == ["load b", "load a", *"baab" * (PAIRS // 2), "load a", "load b", *"baab" * (PAIRS // 2)]


def gain(us, verdict="faster"):
    result = Gain([float(us)] * 10, 1000.0, 1000.0 - us)
    assert result.verdict == verdict
    return result


def test_what_is_taken_of_each_layer():
    tried = [
        ("a", Choice(winograd=True), gain(20)),
        ("a", Choice(requantize=False), gain(30)),
        ("a", Choice(int8=False), gain(40)),
        ("b", Choice(winograd=True), gain(20)),
        ("b", Choice(int8=False), gain(30)),
        ("c", Choice(requantize=False), gain(-30, "no gain")),
        ("c", Choice(int8=False), gain(2, "no gain")),
        ("d", Choice(winograd=False), gain(10)),
    ]
    assert chosen(tried) == {
        "a": (Choice(winograd=True, requantize=False), 50),
        "b": (Choice(int8=False), 30),
        "d": (Choice(winograd=False), 10),
    }
    assert chosen(tried[5:7]) == {}


class Small:
    """What a bench has besides times: a small network."""

    image, net, fp16 = None, nets.small(), False

    def int8(self, target):
        return nets.small()


def test_what_is_not_faster_together_is_not_taken(monkeypatch):
    """The weaker half goes until the rest is clearly faster than the base."""
    from octet.tune import tune

    monkeypatch.setitem(tune.TARGETS, "dotprod", nets.DOTPROD)

    alone = {
        "conv_2": (Choice(winograd=True), 30.0),
        "conv_3": (Choice(winograd=True), 20.0),
        "fc": (Choice(int8=False), 10.0),
    }

    class Bench(Small):
        def write(self, target, name):
            if name in TARGETS:
                return 1000.0 if name == "dotprod" else 2000.0
            us = [alone[layer][1] * (choice == alone[layer][0]) for layer, choice in target.layers.items()]
            saved = sum(us) if len(us) < 3 else -50.0  # all three together are slower
            return 1000.0 - saved

        def rounds(self, base, other):
            return in_turn(lambda: lambda: base, lambda: lambda: other)

    tuned = tune.tune(Bench(), 5000.0)
    assert tuned.base.name == "dotprod"
    assert tuned.whole_us == {"dotprod": 1000, "winograd": 2000, "ncnn2int8": 2000, "fp32": 5000}
    assert [(count, gain.verdict) for count, gain in tuned.together] == [(3, "no gain"), (1, "faster")]
    assert tuned.layers == {"conv_2": Choice(winograd=True)}
    assert "conv_2                   winograd            30 µs" in report(tuned)


def test_a_profile_that_cannot_be_had_is_left_out():
    from octet.tune import tune

    class Bench(Small):
        def write(self, target, name):
            if name == "ncnn2int8":
                raise OctetError("layer x: ncnn2int8 would drop it")
            return 1000.0

        def rounds(self, base, other):
            return in_turn(lambda: lambda: base, lambda: lambda: other)

    tuned = tune.tune(Bench(), 5000.0)
    assert tuned.base.name == "dotprod"
    assert tuned.whole_us == {"dotprod": 1000, "winograd": 1000, "fp32": 5000}
    assert "ncnn2int8: not for this model: layer x: ncnn2int8 would drop it" in report(tuned)


@pytest.mark.parametrize(
    ("alone", "together", "least"),
    [
        (lambda _: 100.0, lambda _: 100.0, 150),
        (lambda _: 100.0, lambda turn: (-1) ** turn * 100.0, 400),  # up to 80 rounds, then the best one alone
        (lambda turn: (-1) ** turn * 100.0, lambda _: 100.0, float("inf")),
    ],
)
@pytest.mark.parametrize("seconds", [2, 20, 100, 150, 200, 400])
def test_the_time_that_a_tuner_is_given_is_kept(monkeypatch, alone, together, least, seconds):
    """Where a round takes a second, by a clock of its own: also while built-in profiles are compared, and choices together."""
    from octet.tune import compare, tune

    clock = [0.0]
    for module in (tune, compare):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setitem(tune.TARGETS, "dotprod", nets.DOTPROD)

    class Bench(Small):
        def write(self, target, name):
            if name in TARGETS:
                return lambda turn: (-1) ** turn * 100.0  # unclear: nothing between the built-in ones
            return alone if len(target.layers) == 1 else together

        def rounds(self, base, other):
            turns = count()

            def times(base_first):
                clock[0] += 1
                return np.array([[1000.0, 1000.0 - other(next(turns))]] * PAIRS)

            return times

    tuned = tune.tune(Bench(), lambda _: -500.0, seconds)
    assert clock[0] <= max(seconds, 3)  # of two comparisons each times a round
    assert bool(tuned.layers) == (seconds >= least)
    clock[0] = 0.0
    forever = tune.tune(Bench(), lambda _: -500.0)
    assert clock[0] > 80, "make tune takes the rounds that it needs"
    assert bool(forever.layers) == (least < float("inf"))


def test_a_number_is_one_choice_of_a_layer():
    """fp16, fp32 and int8 exclude each other, and a layer's other choices."""
    tried = [
        ("a", Choice(requantize=False), gain(30)),
        ("a", Choice(int8=False), gain(40)),
        ("a", Choice(int8=False, fp16=False), gain(50)),
        ("b", Choice(requantize=False), gain(60)),
        ("b", Choice(int8=False, fp16=False), gain(50)),
        ("c", Choice(int8=True), gain(20)),
        ("c", Choice(fp16=False), gain(30)),
        ("d", Choice(int8=True), gain(2, "no gain")),
    ]
    assert chosen(tried) == {
        "a": (Choice(int8=False, fp16=False), 50),
        "b": (Choice(requantize=False), 60),
        "c": (Choice(fp16=False), 30),
    }


def test_candidates_of_depthwise_layers_and_where_ncnn_has_fp16(tmp_path):
    layers = [nets.conv("first", "in0", "a", 3, 16), nets.conv("deep", "a", "b", 16, 16, groups=16)]
    net = Net([Layer("Input", "in0", [], ["in0"]), *layers, nets.conv("last", "b", "out0", 16, 4)])
    inputs = {layer.name: np.float32(20) for layer in quantizable(net.layers)}
    bench = Bench(net, inputs, nets.images(1)[0], tmp_path)
    base = target("dotprod")
    assert candidates(bench, base) == [
        ("deep", Choice(int8=True)),
        ("last", Choice(winograd=True)),
        ("last", Choice(int8=False)),
    ]
    bench.fp16 = True
    result = candidates(bench, base)
    for layer, choice in result:
        assert bench.timer(*bench.write(replace(base, layers={layer: choice}), "other"))() > 0
    assert result == [
        ("first", Choice(fp16=False)),
        ("deep", Choice(int8=True)),
        ("deep", Choice(fp16=False)),
        ("last", Choice(winograd=True)),
        ("last", Choice(int8=False)),
        ("last", Choice(int8=False, fp16=False)),
    ]


@pytest.mark.parametrize("name", TARGETS)
def test_every_candidate_can_be_made(name, tmp_path):
    """A changed layer is nothing that ncnn2int8 could write: what is compared then are no files of its own."""
    net = nets.small()
    inputs = {layer.name: np.float32(20) for layer in quantizable(net.layers)}
    bench = Bench(net, inputs, nets.images(1)[0], tmp_path)
    base = replace(target(name), as_ncnn2int8=False)
    result = candidates(bench, base)
    assert {layer for layer, _ in result} == ({"conv_2", "conv_3", "fc"} | base.int8_layers(net))
    for layer, choice in result:
        assert bench.timer(*bench.write(replace(base, layers={layer: choice}), "other"))() > 0


def test_a_profile_that_starts_from_ncnn2int8(tmp_path, monkeypatch):
    """From the real bench, with the times made up: ncnn2int8 is the better base, and fc better in fp32."""
    from octet.tune import tune

    monkeypatch.setattr(tune, "TARGETS", {"dotprod": nets.DOTPROD, "ncnn2int8": TARGETS["ncnn2int8"]})

    net = nets.small()
    inputs = {layer.name: np.float32(20) for layer in quantizable(net.layers)}

    class Timed(Bench):
        def timer(self, param, bin):
            layers = {layer.name: layer for layer in load_net(param, bin).layers}
            base = 1000.0 if layers["conv_2"].int(31) == 0 else 1500.0
            return lambda: base - 100.0 * (layers["fc"].int(8) == 0) - 1.0 * (layers["conv_2"].int(8) == 0)

    save_net(net, tmp_path / "fp32.param", tmp_path / "fp32.bin")
    bench = Timed(net, inputs, nets.images(1)[0], tmp_path)
    tuned = tune.tune(bench, NcnnFiles.named(tmp_path, "fp32"))
    assert tuned.base.name == "ncnn2int8"
    assert tuned.layers == {"fc": Choice(int8=False)}
    assert ("conv_2", Choice(winograd=False)) in [(name, choice) for name, choice, _ in tuned.tried]


@pytest.mark.parametrize(
    ("steps", "size", "shape"),
    [
        ({"channel_order": "GREY", "size": [28, 30]}, None, (1, 28, 30)),
        ({"channel_order": "BGR", "size": [28, 30]}, None, (3, 28, 30)),
        ({"channel_order": "GREY", "size": [28, 30]}, [8, 9], (1, 8, 9)),
        (None, [8, 9], (1, 8, 9)),
    ],
)
def test_the_input_s_channels_are_the_model_s(steps, size, shape, tmp_path):
    """preprocess.json's, or those that the first convolution has weights for: never simply three."""
    net = Net([Layer("Input", "in0", [], ["in0"]), nets.conv("c", "in0", "out0", shape[0], 4)])
    file = tmp_path / "preprocess.json"
    if steps:
        write_json(file, steps)
    assert input_shape(net, file, size) == shape
    assert Engine.of(net)(np.zeros(shape, np.float32)).size == 4 * shape[1] * shape[2]


ALONE = """
import runpy, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "ncnn", "octet"}:
            raise ImportError(f"{name} is not installed on this board")
sys.meta_path.insert(0, Nothing())
sys.argv = ["octet.tune", *sys.argv[1:]]
runpy.run_module("octet.tune", run_name="__main__")
"""


@pytest.fixture
def board(tmp_path):
    """A folder with nothing but octet/ and models/small/; what comes back runs the tuner there."""
    root, folder = Path(__file__).parents[2], tmp_path / "models" / "small"
    shutil.copytree(root / "octet", tmp_path / "octet", ignore=shutil.ignore_patterns("__pycache__"))
    folder.mkdir(parents=True)
    net, images = nets.small(), nets.images(8)
    files = folder / "fp32.param", folder / "fp32.bin"
    save_net(net, *files)
    table.save(calibrate(net, images, nets.settings("minmax"), target("dotprod"), workers=1), folder / "int8.table")

    def run(*args):
        command = [sys.executable, "-c", ALONE, "models/small", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_alone_on_a_board(board, tmp_path):
    done = board("--out", "profiles/board.yaml", "--size", "8", "8")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    for line in ("conv_3 .* winograd", "conv_3 .* fp32", "fc .* int8", "ncnn2int8: .* frames/s"):
        assert re.search(line, done.stdout), done.stdout
    profile = load(tmp_path / "profiles" / "board.yaml")
    profile.check(nets.small())
    assert profile.fp32_costs_us.keys() == {"conv_3"}
    text = (tmp_path / "profiles" / "board.yaml").read_text()
    assert text.startswith("# Tuned for small on ")
    assert str(tmp_path) not in text
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["board.yaml"]


def test_what_the_tuner_refuses(board, tmp_path):
    out = ("--out", "board.yaml")
    folder = tmp_path / "models" / "small"
    for args, message in (
        (("--out", "dotprod.yaml"), "expected NAME.yaml"),
        (("--out", "winograd.yaml"), "which are built in; of make tune it is the model's, or NAME=another"),
        (("--out", "board.txt"), "expected NAME.yaml"),
        (out, "preprocess.json: no such file; copy it beside the model, or give --size"),
    ):
        assert message in board(*args).stderr
    (folder / "int8.table").rename(folder / "other.table")
    assert "int8.table: no such file; the stage calibrate makes it" in board(*out).stderr
    net = Net([Layer("Input", "in0", [], ["in0"]), Layer("ReLU", "relu", ["in0"], ["out0"])])
    save_net(net, folder / "fp32.param", folder / "fp32.bin")
    done = board(*out)
    assert "has no layer that can be int8, so there is nothing to tune" in done.stderr
    assert done.returncode == 1
    assert not (tmp_path / "board.yaml").exists()
