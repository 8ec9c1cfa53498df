"""The faults that people report from devices, made on purpose (docs/devices.md): each is found, and said in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.params import Check
from octet.data import preprocess
from octet.data.preprocess import Preprocess
from octet.device import runtimes, runtimes_record
from octet.device.build import ENVIRONMENT, FOLDER, build
from octet.device.check import shortfalls
from octet.device.record import RUNS, columns, load_all
from octet.device.run import measure
from octet.device.session import Session
from octet.device.source import VERSION
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net, load_net, save_net
from tests import nets

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COUNT, SIZE = 6, 32
NOTHING = {"device_max_drop_pt": None, "device_min_agreement_pct": None, "device_min_speedup": None}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with a model's folder, images of two classes, this machine as a device and an emulator."""
    if not (ROOT / ENVIRONMENT / "bin" / "ninja").exists():
        pytest.skip("no compilers: 'make runner' installs them")
    monkeypatch.chdir(ROOT)
    build("x86_64")
    monkeypatch.chdir(tmp_path)
    for name in (ENVIRONMENT, FOLDER):
        name.symlink_to(ROOT / name)
    Path("configs/devices").mkdir(parents=True)
    Path("configs/devices/here.yaml").write_text("kind: local\nfolder: here\n")
    emulator = (ROOT / "configs/devices/qemu-a76.yaml").read_text().replace(".runner/devices", "devices")
    Path("configs/devices/qemu-a76.yaml").write_text(emulator)
    random = np.random.Generator(np.random.PCG64(0))
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            images = Path("data/x", split, label)
            images.mkdir(parents=True)
            for k in range(COUNT // 2):
                pixels = random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
                Image.fromarray(pixels).save(images / f"{k}.png")
    folder = ModelFolder("net")
    folder.models.mkdir(parents=True)
    preprocess.save(Preprocess("RGB", [128.0] * 3, [64.0] * 3, [SIZE, SIZE], ["cat", "dog"]), folder.preprocess)
    return folder


def project():
    """A params.yaml with the model."""
    loaded = params.load(ROOT / "params.yaml")
    entry = next(iter(loaded.models.values())).model_copy(update={"data": "data/x"})
    return loaded.model_copy(update={"models": {"net": entry}})


def run(device):
    """make device DEVICE=device MODEL=net."""
    return measure(device, "net", project(), COUNT)


def plain(factor=1.0):
    """Two convolutions and a classifier; what is between the first two is larger by a factor, and nothing else changes."""
    first, second = nets.conv("conv_1", "in0", "1", 3, 8, seed=1), nets.conv("conv_2", "1", "2", 8, 8, seed=2)
    for tensor in first.weights.values():
        tensor.data = (tensor.data * factor).astype(np.float32)
    second.weights["weight"].data = (second.weights["weight"].data / factor).astype(np.float32)
    pool = Layer("Pooling", "gap", ["2"], ["3"], {0: "1", 4: "1"})
    return Net([Layer("Input", "in0", [], ["in0"]), first, second, pool, nets.linear("fc", "3", "out0", 8, 2, seed=3)])


def depthwise(int8):
    """Six depthwise convolutions of 64 channels, in fp32 or in int8."""
    layers = [Layer("Input", "in0", [], ["in0"]), nets.conv("conv_0", "in0", "0", 3, 64, seed=1)]
    for k in range(6):
        layer = nets.conv(f"dw_{k}", str(k), str(k + 1), 64, 64, seed=k, groups=64)
        if int8:
            integers = np.clip(np.rint(layer.weights["weight"].data * 100), -127, 127).astype(np.int8)
            layer.params[8] = "1"
            layer.weights["weight"] = Tensor(integers, TAG_INT8)
            layer.weights["weight_scales"] = Tensor(np.full(64, 100, np.float32))
            layer.weights["input_scale"] = Tensor(np.full(1, 20, np.float32))
        layers.append(layer)
    pool = Layer("Pooling", "gap", ["6"], ["7"], {0: "1", 4: "1"})
    return Net([*layers, pool, nets.linear("fc", "7", "out0", 64, 2, seed=3)])


@pytest.mark.parametrize("way", ["server", "phone"])
def test_ssh_and_adb_give_the_same_figures_as_this_machine(folder, way, request):
    """All but what is measured anew: times and memory."""
    save_net(depthwise(int8=False), *folder.fp32)
    save_net(depthwise(int8=True), *folder.int8)
    Path("configs/devices/board.yaml").write_text(
        json.dumps(request.getfixturevalue(way).model_dump())
    )  # JSON is YAML, too
    here, there = (json.loads(run(device).read_text()) for device in ("here", "board"))
    for content in (here, there):
        for name in [key for key in content if "speedup_" in key]:
            assert content.pop(name) > 0
        for of in (content[name] for name, _, _ in RUNS):
            speeds = {key: of.pop(key) for key in list(of) if key.startswith("threads_")}
            assert len(speeds) == len({1, content["device"]["big_cores"]})
            assert 0 < of.pop("load_ms") < 1000
            assert 1000 < of.pop("peak_kib") < 50 << 10
    assert there == here
    assert here["int8"]["host_int8"]["agreement_pct"] == 100


def test_a_model_that_is_right_here_and_wrong_on_the_device(folder, capsys):
    """In fp32 a power of two changes no answer; in fp16, a device's default, the numbers between the two layers overflow."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no emulator: install Debian's qemu-user")
    save_net(plain(2.0**18), *folder.fp32)
    save_net(plain(), *folder.int8)  # stands for one that is right everywhere
    content = json.loads(run("qemu-a76").read_text())
    printed = capsys.readouterr().out
    assert content["fp32"]["host_fp32"]["agreement_pct"] == 100
    assert content["fp16"]["n_not_finite"] == COUNT
    assert content["fp16"]["host_fp32"]["agreement_pct"] == 0
    assert content["fp16"]["top1_pct"] == 0
    assert content["int8_fp16"]["host_int8"]["agreement_pct"] == 100
    assert f"fp16: on {COUNT} of {COUNT} images its outputs are not finite" in printed
    assert "fp16: predicts what this machine does on 0.00 % of images alone" in printed
    assert "int8" not in printed.partition("fp16: on")[2]
    rows = {row[0]: row[1] for row in columns(load_all(folder))[1]}
    assert rows["default float: images with outputs that are not finite"] == str(COUNT)


def test_a_slower_int8(folder, capsys):
    """On x86 ncnn's int8 depthwise convolutions are slower than float by far: 3.4 times, over all of MobileNetV2."""
    save_net(depthwise(int8=False), *folder.fp32)
    save_net(depthwise(int8=True), *folder.int8)
    content = json.loads(run("here").read_text())
    assert content["int8_speedup_over_default_threads_1"] < 0.8
    assert "int8: is slower than the device's default float: 0." in capsys.readouterr().out
    rows = {row[0]: row[1] for row in columns(load_all(folder))[1]}
    assert rows["int8: speed beside default float, 1 thread"].endswith("times as fast: slower")
    verdicts = shortfalls(folder, Check(**NOTHING | {"device_min_speedup": 1.0}))
    assert verdicts.short == ["here"]
    assert [line.endswith("asked is 1.00: not enough") for line in verdicts.lines] == [True, True]


@pytest.mark.parametrize("command", ["device", "runtimes"])
def test_a_model_that_is_made_anew_while_it_is_measured(folder, command, monkeypatch):
    """Its figures would be of neither; a tuned profile's masks, which alone change here, are in the .param."""
    save_net(plain(), *folder.fp32)
    save_net(plain(), *folder.int8)
    ran = Session.run

    def and_quantize(*given, **options):
        result = ran(*given, **options)
        masked = load_net(*folder.int8)
        masked.layer("conv_1").params[31] = "64"
        save_net(masked, *folder.int8)
        return result

    monkeypatch.setattr(Session, "run", and_quantize)
    with pytest.raises(OctetError, match=r"^models/net/int8.param: changed while it was measured"):
        run("here") if command == "device" else runtimes.measure("net", project(), COUNT, [VERSION], "here")
    assert not folder.metrics.exists()


def test_releases_on_an_emulator_are_read_again(folder):
    """Anything that runs a binary may be one. Of it no cores are told, which would be this machine's."""
    save_net(plain(), *folder.fp32)
    save_net(plain(), *folder.int8)
    Path("configs/devices/slow.yaml").write_text(
        "kind: command\ncommand: [nice]\narchitecture: x86_64\nfolder: slow\nemulated: true\n"
    )
    runtimes.measure("net", project(), COUNT, [VERSION], "slow")
    (figures,) = runtimes_record.load_all(folder)
    assert figures.emulated
    assert (figures.machine["cpu"], "cores" in figures.machine) == ("nice", False)
    assert figures.releases[VERSION].against_int8.agreement_pct == 100


@pytest.mark.parametrize("value", [np.inf, np.nan, 0, -1])
def test_a_scale_that_cannot_be_right(folder, value):
    save_net(depthwise(int8=False), *folder.fp32)
    save_net(depthwise(int8=True), *folder.int8)
    net = load_net(*folder.int8)
    net.layer("dw_3").weights["input_scale"].data = np.full(1, value, np.float32)
    save_net(net, *folder.int8)
    with pytest.raises(
        OctetError, match=r"^models/net/int8.bin: layer dw_3, input_scale: 1 of 1 .*; the file is damaged"
    ):
        run("here")
    assert not Path("here").exists()
    assert not folder.devices.exists()
