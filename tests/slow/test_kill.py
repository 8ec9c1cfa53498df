"""Every stage killed at random moments, DVC too, and files that may not grow: afterwards `dvc repro` gives the same bytes."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.pipeline.project import Project

pytestmark = pytest.mark.slow

STAGES = ("digits32", "export", "convert", "calibrate", "round", "plan", "quantize", "evaluate_fp32", "evaluate_int8")
STAGES += ("benchmark", "analyze", "summary")  # 12, each killed up to three times
WHOM = ("all", "DVC alone", "the stage alone")
LIMITS = (20_000, 100_000, 300_000, 1_000_000)  # bytes that a file may have; digits32's are 307,300
TIMED = ("latency.json", "latency_samples.csv", "summary.json", "analyze.json")  # hold times of this machine


def results(project: Project) -> dict[str, bytes]:
    folders = [project.folder / name for name in ("models/tiny", "metrics/tiny", "data/digits32")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in files}


def group(leader: int) -> list[int]:
    """The processes of a group that still run."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended
            continue
        if int(pgrp) == leader and state != "Z":
            members.append(int(path.parent.name))
    return members


def start(project: Project, limit: int | None = None) -> subprocess.Popen:
    def prepare() -> None:
        os.setsid()
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-u", "-m", "dvc", "repro"],
        cwd=project.folder,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=prepare,
    )


def killed(project: Project, counts: dict[str, int], whom: str, seconds: float) -> bool:
    """Runs the pipeline and kills it so long after a stage has begun that was killed less than three times.

    Returns:
        Whether there was such a stage.
    """
    dvc = start(project)
    for line in dvc.stdout:
        begun = re.match(r"Running stage '(?:.*:)?(\w+)", line)
        if begun and counts[begun[1]] < len(WHOM):
            counts[begun[1]] += 1
            break
    else:
        assert dvc.wait() == 0
        return False
    time.sleep(seconds)
    victims = {"all": group(dvc.pid), "DVC alone": [dvc.pid], "the stage alone": set(group(dvc.pid)) - {dvc.pid}}[whom]
    for victim in victims:
        with suppress(ProcessLookupError):  # the stage was faster
            os.kill(victim, signal.SIGKILL)
    dvc.stdout.read()
    dvc.wait()
    while group(dvc.pid):  # of a killed DVC the stage goes on
        time.sleep(0.1)
    return True


def partial_files(project: Project) -> list[Path]:
    return [p for name in ("models", "metrics", "data") for p in (project.folder / name).rglob("*.partial")]


def nothing_run(project: Project) -> None:
    for name in ("models/tiny", "metrics/tiny", "data/digits32", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    for name in ("dvc.lock", "data/dvc.lock"):
        (project.folder / name).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The project after a run that nothing disturbed, and what it made."""
    project = Project.make(tmp_path_factory.mktemp("kill"))
    project.repro()
    return project, results(project)


def test_killed_at_random_moments(undisturbed, tmp_path):
    made, expected = undisturbed
    project = made.copy(tmp_path / "project")
    nothing_run(project)
    counts, moments = dict.fromkeys(STAGES, 0), random.Random(0)
    while killed(project, counts, WHOM[sum(counts.values()) % len(WHOM)], moments.uniform(0, 1.5)):
        pass
    project.dvc("repro")
    assert results(project) == expected
    assert min(counts.values()) >= 1, counts
    assert sum(counts.values()) >= 30, counts
    assert project.repro() == [], "nothing is left to do"


@pytest.mark.parametrize("limit", LIMITS)
def test_files_that_may_not_grow(undisturbed, tmp_path, limit):
    """As on a full disk."""
    made, expected = undisturbed
    project = made.copy(tmp_path / "project")
    nothing_run(project)
    dvc = start(project, limit)
    output, _ = dvc.communicate()
    assert (dvc.returncode == 0) == (limit > max(map(len, expected.values()))), output
    assert not partial_files(project)
    project.dvc("repro")
    assert results(project) == expected
