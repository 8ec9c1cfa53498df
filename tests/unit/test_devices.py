"""How devices are reached: their files, what is said of wrong ones, and commands that fail, hang, or say too much."""

import json
import math
import platform
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.data import preprocess
from octet.data.preprocess import Preprocess
from octet.device import connections, devices
from octet.device.answers import MOST_CORES, information, processor_of, read_result
from octet.device.connections import connect
from octet.device.devices import Adb, Command, Local, Ssh
from octet.device.figures import Against, DeviceSpeed, top1_pct
from octet.device.inputs import first_images, write_inputs
from octet.device.overview import clean, overview
from octet.device.run import measure
from octet.device.session import OURS, Session
from octet.ncnn.net import save_net
from tests import nets

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    devices.FOLDER.mkdir(parents=True)
    return devices.FOLDER


def test_the_project_s_own_files():
    assert {"local", "qemu-a53", "qemu-a76", "qemu-max"} <= set(devices.names())
    emulator = devices.load("qemu-a76")
    assert isinstance(emulator, Command)
    assert emulator.command == ("qemu-aarch64", "-cpu", "cortex-a76")
    assert emulator.emulated
    assert emulator.cpu == "Cortex-A76"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: shh\nfolder: x\n", "kind: 'shh' is no way to reach a device. Did you mean 'ssh'"),
        ("folder: x\n", "kind: 'None' is no way"),
        ("- a\n", "kind: 'None' is no way"),
        ("kind: [ssh]\n", "kind: '['ssh']' is no way"),
        ("kind: {}\n", "kind: '{}' is no way"),
        ("kind: ssh\nhost: board\n", "folder"),
        ('kind: local\nfolder: "a\\0b"\n', "folder: has a character of no text"),
        (
            'kind: command\nfolder: x\ncommand: [qemu, "a\\0b"]\narchitecture: aarch64\n',
            "command: has a character of no text",
        ),
        ("kind: ssh\nhost: -oProxyCommand=x\nfolder: x\n", "host: expected"),
        ("kind: ssh\nhost: board\nuser: 'a b'\nfolder: x\n", "user: expected"),
        ("kind: ssh\nhost: board\nfolder: x\nport: 70000\n", "port: expected"),
        ("kind: ssh\nhost: board\nfolder: x\nprot: 22\n", "prot: unknown key. Did you mean 'port'"),
        ("kind: command\nfolder: x\ncommand: []\narchitecture: aarch64\n", "command"),
        ("kind: command\nfolder: x\ncommand: [qemu]\narchitecture: arm\n", "architecture"),
        ("kind: local\nfolder: ''\n", "folder"),
        ("kind: ssh\nhost: board\nfolder: ~/octet\n", "folder: ~/octet would be a folder of that very name"),
        ("kind: local\nfolder: [\n", "bad.yaml"),
    ],
)
def test_a_file_that_is_none(folder, text, words):
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(OctetError) as error:
        devices.load("bad")
    assert words in str(error.value)
    assert "bad.yaml" in str(error.value)


def test_an_unknown_device_and_one_that_leads_out(folder):
    (folder / "board.yaml").write_text("kind: local\nfolder: x\n")
    with pytest.raises(OctetError, match="'bord' is no device.*board"):
        devices.load("bord")
    with pytest.raises(OctetError, match=r"no usable name"):
        devices.load("../targets/x")
    with pytest.raises(OctetError, match=r"DEVICE: which\? There are board in configs/devices"):
        devices.load("")


def test_words_are_quoted():
    ssh = connect("board", Ssh(kind="ssh", host="board", user="pi", port=2222, folder="a b"))
    command = ssh.command(["mkdir", "-p", "a b/$(touch x)"])
    assert command[-3:] == ["--", "board", "mkdir -p 'a b/$(touch x)'"]
    assert command[:4] == ["ssh", "-T", "-p", "2222"]
    assert "BatchMode=yes" in command
    assert "StrictHostKeyChecking=no" not in " ".join(command)


def test_an_emulator_runs_binaries_and_nothing_else():
    device = Command(kind="command", command=("nice", "-n", "1"), architecture="aarch64", folder="x")
    way = connect("emulator", device)
    assert way.command(["x/runner", "--info"]) == ["nice", "-n", "1", "x/runner", "--info"]
    assert way.command(["mkdir", "-p", "x"]) == ["mkdir", "-p", "x"]
    assert way.architecture() == "aarch64"


def test_a_program_that_is_not_there(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OctetError, match="phone: needs the program 'adb'"):
        connect("phone", Adb(kind="adb", folder="x"))
    with pytest.raises(OctetError, match="emulator: needs the program 'qemu'"):
        connect("emulator", Command(kind="command", command=("qemu",), architecture="aarch64", folder="x"))


@pytest.fixture
def here(tmp_path):
    return connect("here", Local(kind="local", folder=str(tmp_path / "device"), silence_s=1))


def test_lines_come_one_by_one(here):
    lines = []
    assert here.run(["sh", "-c", "printf 'a\\nb\\nrest'"], lines.append) == "a\nb\nrest"
    assert lines == ["a", "b"]


def test_a_command_that_fails_says_why(here):
    with pytest.raises(OctetError, match="here: first; second"):
        here.run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"])
    with pytest.raises(OctetError, match="here: without a word"):
        here.run(["false"])
    with pytest.raises(
        OctetError,
        match=r"here: stopped without a word of why; the last one was 'done 2 of 9' \(sh ended by signal 9, as",
    ):
        here.run(["sh", "-c", "echo done 1 of 9; echo done 2 of 9; kill -9 $$"])
    with pytest.raises(OctetError, match=r"here: without a word \(sh ended by signal 15\)"):
        here.run(["sh", "-c", "exit 143"])  # as ssh says it: 128 more
    with pytest.raises(OctetError, match="here: no-such-program cannot be run"):
        here.run(["no-such-program"])


def test_a_device_that_says_no_more_is_given_up(here):
    begin = time.monotonic()
    with pytest.raises(OctetError, match="here: nothing is heard of it for 1 s"):
        here.run(["sleep", "30"])
    assert time.monotonic() - begin < 10
    assert "sleep 30" not in subprocess.run(["ps", "ax"], capture_output=True, text=True, check=False).stdout


@pytest.fixture(params=["ssh", "adb"])
def program(request, tmp_path, monkeypatch):
    """A way to a device by a program of this machine, which says what the program does."""
    path = tmp_path / "bin" / request.param
    path.parent.mkdir()
    monkeypatch.setenv("PATH", str(path.parent))
    kinds = {
        "ssh": Ssh(kind="ssh", host="board", folder="x", silence_s=1),
        "adb": Adb(kind="adb", folder="x", silence_s=1),
    }

    def does(script):
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)
        return connect("board", kinds[request.param])

    return does


@pytest.mark.parametrize("then", ["", 'rm "$0"; '])
def test_a_device_that_hangs_while_a_file_is_pushed(program, tmp_path, monkeypatch, then):
    """One line of error, and nothing is waited for that long again; nor where the program itself is gone by then."""
    monkeypatch.setattr(connections, "_TIDY_S", 0.3, raising=False)
    way = program(f"{then}exec sleep 30")
    (tmp_path / "a").write_bytes(b"x")
    begin = time.monotonic()
    with pytest.raises(OctetError, match="board: nothing is heard of it for 1 s"):
        way.push(tmp_path / "a", "x/a")
    assert time.monotonic() - begin < 5


def test_a_command_that_says_its_last_word_and_does_not_end(here):
    begin = time.monotonic()
    with pytest.raises(OctetError, match="here: nothing is heard of it for 1 s"):
        here.run(["sh", "-c", "exec >&- 2>&-; exec sleep 30"])
    assert time.monotonic() - begin < 10


def test_a_slow_push_is_not_silent(here, tmp_path):
    """A large file over a slow line takes longer than silence_s, and `cat` says nothing meanwhile."""
    (tmp_path / "a").write_bytes(b"x" * 6)
    assert here.run(["sh", "-c", "for _ in 1 2 3; do sleep 0.7; head -c 2 >/dev/null; done"], sent=tmp_path / "a") == ""


def test_ctrl_c_during_a_push_leaves_no_half_file(here, tmp_path, monkeypatch):
    def interrupted(source, to):
        Path(to).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(connections.shutil, "copyfile", interrupted)
    Path(here.folder).mkdir()
    (tmp_path / "a").write_bytes(b"whole")
    with pytest.raises(KeyboardInterrupt):
        here.push(tmp_path / "a", f"{here.folder}/a")
    assert list(Path(here.folder).iterdir()) == []


def test_an_endless_answer_is_cut(here):
    with pytest.raises(OctetError, match="its answer is longer than 64 MiB"):
        here.run(["sh", "-c", "head -c 70000000 /dev/zero"])


@pytest.mark.parametrize("value", [np.inf, np.nan, 0.0, -20.0])
def test_a_scale_that_cannot_be_right_does_not_leave_this_machine(folder, value):
    """ncnn loads such a file, and only the device's answers would show it."""
    models = ModelFolder("resnet18_digits32")
    models.models.mkdir(parents=True)
    save_net(nets.small(), *models.fp32)
    preprocess.save(Preprocess("RGB", [0.0] * 3, [1.0] * 3, [8, 8], ["cat", "dog"]), models.preprocess)
    models.int8.param.write_text("7767517\n2 2\nInput in0 0 1 in0\nConvolution conv 1 1 in0 out0 0=1 1=1 5=1 6=3 8=2\n")
    models.int8.bin.write_bytes(struct.pack("<I3bxfff", 0x000D4B38, 1, -2, 127, 0.5, 100.0, value))
    (folder / "here.yaml").write_text("kind: local\nfolder: device\n")
    with pytest.raises(
        OctetError, match=r"^models/resnet18_digits32/int8.bin: layer conv, input_scale: 1 of 1 .* damaged"
    ):
        measure("here", models.name, params.load(ROOT / "params.yaml"), 10)
    assert not Path("device").exists()


@pytest.mark.parametrize(
    ("given", "cpu", "hidden"),
    [
        ({"emulated": True}, "qemu -cpu max", True),
        ({"emulated": True, "cpu": "Cortex-A53"}, "Cortex-A53", True),
        ({"architecture": "riscv64"}, "qemu -cpu max", False),  # no processor of this machine, whatever the file says
        ({"architecture": platform.machine()}, "Xeon?", False),
        ({"architecture": platform.machine(), "cpu": "Board 4"}, "Board 4", False),
    ],
)
def test_an_emulator_does_not_pass_for_this_machine(given, cpu, hidden):
    emulator = Command.model_construct(
        **{"kind": "command", "folder": "x", "command": ("qemu", "-cpu", "max"), "architecture": "aarch64"}
        | {"emulated": False, "cpu": ""}
        | given
    )
    about = processor_of(emulator, {"cpu": "Xeon\n", "cores": 2, "big_cores": 2, "memory_kib": 9, "features": []})
    assert about["cpu"] == cpu
    assert about["emulated"] == given.get("emulated", False)
    assert [key in about for key in ("memory_kib", "big_cores", "cores")] == 3 * [not hidden]
    assert about.get("emulator") == ("qemu -cpu max" if hidden or cpu == "qemu -cpu max" else None)


@pytest.mark.parametrize(
    "answer", ["", "[]", "{", '{"cpu": "x"}', '{"cpu": 3, "cores": 1, "features": [], "ncnn": "1"}']
)
def test_a_runner_that_does_not_say_what_the_device_is(here, answer, monkeypatch, tmp_path):
    (tmp_path / "runner").write_text(f"#!/bin/sh\n[ $1 = --info ] && echo '{answer}' || sha256sum \"$2\" | cut -c-64\n")
    (tmp_path / "runner").chmod(0o755)
    monkeypatch.setattr("octet.device.session.build", lambda *_: tmp_path / "runner")
    with pytest.raises(OctetError, match="here: the runner does not say what the device is"):
        Session(here)


def test_cleaning_leaves_what_is_not_octet_s_and_needs_no_room(here, monkeypatch):
    """Where the device's folder is a user's home, a folder `files` or `out` in it is the user's."""
    folder = Path(here.folder)
    for name in ("files/photo", "out/photo", "runner-up", f"{OURS}/files/x", f"{OURS}/runner-0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    monkeypatch.setattr("octet.device.session.build", lambda *_: pytest.fail("a runner is asked for"))
    monkeypatch.setattr("octet.device.overview.devices.load", lambda _: here.device)
    clean("here")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["photo", "photo", "runner-up"]
    assert not (folder / OURS).exists()


def test_push_and_pull(here, tmp_path):
    (tmp_path / "device").mkdir()
    (tmp_path / "a").write_bytes(b"\x00content\xff")
    here.push(tmp_path / "a", f"{here.folder}/it's b")
    here.pull(f"{here.folder}/it's b", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"\x00content\xff"
    assert [path.name for path in (tmp_path / "device").iterdir()] == ["it's b"]
    with pytest.raises(OctetError, match=r"here: .*none does not come"):
        here.pull(f"{here.folder}/none", tmp_path / "d")


@pytest.mark.parametrize("count", [1, 0, -5])
def test_too_few_images_are_asked_for(count):
    steps = Preprocess("RGB", [0.0] * 3, [1.0] * 3, [8, 8], ["cat", "dog"])
    with pytest.raises(OctetError, match=f"IMAGES={count}: expected at least 2"):
        first_images("nowhere", steps, count, "make device")


@pytest.mark.parametrize(
    ("count", "of_each"), [(2, [1, 1, 0, 0]), (8, [2, 2, 2, 2]), (12, [3, 3, 3, 3]), (200, [3, 3, 3, 3])]
)
def test_the_images_are_of_every_class(tmp_path, capsys, count, of_each):
    """A folder's images are sorted by class, so its first ones alone are of one class."""
    classes = ["ant", "bee", "cat", "dog"]
    for split in ("train", "test"):
        for name in classes:
            (tmp_path / split / name).mkdir(parents=True)
            for k in range(3):
                Image.new("RGB", (8, 8)).save(tmp_path / split / name / f"{k}.png")
    images = first_images(str(tmp_path), Preprocess("RGB", [0.0] * 3, [1.0] * 3, [8, 8], classes), count, "make device")
    assert np.bincount(images.labels, minlength=4).tolist() == of_each
    assert capsys.readouterr().err == ""


def test_the_file_of_inputs(tmp_path):
    images = [np.full((2, 1, 3), k, np.float32) for k in (1, 2)]
    write_inputs(tmp_path / "x", 2, (2, 1, 3), iter(images))
    data = (tmp_path / "x").read_bytes()
    assert data[:24] == b"octetf32" + struct.pack("<4I", 2, 2, 1, 3)
    assert np.frombuffer(data[24:], "<f4").tolist() == [1.0] * 6 + [2.0] * 6


def test_against_and_speed():
    reference = np.log(np.array([[0.5, 0.5], [0.4, 0.6]], np.float32))
    same = Against.of(reference, reference)
    assert (same.agreement_pct, same.kl_nats, same.sqnr_db) == (100.0, 0.0, 200.0)
    noisy = Against.of(np.array([[3.0, 4.0], [0, 0]], np.float32), np.array([[3.0, 4.5], [0, 0]], np.float32))
    assert noisy.sqnr_db == pytest.approx(20.0, abs=0.05)
    warm = DeviceSpeed.of([2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0])
    assert warm.to_json() | {"p90_ms": 3.0, "fps": 400.0} == warm.to_json()
    assert (warm.speed.median_ms, warm.drift_pct, warm.speed.n_runs) == (2.5, 50.0, 8)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_no_answer(value):
    """And the figures are numbers all the same: NaN is the largest to argmax, and would be a class."""
    host = np.array([[3.0, 1.0], [0.5, 2.0], [4.0, 0.0]], np.float32)
    there = host.copy()
    there[0] = value
    against = Against.of(host, there)
    assert against.agreement_pct == pytest.approx(66.6667)
    assert 0.5 < against.kl_nats < 1
    assert -6 < against.sqnr_db < 0
    assert top1_pct(there, np.array([0, 1, 0])) == pytest.approx(66.6667)


INFO = {"cpu": "A76", "cores": 4, "big_cores": 2, "features": ["asimddp"], "ncnn": "1.0"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "5", "[" * 100_000),
        *(json.dumps(INFO | change) for change in ({"cpu": None}, {"features": [3]}, {"big_cores": 0})),
        *(json.dumps({key: value for key, value in INFO.items() if key != gone}) for gone in INFO),
    ],
)
def test_a_runner_that_says_nothing_of_its_device(text):
    with pytest.raises(OctetError, match="board: the runner does not say what the device is"):
        information(text, "board")


@pytest.mark.parametrize(("feature", "target"), [("asimdhp", "winograd"), ("asimddp", "dotprod")])
def test_each_device_is_shown_with_the_target_that_fits_it(folder, feature, target, monkeypatch, tmp_path):
    answer = json.dumps(INFO | {"features": [feature]})
    (tmp_path / "runner").write_text(f"#!/bin/sh\n[ $1 = --info ] && echo '{answer}' || sha256sum \"$2\" | cut -c-64\n")
    (tmp_path / "runner").chmod(0o755)
    monkeypatch.setattr("octet.device.session.build", lambda *_: tmp_path / "runner")
    (folder / "board.yaml").write_text(f"kind: local\nfolder: {tmp_path}/there\n")
    (folder / "lost.yaml").write_text("kind: command\ncommand: [no-such-program]\narchitecture: aarch64\nfolder: x\n")
    _, _, board, lost = overview().splitlines()
    assert board.split() == ["board", "A76", "4", feature, target]
    assert "needs the program 'no-such-program'" in lost


def test_the_runner_takes_as_many_threads_as_a_device_may_have_cores():
    """make device times a model on all big cores."""
    source = (ROOT / "octet/device/runner/runner.cpp").read_text()
    assert f"kMostThreads = {MOST_CORES};" in source
    assert information(json.dumps(INFO | {"cores": 512, "big_cores": MOST_CORES}), "board")["big_cores"] == MOST_CORES
    with pytest.raises(OctetError, match="does not say what the device is"):
        information(json.dumps(INFO | {"big_cores": MOST_CORES + 1}), "board")


def test_what_a_runner_says_is_no_terminal_s_command():
    assert information(json.dumps(INFO), "board") == INFO
    assert information(json.dumps(INFO | {"cpu": "\x1b[2J"}), "board")["cpu"] == "?[2J"


REPORT = {"peak_kib": 900, "models": {"0": {"latency_ms": [1.5, 2, 1.5, 2], "load_ms": 0.5, "values": 3}}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        *(({"peak_kib": value}, "its report is damaged") for value in (0, None, 1.5, 10**400)),
        *(({"models": value}, "its report is damaged") for value in (None, [], {}, {"0": []})),
        *(
            ({"models": {"0": {"load_ms": 0.5, "values": 3, "latency_ms": value}}}, "its report is damaged")
            for value in ([], [0, 1], [1, -1], [1, math.nan], [1, math.inf], [1, "2"], None)
        ),
    ],
)
def test_a_report_that_no_runner_writes(tmp_path, change, problem):
    (tmp_path / "0.f32").write_bytes(np.ones((2, 3), np.float32).tobytes())
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    assert read_result(tmp_path, 0, 2, "board").logits.shape == (2, 3)
    (tmp_path / "report.json").write_text(json.dumps(REPORT | change))
    with pytest.raises(OctetError, match=f"board: {problem}"):
        read_result(tmp_path, 0, 2, "board")


def test_logits_that_no_runner_writes(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "0.f32").write_bytes(np.ones((2, 4), np.float32).tobytes())
    with pytest.raises(OctetError, match="board: 32 bytes of logits came, expected 24"):
        read_result(tmp_path, 0, 2, "board")
