"""A newcomer's clone: `make quantize` from nothing, on the embedded model, and then every calibrator."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from octet.core.registry import calibrator_needs
from tests.documents import read

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = [
    f"models/resnet18_digits32/{name}" for name in ("fp32.param", "fp32.bin", "int8.table", "int8.param", "int8.bin")
]
FILES += [f"metrics/resnet18_digits32/{name}.json" for name in ("fp32", "int8")]


class Clone:
    """A clone of the project; its environment is its own, or that of another clone."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def make(cls, folder: Path, venv: Path | None = None) -> Clone:
        """A clone in a new folder, nothing run."""
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        if venv:
            (folder / ".venv").symlink_to(venv)
        return cls(folder)

    def copy(self, folder: Path) -> Clone:
        """The same in another folder, with all that was made and DVC's cache; the environment is this one's."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(".venv"), symlinks=True)
        (folder / ".venv").symlink_to(self.folder / ".venv")
        return Clone(folder)

    def run(self, *command: str) -> str:
        """The output of a command with the clone's own environment active."""
        env = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        env |= {"PATH": f"{self.folder}/.venv/bin{os.pathsep}{env['PATH']}", "PYTHONPATH": str(self.folder)}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def summary(self) -> dict:
        return json.loads((self.folder / "metrics/resnet18_digits32/summary.json").read_text())

    def files(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Of a newcomer who ran `make quantize`. Tests that change something work on a copy."""
    newcomer = Clone.make(tmp_path_factory.mktemp("newcomer") / "octet")
    start = time.monotonic()
    shown = newcomer.run("make", "quantize")
    print(f"make quantize from nothing: {time.monotonic() - start:.0f} s\n{shown[-800:]}")
    assert shown.count("FPS, 1 thread") == 2, "one table a model"
    return newcomer


def test_make_quantize_really_evaluates_and_times(clone):
    summary = clone.summary()
    assert summary["n_images"] == 5000
    assert 92 < summary["fp32_top1_pct"] < 98
    assert abs(summary["top1_drop_pt"]) < 0.3
    assert summary["speedup_1_thread"] > 1
    assert "is in sync" in clone.run("dvc", "status") or "up to date" in clone.run("dvc", "repro")
    clone.run("make", "check")


def test_the_readme_s_other_commands_work_as_they_stand(clone):
    lines = [line for _, language, block in read(ROOT / "README.md").blocks if language == "sh" for line in block]
    commands = [line.split("#")[0].split() for line in lines]
    targets = [words[1] for words in commands if len(words) == 2 and words[0] == "make"]
    assert {"report", "predict", "package", "check"} <= set(targets)
    for target in targets:
        if target not in ("quantize", "test"):
            clone.run("make", target)
    for result in ("reports/resnet18_digits32/report.html", "reports/resnet18_digits32/predict.png"):
        assert (clone.folder / result).stat().st_size > 10_000
    assert (clone.folder / "dist/resnet18_digits32-int8.zip").stat().st_size > 1_000_000


def test_style_is_clean_in_a_fresh_clone(clone):
    clone.run("make", "lint")
    clone.run(".venv/bin/pre-commit", "run", "--all-files")


def test_a_second_clone_gives_the_same_bytes(clone, tmp_path):
    other = Clone.make(tmp_path / "other", clone.folder / ".venv")
    other.run("python", "-m", "dvc", "repro")
    assert other.files() == clone.files()


@pytest.mark.parametrize("method", ["minmax", "kl", "ppq"])
def test_every_method_loses_less_than_three_tenths_of_a_point(clone, method, tmp_path):
    if calibrator_needs(method).missing:
        pytest.skip(f"{method} cannot be had on this Python")
    project = clone.copy(tmp_path / "octet")
    params = project.folder / "params.yaml"
    params.write_text(re.sub(r"(?ms)(^calibrate:.*?^  method:) \w+$", rf"\1 {method}", params.read_text()))
    shown = project.run("dvc", "repro", "summary@resnet18_digits32")
    ran = [line for line in shown.splitlines() if line.startswith("Running stage")]
    assert {line.split("'")[1].split("@")[0] for line in ran} == {
        "settings",
        "calibrate",
        "round",
        "plan",
        "quantize",
        "qdq",
        "evaluate_int8",
        "benchmark",
        "summary",
    }
    print(method, project.summary()["top1_drop_pt"])
    assert project.summary()["top1_drop_pt"] < 0.3
