"""make best: DVC and its stage end with the search, however that ends; else the next one would time beside them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from octet.best.process import output
from tests.processes import heeds_ctrl_c, processes

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]

# As DVC, which heeds no Ctrl-C while a stage runs; and a stage that takes its time.
DVC = "trap '' INT; sleep 60 & echo $$ > part; mv part group; wait"
SEARCH = f"""
import sys
from pathlib import Path
from octet.best import process
from octet.core.errors import run

def search():
    process._END_S = 1
    with process.stopped_as_by_ctrl_c():
        try:
            process.output(["sh", "-c", {DVC!r}], Path(), 60)
        finally:
            with process.undisturbed():
                Path("ended").touch()

run(search)
"""


def appears(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def none_is_left(group: int) -> bool:
    end = time.monotonic() + 5
    while processes(group) and time.monotonic() < end:
        time.sleep(0.01)
    return not processes(group)


@pytest.mark.parametrize(
    "signals", [["KILL"], ["TERM"], ["HUP"], ["INT"], ["INT", "INT"], ["TERM", "HUP", "INT"], ["INT", "KILL"]]
)
def test_nothing_of_it_runs_on(tmp_path, signals):
    search = subprocess.Popen(
        [sys.executable, "-c", SEARCH],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_ctrl_c,
    )
    appears(tmp_path / "group")
    group = int((tmp_path / "group").read_text())
    assert len(processes(group)) >= 2
    for name in signals:
        search.send_signal(getattr(signal, f"SIG{name}"))
        time.sleep(0.3)
    said = search.communicate(timeout=20)[1]
    assert none_is_left(group)
    if signals[-1] != "KILL":
        assert search.returncode == 130
        assert said == "stopped; what is finished is kept, and the same command goes on from there\n"
        assert (tmp_path / "ended").exists()


def test_what_ends_by_itself(tmp_path):
    words = ["sh", "-c", "echo out; echo error >&2; exit 3"]
    assert output(words, tmp_path, 60) == "out\nerror\n"


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        output(["sh", "-c", "sleep 60 & echo $$ > group; wait"], tmp_path, 3)
    assert none_is_left(int((tmp_path / "group").read_text()))


def test_a_stage_that_outlives_dvc_is_ended(tmp_path):
    """As where the system kills DVC alone, for memory."""
    with pytest.raises(subprocess.TimeoutExpired):
        output(["sh", "-c", "sleep 60 & echo $$ > group; kill -9 $$"], tmp_path, 3)
    assert none_is_left(int((tmp_path / "group").read_text()))


AMID = """
import os, signal, sys
from octet.best.process import stopped_as_by_ctrl_c, undisturbed
with stopped_as_by_ctrl_c():
    with undisturbed():
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        print("the end", flush=True)
    print("more", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_comes_amid_an_end_counts_behind_it(name):
    words = [sys.executable, "-c", AMID, name]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=heeds_ctrl_c, cwd=ROOT)
    assert done.stdout == "the end\n"
    assert "KeyboardInterrupt" in done.stderr
