"""Real ways to a device: an ssh server on loopback, a stand-in for adb, an emulator; and devices that die at each step."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.core.folder import ModelFolder, NcnnFiles
from octet.device import build as build_module
from octet.device import devices, runtimes
from octet.device.answers import MOST_CORES
from octet.device.build import ENVIRONMENT, build
from octet.device.connections import BySsh, connect
from octet.device.devices import Command, Local, Ssh
from octet.device.inputs import write_inputs
from octet.device.session import OURS, Job, Session
from octet.device.source import VERSION
from octet.device.tuning import DeviceBench, tune_elsewhere
from octet.graph.layers import quantizable
from octet.graph.profiles import load, target
from octet.graph.targets import Choice
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, save_net
from octet.tune.compare import PAIRS
from tests import calibrated, nets

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COUNT = 6


@pytest.fixture(scope="module", autouse=True)
def runner():
    """The runner of this machine's architecture, built in this checkout."""
    if not (ROOT / ENVIRONMENT / ".locked").exists() and not (ROOT / ENVIRONMENT / "bin" / "ninja").exists():
        pytest.skip("no runner: 'make runner' installs the compilers and builds it")
    before = Path.cwd()
    os.chdir(ROOT)
    build("x86_64")
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model, its inputs, and what ncnn's own package answers."""
    folder, net, images = tmp_path_factory.mktemp("model"), nets.small(), nets.images(COUNT)
    files = NcnnFiles.named(folder, "fp32")
    save_net(net, *files)
    write_inputs(folder / "inputs", COUNT, (3, 8, 8), images)
    job = Job("fp32", "fp32", files, "in0", "out0")
    return job, folder / "inputs", np.stack([Engine.of(net)(image) for image in images])


def check(session, model):
    job, inputs, answers = model
    result = session.run([job], inputs, COUNT, "test", threads=1, runs=2)["fp32"]
    assert np.allclose(result.logits, answers, atol=1e-6)
    assert len(result.latency_ms) == 2 * COUNT
    assert min(result.latency_ms) > 0
    assert result.peak_kib > 500


def problem_of(call):
    """The error with which a call ends; None where it ends well."""
    try:
        call()
    except OctetError as error:
        return str(error)
    return None


@pytest.fixture
def local(tmp_path):
    return connect("here", Local(kind="local", folder=str(tmp_path / "it's here")))


def test_this_machine(local, model):
    session = Session(local)
    assert session.info["architecture"] == "x86_64"
    check(session, model)
    files = sorted(path.name for path in Path(local.folder, OURS, "files").iterdir())
    check(Session(local), model)
    assert sorted(path.name for path in Path(local.folder, OURS, "files").iterdir()) == files
    assert len(files) == 3
    session.clean()
    assert list(Path(local.folder).iterdir()) == []


@pytest.mark.parametrize("shape", [(3, 9, 9), (3, 7, 5), (3, 9, 8), (1, 9, 9), (4, 1, 1), (2, 3, 1), (5, 1, 6)])
def test_channels_whose_values_are_no_multiple_of_16_bytes(local, tmp_path, shape):
    """ncnn has gaps between them, the file of inputs has not; of outputs it is the other way round: all values, no gap.

    The second model gives each value back as it came.
    """
    random = np.random.Generator(np.random.PCG64(1))
    images = [random.normal(0, 0.7, shape).astype(np.float32) for _ in range(COUNT)]
    head = Layer("Input", "in0", [], ["in0"])
    pool = Layer("Pooling", "gap", ["1"], ["2"], {0: "1", 4: "1"})
    nets_of = {
        "a net": Net([head, nets.conv("conv", "in0", "1", shape[0], 8), pool, nets.linear("fc", "2", "out0", 8, 4)]),
        "as it is": Net([head, Layer("ReLU", "relu", ["in0"], ["out0"], {0: "1.0"})]),
    }
    write_inputs(tmp_path / "inputs", COUNT, shape, images)
    jobs = []
    for name, net in nets_of.items():
        files = NcnnFiles.named(tmp_path, name)
        save_net(net, *files)
        jobs.append(Job(name, "fp32", files, "in0", "out0"))
    results = Session(local).run(jobs, tmp_path / "inputs", COUNT, "test", runs=2)
    answers = np.stack([Engine.of(nets_of["a net"])(image) for image in images])
    assert np.allclose(results["a net"].logits, answers, atol=1e-6)
    assert np.array_equal(results["as it is"].logits, np.stack(images).reshape(COUNT, -1))


def test_more_threads_than_small_machines_have_cores(local, model):
    """As many as a device may say that it has big cores: make device times all of them at the end of a long run."""
    job, inputs, answers = model
    result = Session(local).run([job], inputs, COUNT, "test", threads=300, cores="big")["fp32"]
    assert np.allclose(result.logits, answers, atol=1e-6)
    with pytest.raises(OctetError, match=f"--threads {MOST_CORES + 1}: expected a number from 1 to {MOST_CORES}"):
        Session(local).run([job], inputs, COUNT, "test", threads=MOST_CORES + 1)


def test_the_peak_memory_is_the_runners_own(local, model):
    """Not that of the process that starts it, however much it has: this one imports ncnn, and holds 200 MB more."""
    held = bytearray(200 << 20)
    job, inputs, _ = model
    result = Session(local).run([job], inputs, COUNT, "test")["fp32"]
    assert result.peak_kib < 50 << 10 < len(held) >> 10


def test_a_file_that_was_damaged_on_the_device_is_pushed_again(local, model):
    check(Session(local), model)
    for path in Path(local.folder, OURS, "files").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    check(Session(local), model)


def test_a_runner_that_was_damaged_on_the_device_is_pushed_again(local, model):
    check(Session(local), model)
    runner = next(Path(local.folder, OURS).glob("runner-*"))
    for content in (b"", b"#!/bin/sh\necho 0\n", runner.read_bytes()[:-1] + b"x"):
        runner.write_bytes(content)
        check(Session(local), model)


def test_files_that_are_none_are_refused(local, model, tmp_path):
    job, inputs, _ = model
    session = Session(local)
    for name, content in [
        ("empty", b""),
        ("no magic", b"x" * 100),
        ("short", inputs.read_bytes()[:-4]),
        ("long", inputs.read_bytes() + b"1234"),
        ("huge", b"octetf32" + b"\xff" * 16),
        ("no image", b"octetf32" + bytes(16)),
    ]:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(OctetError, match="here: runner: .*(expected|whole)") as error:
            session.run([job], tmp_path / "bad", COUNT, name)
        assert "\n" not in str(error.value)
    broken = NcnnFiles.named(tmp_path, "broken")
    broken.param.write_bytes(b"7767517\n1 1\nNoSuchLayer a 0 1 in0\n")
    broken.bin.write_bytes(b"")
    with pytest.raises(OctetError, match="ncnn cannot read it"):
        session.run([Job("x", "fp32", broken, "in0", "out0")], inputs, COUNT, "x")
    with pytest.raises(OctetError, match="expected fp32, fp16 or bf16"):
        session.run([Job("x", "int4", job.files, "in0", "out0")], inputs, COUNT, "x")
    with pytest.raises(OctetError, match="this runner is built without bf16"):
        session.run([Job("x", "bf16", job.files, "in0", "out0")], inputs, COUNT, "x")
    with pytest.raises(OctetError, match="no input named 'data'"):
        session.run([Job("x", "fp32", job.files, "data", "out0")], inputs, COUNT, "x")
    with pytest.raises(OctetError, match="--threads 0: expected a number from 1"):
        session.run([job], inputs, COUNT, "x", threads=0)
    assert not [path for path in Path(local.folder, OURS, "out").rglob("*") if path.suffix == ".partial"]


def test_a_device_that_is_full(model, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "octet", str(small)], capture_output=True).returncode:
        pytest.skip("a file system of 64 KiB cannot be mounted: not root")
    try:
        with pytest.raises(OctetError, match="space"):
            Session(connect("here", Local(kind="local", folder=str(small / "device"))))
        assert not list(small.rglob("*.partial"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_device_that_is_full_at_each_step(model, tmp_path):
    """As its disk grows the runner does not fit, then the model, then its results; then the next run finishes."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "octet", str(small)], capture_output=True).returncode:
        pytest.skip("a file system of 64 KiB cannot be mounted: not root")
    job, inputs, _ = model
    runner = build("x86_64").stat().st_size
    pushed = runner + sum(path.stat().st_size for path in (inputs, *job.files))
    way, problems = connect("here", Local(kind="local", folder=str(small / "device"))), []
    try:
        for size in (runner // 2, runner + 8192, pushed + 4096, runner + (1 << 22)):
            subprocess.run(["mount", "-o", f"remount,size={size // 4096 * 4096}", str(small)], check=True)
            problems.append(problem_of(lambda: check(Session(way), model)))
            assert not list(small.rglob("*.partial"))
        assert problems[-1] is None
        assert [problem is None for problem in problems] == sorted(problem is None for problem in problems)
        for problem in filter(None, problems):
            assert problem.startswith("here: ") or str(small) in problem
            assert "space" in problem
            assert "\n" not in problem
        assert problems[0] is not None
        assert problems[1] is not None
    finally:
        subprocess.run(["umount", str(small)], check=True)


class Failing(BySsh):
    """A board on this machine whose connection is cut, or whose program is killed, at one of the steps of a run.

    Args:
        step: Which of its commands fails, from 0.
        how: "before": it never begins. "after": it ends, and its answer is lost. "killed": it is killed as it begins to answer.
    """

    def __init__(self, folder: Path, step: int, how: str):
        super().__init__("board", Ssh(kind="ssh", host="none", folder=str(folder), silence_s=20))
        self.step, self.how, self.commands = step, how, 0

    def command(self, words):
        self.commands += 1
        if self.commands - 1 != self.step:
            return list(words)
        cut = "echo 'Connection to board closed by remote host.' >&2; exit 255"
        scripts = {
            "before": cut,
            "after": f"{shlex.join(words)} >/dev/null; {cut}",
            "killed": f"exec 3<&0; {shlex.join(words)} <&3 & sleep 0.02; kill -9 $!; wait $!",
        }
        return ["sh", "-c", scripts[self.how]]


@pytest.mark.parametrize("how", ["before", "after", "killed"])
def test_a_device_that_dies_at_each_step(model, tmp_path, how):
    """Each command of a run fails once: one line of error, no half file under its name, and the next run finishes."""
    whole = Failing(tmp_path / "whole", -1, how)
    check(Session(whole), model)
    assert whole.commands > 15
    problems = []
    for step in range(whole.commands):
        folder = tmp_path / f"step {step}"
        problem = problem_of(lambda: check(Session(Failing(folder, step, how)), model))  # noqa: B023
        problems.append(problem)
        assert problem is None or (problem.startswith("board: ") and "\n" not in problem)
        for path in (folder / OURS / "files").iterdir() if (folder / OURS / "files").is_dir() else ():
            if path.suffix != ".partial":
                assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        check(Session(Failing(folder, -1, how)), model)
        assert not list(folder.rglob("*.partial"))
        assert not [path for path in (folder / OURS / "out").rglob("*") if path.is_file()]
    assert any(problems)
    assert (
        how == "killed" or problems.count(None) <= 3
    )  # whether the runner is there is asked once, and then it is pushed; twice others are let in, whatever comes of it


def test_ssh(server, model):
    session = Session(connect("board", server))
    check(session, model)
    session.clean()
    assert list(Path(server.folder).iterdir()) == []


@pytest.mark.parametrize("known", [False, True])
def test_ssh_refuses_a_host_that_it_does_not_know_or_whose_key_is_another(server, tmp_path, known):
    other = (tmp_path / "user.pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other[0]} {other[1]}\n" if known else "")
    with pytest.raises(OctetError, match="board: .*Host key verification failed"):
        Session(connect("board", server))


def test_ssh_without_a_key_or_a_server(server, tmp_path):
    (tmp_path / "authorized").write_text("")
    with pytest.raises(OctetError, match="board: .*Permission denied"):
        Session(connect("board", server))
    away = server.model_copy(update={"port": 1})
    with pytest.raises(OctetError, match="board: .*(refused|timed out)"):
        Session(connect("board", away))


@pytest.mark.parametrize("delay_s", [0.02, 0.2, 0.5, 1.0])
def test_a_connection_that_is_cut_and_a_runner_that_is_killed(server, model, delay_s):
    """Whatever is cut, the next run finishes."""
    way = connect("board", server)
    pid = Path(server.folder).with_name("pid").read_text().strip()
    for victim in (
        ["-P", pid],
        ["-f", f"{server.folder}/{OURS}/runner-"],
    ):  # the server's own connections, and the runner
        begin = subprocess.Popen(["sh", "-c", 'sleep "$0"; pkill -9 "$@"', str(delay_s), *victim])
        problem = problem_of(lambda: check(Session(way), model))
        assert problem is None or (problem.startswith("board: ") and "\n" not in problem)
        begin.wait()
        check(Session(way), model)
        assert not list(Path(server.folder).rglob("*.partial"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a calibrated model, a device that is this machine, and the runner."""
    folder = tmp_path / "project"
    calibrated.write(folder, "here", f"{tmp_path}/here")
    for name in (build_module.FOLDER, ENVIRONMENT):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    return folder


def test_tuning_on_a_device(project, capsys):
    tune_elsewhere("small", None, "here", None)
    profile = load(project / "configs/targets/small_here.yaml")
    profile.check(nets.small())
    assert profile.fp32_costs_us.keys() == {"conv_2", "conv_3", "fc"}
    text = (project / "configs/targets/small_here.yaml").read_text()
    assert re.match(
        r"# Tuned for small on the device here \(.+, \d+ cores, x86_64, ncnn [\d.]+\), by the runner [0-9a-f]{16}, with ncnn's "
        "default options\\.\n# Frames/s, batch 1, one thread: fp32 ",
        text,
    )
    printed = capsys.readouterr().out
    for line in ("conv_2 .* winograd", "fc .* fp32", "ncnn2int8: .* frames/s"):
        assert re.search(line, printed)
    for name in ("files", "out"):
        assert list((project.parent / "here" / OURS / name).iterdir()) == []


def test_a_release_on_a_device(project):
    """The runner with the locked release answers what this process does, and its runs are timed."""
    folder, net, images = ModelFolder("small"), nets.small(), nets.images(3)
    save_net(net, *folder.int8)
    host = np.stack([Engine.of(net)(image) for image in images])
    write_inputs(project / "inputs", 3, (3, 8, 8), images)
    write_inputs(project / "one", 1, (3, 8, 8), images[:1])
    way = connect("here", devices.load("here"))
    info, of = runtimes.on_device(VERSION, way, folder, project, host)
    assert (of.problem, info["ncnn"]) == ("", VERSION)
    assert of.against_int8.agreement_pct == 100
    assert of.against_int8.sqnr_db > 100
    assert of.timed
    assert runtimes.on_device("1.0.20210101", way, folder, project, host)[1].problem.startswith(
        "ncnn-1.0.20210101.tar.gz, "
    )


def test_tuning_with_an_old_release(project):
    """The wheel of 2022-11, from the package index: another ncnn measures, and the installed one stays."""
    tune_elsewhere("small", "old", None, "20221128")
    text = (project / "configs/targets/old.yaml").read_text()
    assert "ncnn 1.0.20221128.\n" in text
    load(project / "configs/targets/old.yaml").check(nets.small())
    assert [path.name for path in Path(".runtimes").iterdir()] == [
        f"1.0.20221128-{sys.implementation.cache_tag}-{platform.machine()}"
    ]


def test_tuning_by_ssh(server, tmp_path):
    """A round over the real connection, in either order; a candidate that is written anew takes its files' place."""
    session, net = Session(connect("board", server)), nets.small()
    scales = {layer.name: np.float32(20) for layer in quantizable(net.layers)}
    (tmp_path / "nets").mkdir()
    bench = DeviceBench(session, net, scales, nets.images(1)[0], tmp_path / "nets", False)
    base = target("dotprod")
    one = bench.write(base, "base")
    for choice in (Choice(int8=False), Choice(winograd=True)):
        times = bench.rounds(one, bench.write(replace(base, as_ncnn2int8=False, layers={"conv_2": choice}), "other"))
        for base_first in (True, False):
            assert times(base_first).shape == (PAIRS, 2)
            assert times(base_first).min() > 0
    assert len(list(Path(server.folder, OURS, "files").iterdir())) == 5
    bench.clean()
    assert list(Path(server.folder, OURS, "files").iterdir()) == []


def test_no_profile_from_an_emulator(project):
    (project / "configs/devices/fast.yaml").write_text("kind: local\nfolder: x\nemulated: true\n")
    with pytest.raises(
        OctetError, match=r"DEVICE=fast: configs/devices/fast.yaml says that it is an emulator, .* no speeds"
    ):
        tune_elsewhere("small", None, "fast", None)


def test_adb(phone, model):
    check(Session(connect("phone", phone)), model)


@pytest.mark.parametrize(
    ("state", "words"),
    [("unauthorized", "device unauthorized"), ("offline", "device offline"), ("none", "no devices/emulators found")],
)
def test_adb_s_own_errors(phone, monkeypatch, state, words):
    monkeypatch.setenv("OCTET_ADB", state)
    with pytest.raises(OctetError, match=f"phone: .*{words}"):
        Session(connect("phone", phone))


def test_adb_with_another_serial(phone):
    with pytest.raises(OctetError, match="phone: adb: device 'other' not found"):
        Session(connect("phone", phone.model_copy(update={"serial": "other"})))


def test_an_emulated_arm_processor(model, tmp_path):
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no emulator: install Debian's qemu-user")
    device = Command(
        kind="command",
        command=("qemu-aarch64", "-cpu", "cortex-a76"),
        architecture="aarch64",
        folder=str(tmp_path / "arm"),
    )
    session = Session(connect("arm", device))
    assert session.info["cpu"] == "qemu-aarch64 -cpu cortex-a76"
    assert session.info["features"] == ["asimdhp", "asimddp"]
    check(session, model)


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setattr(build_module, "ENVIRONMENT", ROOT / ENVIRONMENT)
    with pytest.raises(OctetError, match=r"ncnn-[\d.]+tar.gz, .* Put the file there by hand: .*\.runner/ncnn-"):
        build("x86_64")


def test_a_runner_that_is_stopped_by_a_signal_says_so(local, model, tmp_path):
    job, inputs, _ = model
    session = Session(local)
    killer = subprocess.Popen(["sh", "-c", 'sleep 0.3; pkill -9 -f "$0"', f"{local.folder}/{OURS}/runner-.* run"])
    with pytest.raises(OctetError, match="^here: "):
        session.run([job], inputs, COUNT, "x", runs=100000)
    killer.wait()
