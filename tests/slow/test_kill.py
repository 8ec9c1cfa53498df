"""Every stage interrupted at random moments, DVC too; full and read-only disks: afterwards `dvc repro` gives the same bytes."""

from __future__ import annotations

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
from tests.processes import heeds_ctrl_c, processes

pytestmark = pytest.mark.slow

STAGES = ("settings", "digits32", "export", "convert", "calibrate", "round", "plan", "quantize")
STAGES += ("qdq", "evaluate_fp32", "evaluate_int8", "evaluate_engines", "benchmark", "analyze", "summary")
TIMES = 3  # each stage is interrupted: 45 in all; to these come LEFT_RUNNING, and full disks
LEFT_RUNNING = ("export", "convert", "evaluate_fp32")  # DVC is killed while they run, and begun anew at once
KINDS = ("all", "DVC alone", "the stage alone", "Ctrl-C")
TIMED = ("latency.json", "latency_samples.csv", "summary.json", "analyze.json")  # hold times of this machine
# What a file may have, in bytes, as a stage's argument has it, and the stage that cannot write its file then.
LIMITS = (("digits32", 20_000), ("export", 100_000), ("convert", 300_000), ("quantize", 100_000))
LIMITS += (("evaluate_fp32", 20_000), ("calibrate", 4_000))
STOPPED = "stopped; what is finished is kept, and the same command goes on from there\n"
TREES = ("models", "metrics", "data")


def results(project: Project) -> dict[str, bytes]:
    folders = [project.folder / name for name in ("models/tiny", "metrics/tiny", "data/digits32")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in files}


def partial_files(project: Project) -> list[Path]:
    return [path for name in TREES for path in (project.folder / name).rglob("*.partial")]


def stage_process(leader: int, stage: str) -> set[int]:
    """Python at work on the stage; nothing where there is none."""
    script = re.escape(stage_words(stage)[0])
    return {pid for pid, command in processes(leader).items() if re.search(rf"python\S* .*-m {script}(?!\w)", command)}


def one_line(shown: str, stage: str) -> None:
    """What a Ctrl-C printed: the command, DVC's line, and the stage's own one unless Python was still at its start."""
    lines = [
        line for line in shown.splitlines(keepends=True) if line.startswith(("ERROR", "Traceback", "stopped", " "))
    ]
    problem = rf"ERROR: failed to reproduce '.*{stage}(@tiny)?': failed to run: .*, exited with (130|-2)\n"
    assert re.fullmatch(f"({STOPPED})?{problem}|ERROR: interrupted by the user\n", "".join(lines)), shown
    assert (STOPPED in shown) == ("exited with 130" in shown), shown


class Interrupted:
    """A project whose pipeline is interrupted again and again, and how often each stage was."""

    def __init__(self, project: Project, lasts_s: dict[str, float]):
        self.project, self.lasts_s = project, lasts_s
        self.moments, self.counts = random.Random(0), dict.fromkeys(STAGES, 0)
        self.kinds, self.damaged = dict.fromkeys(KINDS, 0), 0

    def begun(self, dvc: subprocess.Popen) -> str | None:
        """The first stage that begins and was interrupted too seldom; None where DVC came to its end."""
        lines = []
        for line in dvc.stdout:
            lines.append(line)
            match = re.match(r"Running stage '(?:.*:)?(\w+)", line)
            if match and self.counts.get(match[1], TIMES) < TIMES:
                return match[1]
        if dvc.wait() and self.removed(lines):
            return self.begun(self.start())
        assert dvc.returncode == 0, "".join(lines)
        return None

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-u", "-m", "dvc", "repro"]
        self.dvc = subprocess.Popen(
            command,
            cwd=self.project.folder,
            env=self.project.env,
            preexec_fn=heeds_ctrl_c,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.dvc

    def removed(self, shown: list[str]) -> bool:
        """DVC was killed while it wrote a file of its own and cannot go on: what `make quantize` does then."""
        done = self.project.python("-m", "octet", "validate")
        lines = [line for line in done.stderr.splitlines() if "a DVC that was killed" in line]
        print("".join(shown[-2:]), lines)
        self.damaged += len(lines)
        return bool(lines)

    def once(self) -> bool:
        """Runs the pipeline and interrupts it; whether there was a stage left to interrupt."""
        stage = self.begun(self.start())
        dvc = self.dvc
        if stage is None:
            return False
        kind = KINDS[sum(self.counts.values()) % len(KINDS)]
        while not stage_process(dvc.pid, stage) and dvc.poll() is None:
            time.sleep(0.005)
        time.sleep(self.moments.uniform(0, 0.8) * self.lasts_s[stage])
        python = stage_process(dvc.pid, stage)
        victims = {"DVC alone": {dvc.pid}, "the stage alone": python} if python else {}
        for victim in victims.get(kind, processes(dvc.pid)):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGINT if python and kind == "Ctrl-C" else signal.SIGKILL)
        shown = dvc.stdout.read() if kind != "DVC alone" else ""
        went_on = dvc.wait() == 0  # the stage was at its end
        while processes(dvc.pid):  # where DVC alone was killed the stage goes on, and DVC begins no other meanwhile
            time.sleep(0.1)
        dvc.stdout.close()
        if python and not went_on:
            self.counts[stage] += 1
            self.kinds[kind] += 1
            if kind == "Ctrl-C":
                one_line(shown, stage)
        else:  # it was faster: it has to run again, and is interrupted sooner
            self.lasts_s[stage] /= 2
            for late in STAGES:
                if self.counts[late] < TIMES:
                    self.again(late)
        return True

    def again(self, stage: str) -> None:
        """DVC forgets that it ran the stage."""
        shutil.rmtree(self.project.folder / ".dvc/cache/runs", ignore_errors=True)
        for name in ("dvc.lock", "data/dvc.lock"):
            lock = self.project.folder / name
            if lock.exists():
                text = re.sub(rf"(?ms)^  {stage}(@tiny)?:\n.*?(?=^  \w|\Z)", "", lock.read_text())
                if re.search(r"(?m)^  \w", text):
                    lock.write_text(text)
                else:  # DVC refuses one without stages
                    lock.unlink()


def nothing_run(project: Project) -> None:
    for name in ("models/tiny", "metrics/tiny", "data/digits32", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    for name in ("dvc.lock", "data/dvc.lock"):
        (project.folder / name).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The project after a run that nothing disturbed, what it made, and how long each stage took."""
    project = Project.make(tmp_path_factory.mktemp("kill"))
    project.edit("params.yaml", "engines: [ncnn]", "engines: [ncnn, onnxruntime]")
    command = [sys.executable, "-u", "-m", "dvc", "repro"]
    dvc = subprocess.Popen(command, cwd=project.folder, env=project.env, stdout=subprocess.PIPE, text=True)
    begins = [
        (match[1], time.monotonic())
        for line in dvc.stdout
        if (match := re.match(r"Running stage '(?:.*:)?(\w+)", line))
    ]
    assert dvc.wait() == 0
    ends = [at for _, at in begins[1:]] + [time.monotonic()]
    lasts_s = {stage: max(0.1, end - at - 0.3) for (stage, at), end in zip(begins, ends, strict=True)}
    assert set(lasts_s) == set(STAGES)
    return project, results(project), lasts_s


def test_interrupted_at_random_moments(undisturbed, tmp_path):
    finished, expected, lasts_s = undisturbed
    project = finished.copy(tmp_path / "project")
    nothing_run(project)
    interrupted, runs = Interrupted(project, dict(lasts_s)), 0
    while interrupted.once():
        runs += 1
        assert runs < 3 * TIMES * len(STAGES), interrupted.counts
    print(interrupted.counts, interrupted.kinds, f"{runs} tries, {interrupted.damaged} files of DVC's cut off")
    assert results(project) == expected
    assert set(interrupted.counts.values()) == {TIMES}
    assert min(interrupted.kinds.values()) >= 8
    assert not partial_files(project)
    assert project.repro() == [], "nothing is left to do"


@pytest.mark.parametrize("stage", LEFT_RUNNING)
def test_begun_anew_beside_a_stage_that_a_killed_dvc_left(undisturbed, tmp_path, stage):
    finished, expected, lasts_s = undisturbed
    project = finished.copy(tmp_path / "project")
    interrupted = Interrupted(project, lasts_s)
    interrupted.again(stage)
    dvc = interrupted.start()
    while not stage_process(dvc.pid, stage):
        assert dvc.poll() is None, dvc.stdout.read()
        time.sleep(0.005)
    time.sleep(0.3 * lasts_s[stage])
    assert stage_process(dvc.pid, stage)
    dvc.kill()
    dvc.wait()
    done = project.python("-u", "-m", "dvc", "repro")
    assert f"Running stage '{stage}@tiny'" in done.stdout
    assert "had been killed" in done.stderr + done.stdout
    while processes(dvc.pid):
        time.sleep(0.1)
    dvc.stdout.close()
    assert results(project) == expected
    assert not partial_files(project)
    assert project.repro() == [], "nothing is left to do"


def stage_words(stage: str) -> list[str]:
    if stage == "digits32":
        return ["stages.digits32", "--out", "data/digits32"]
    name, _, precision = stage.partition("_") if stage.endswith(("_fp32", "_int8")) else (stage, "", "")
    return [f"stages.{name}", "--model", "tiny", *(["--precision", precision] if precision else [])]


@pytest.mark.parametrize(("stage", "limit"), LIMITS)
def test_a_file_that_may_not_grow(undisturbed, tmp_path, stage, limit):
    finished, expected, _ = undisturbed
    project = finished.copy(tmp_path / "project")
    done = subprocess.run(
        [sys.executable, "-m", *stage_words(stage)],
        cwd=project.folder,
        env=project.env,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert re.fullmatch(r"error: \S+: cannot be written: File too large; .*\n", done.stderr), done.stderr
    assert not partial_files(project)
    assert results(project) == expected, "what was there stays"


# A disk of its own in memory, which only this test's processes see: full, or read-only, then with room again.
DISK = """
set -e
mount -t tmpfs -o size=64m tmpfs "$2"; cp -r "$1" "$2/project"; cd "$2/project"
if [ "$3" = full ]; then cat /dev/zero > ../filler 2>/dev/null || true; else mount -o remount,ro "$2"; fi
shift 3; set +e
"$@"; echo "exit $?"
find models metrics data -name '*.partial'
rm -f ../filler 2>/dev/null; mount -o remount,rw "$OLDPWD" 2>/dev/null
find models/tiny metrics/tiny data/digits32 -type f -exec md5sum {} + | sort
"""


@pytest.mark.parametrize("disk", ["full", "read-only"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_and_a_read_only_disk(undisturbed, tmp_path, disk, stage):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk of their own")
    project = undisturbed[0]
    sums = "find models/tiny metrics/tiny data/digits32 -type f -exec md5sum {} + | sort"
    before = project.run("sh", "-c", sums).stdout
    words = [str(project.folder), str(tmp_path), disk, sys.executable, "-m", *stage_words(stage)]
    env = project.env | {"PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", DISK, "sh", *words], env=env, capture_output=True, text=True, cwd=tmp_path
    )
    why = (
        "No space left on device; the disk is full"
        if disk == "full"
        else "Read-only file system; the disk is read-only"
    )
    assert re.fullmatch(rf"error: [a-z]+/[\w./]+: cannot be written: {why}: .*\n", done.stderr), done.stderr
    assert ".partial" not in done.stderr
    assert done.stdout[done.stdout.index("exit ") :] == "exit 1\n" + before
