"""A session on a device by a stand-in for the runner: what it leaves there, and that two commands do not work there at once."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.core.folder import ModelFolder, NcnnFiles
from octet.device import devices, runtimes
from octet.device.claims import Process
from octet.device.connections import connect
from octet.device.devices import Local
from octet.device.session import OURS, Job, Session
from octet.device.tuning import tune_elsewhere
from octet.ncnn.net import save_net
from tests import calibrated, nets

pytestmark = pytest.mark.unit
# Gives each image one output, 1.0, and as many times as are asked for; fails after as many runs as a file `fail` beside it says.
RUNNER = r"""#!/usr/bin/env python3 -IS
import hashlib, json, pathlib, struct, sys

here, words = pathlib.Path(__file__).parent, sys.argv[2:]
if sys.argv[1] == "--info":
    print(json.dumps({"cpu": "A76", "cores": 4, "big_cores": 2, "features": ["asimddp"], "ncnn": "1.0",
                      "architecture": "x86_64", "emulated": False}))
elif sys.argv[1] == "--sha256":
    for path in map(pathlib.Path, words):
        print(hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "-")
else:
    given = {word: words[k + 1] for k, word in enumerate(words) if word.startswith("--")}
    n, models = struct.unpack("<I", pathlib.Path(given["--images"]).read_bytes()[8:12])[0], {}
    (here / "runs").open("a").write(".")
    if (here / "fail").is_file() and len((here / "runs").read_text()) > int((here / "fail").read_text()):
        sys.exit("runner: memory ran out")
    for k, word in enumerate(words):
        if word == "--model":
            name, _, param, bin, _, _, out = words[k + 1 : k + 8]
            assert pathlib.Path(param).is_file() and pathlib.Path(bin).is_file()
            pathlib.Path(out).write_bytes(struct.pack(f"<{n}f", *[1.0] * n))
            models[name] = {"latency_ms": [1.0] * n * int(given.get("--runs", 1)), "load_ms": 1, "values": 1}
    pathlib.Path(given["--report"]).write_text(json.dumps({"peak_kib": 900, "models": models}))
"""


@pytest.fixture
def device(tmp_path, monkeypatch):
    """A device that is a folder of this machine."""
    (tmp_path / "runner").write_text(RUNNER.replace("/usr/bin/env python3", sys.executable))
    (tmp_path / "runner").chmod(0o755)
    monkeypatch.setattr("octet.device.session.build", lambda *_: tmp_path / "runner")
    return Local(kind="local", folder=str(tmp_path / "device"), silence_s=20)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("octet.device.claims._PAUSE_S", (0.0, 0.01))


@pytest.fixture
def job(tmp_path):
    files = NcnnFiles.named(tmp_path, "fp32")
    save_net(nets.small(), *files)
    (tmp_path / "inputs").write_bytes(b"octetf32" + (2).to_bytes(4, "little"))
    return Job("fp32", "fp32", files, "in0", "out0")


def run(device, job):
    """A run of a command, without anything around it."""
    return Session(connect("board", device)).run([job], job.files.param.with_name("inputs"), 2, "test")


def left(device, folder="out"):
    return sorted(path.name for path in Path(device.folder, OURS, folder).glob("*"))


def claim(device, process, begin=1_700_000_000, token="0123abcd"):
    """The folder of another command, with what its runner has written."""
    folder = Path(device.folder, OURS, "out", f"{process.machine}_{process.pid}_{process.ticks}_{begin}_{token}")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    return folder


@pytest.fixture
def other():
    """Another command of this machine."""
    process = subprocess.Popen(["sleep", "60"])
    ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    yield process, Process(Process.own().machine, process.pid, ticks)
    process.kill()
    process.wait()


def test_a_run_leaves_nothing_but_files(device, job):
    assert run(device, job)["fp32"].logits.tolist() == [[1.0], [1.0]]
    assert left(device) == []
    assert len(left(device, "files")) == 3
    Path(device.folder, OURS, "fail").write_text("0")
    with pytest.raises(OctetError, match="board: runner: memory ran out"):
        run(device, job)
    assert left(device) == []


def test_within_a_session_runs_share_a_folder_and_keep_no_output(device, job):
    with Session(connect("board", device)) as session:
        session.run([job], job.files.param.with_name("inputs"), 2, "test")
        (mine,) = left(device)
        assert list(Path(device.folder, OURS, "out", mine).iterdir()) == []
        names = session.put([job.files.param.with_name("inputs"), *job.files])
        assert session.time([job], names, runs=3) == [[1.0] * 6]
        assert left(device) == [mine]
    assert left(device) == []


def test_another_command_on_the_device_is_left_to_work(device, job, other):
    """Its output stays, and the second command is refused: each would be slower by the other."""
    process, owner = other
    Session(connect("board", device))
    theirs = claim(device, owner)
    with pytest.raises(OctetError) as error:
        run(device, job)
    day = time.strftime("%Y-%m-%d", time.localtime(1_700_000_000))
    assert re.fullmatch(
        rf"board: another command works on this device since {day} ..:.. \(process {process.pid} on this machine\), and both "
        r"would be slower. Wait .* 'make device-clean DEVICE=board' lets others in",
        str(error.value),
    )
    assert left(device) == [theirs.name]
    assert (theirs / "report.json").is_file()
    assert Session(connect("board", device)).info["cpu"] == "A76"  # make devices runs no model


def test_half_files_of_a_command_that_was_cut_off_go(device, job):
    """Of the files of a model that has changed since nobody would push the rest."""
    halves = [Path(device.folder, OURS, name) for name in ("runner-0.partial", "files/0a.partial")]
    halves[1].parent.mkdir(parents=True)
    for half in halves:
        half.write_bytes(b"half")
    run(device, job)
    assert [half.exists() for half in halves] == [False, False]


def test_a_runner_is_not_pushed_where_another_command_works(device, job, other):
    """Neither does pushing disturb its times, nor do two write one file."""
    claim(device, other[1])
    with pytest.raises(OctetError, match="another command works on this device"):
        Session(connect("board", device))
    assert not list(Path(device.folder, OURS).glob("runner-*"))


@pytest.mark.parametrize("how", ["killed", "its number is another's now", "of this very process", "of no command"])
def test_what_a_dead_command_left_stops_nobody(device, job, other, how):
    process, owner = other
    theirs = claim(device, owner)
    if how == "killed":
        process.kill()  # and is waited for by nobody yet
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
    else:
        ours = Process(owner.machine, owner.pid, owner.ticks - 1) if how.startswith("its") else Process.own()
        renamed = "9f3a" if how == "of no command" else f"{ours.machine}_{ours.pid}_{ours.ticks}_5_00000000"
        theirs.rename(theirs.with_name(renamed))
    run(device, job)
    assert left(device) == []


def test_a_command_of_this_machine_that_still_works_has_no_age(device, job, other):
    theirs = claim(device, other[1])
    os.utime(theirs, (0, 0))
    with pytest.raises(OctetError, match="another command works on this device"):
        run(device, job)
    assert left(device) == [theirs.name]


def test_a_system_that_does_not_show_its_processes(device, job, other, monkeypatch):
    """As macOS: no /proc. Whether a process is there it tells all the same."""
    process, owner = other
    read, link = Path.read_text, Path.readlink

    def hidden(path, *words):
        if path.is_relative_to("/proc"):
            raise FileNotFoundError(path)
        return (link if words == ("link",) else read)(path)

    monkeypatch.setattr(Path, "read_text", lambda path, *_: hidden(path))
    monkeypatch.setattr(Path, "readlink", lambda path: hidden(path, "link"))
    own = Process.own()
    assert own.ticks == 0
    theirs = claim(device, Process(own.machine, owner.pid, 0))
    with pytest.raises(OctetError, match="another command works on this device"):
        run(device, job)
    process.kill()
    process.wait()
    run(device, job)
    assert not theirs.exists()


def test_what_another_machine_left_counts_for_a_day_or_two(device, job):
    theirs = claim(device, Process("0" * 12, 5, 5))
    for hours in (0, 20):
        os.utime(theirs, (time.time() - 3600 * hours,) * 2)
        with pytest.raises(OctetError, match=r"another command works on this device .*process 5 from another machine"):
            run(device, job)
        assert left(device) == [theirs.name]
    os.utime(theirs, (time.time() - 3600 * 49,) * 2)
    run(device, job)
    assert left(device) == []


def test_a_device_that_cannot_tell_how_old_its_folders_are(device, job, monkeypatch):
    theirs = claim(device, Process("0" * 12, 5, 5))
    os.utime(theirs, (0, 0))
    monkeypatch.setattr("octet.device.claims._OLD", ("-no-such-word",))
    with pytest.raises(OctetError, match="another command works"):
        run(device, job)


@pytest.fixture
def project(tmp_path, monkeypatch, device):
    """A folder with a calibrated model and the device."""
    folder = tmp_path / "project"
    calibrated.write(folder, "board", device.folder)
    monkeypatch.chdir(folder)
    return folder


def test_tuning_leaves_nothing(project, device):
    tune_elsewhere("small", None, "board", None)
    assert (project / "configs/targets/small_board.yaml").is_file()
    assert left(device) == left(device, "files") == []


@pytest.mark.parametrize("runs", [0, 3])
def test_tuning_that_fails_leaves_nothing(project, device, runs):
    Path(device.folder, OURS).mkdir(parents=True)
    Path(device.folder, OURS, "fail").write_text(str(runs))
    with pytest.raises(OctetError, match="board: runner: memory ran out"):
        tune_elsewhere("small", None, "board", None)
    assert left(device) == left(device, "files") == []


def test_tuning_that_is_interrupted_leaves_nothing(project, device, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "time", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune_elsewhere("small", None, "board", None)
    assert left(device) == left(device, "files") == []


def test_the_first_error_is_told_where_the_device_does_not_answer_afterwards(project, device, monkeypatch):
    """Cleaning is tried, and what becomes of it hides nothing."""

    def hangs(connection, words):
        return ["sleep", "30"] if words[0] == "rm" else list(words)

    def fails(*_args, **_options):
        monkeypatch.setattr("octet.device.connections.OnThisMachine.command", hangs)
        raise OctetError("board: is gone")

    monkeypatch.setattr("octet.device.connections._TIDY_S", 0.2)
    monkeypatch.setattr(Session, "time", fails)
    with pytest.raises(OctetError, match="board: is gone"):
        tune_elsewhere("small", None, "board", None)


@pytest.mark.parametrize("runner_is_there", [False, True])
def test_a_release_is_not_said_to_fail_where_another_command_works(project, device, other, tmp_path, runner_is_there):
    way = connect("board", devices.load("board"))
    if runner_is_there:
        Session(way)
    claim(device, other[1])
    with pytest.raises(OctetError, match="board: another command works on this device"):
        runtimes.on_device("1.0", way, ModelFolder("small"), tmp_path, np.zeros((2, 1), np.float32))
