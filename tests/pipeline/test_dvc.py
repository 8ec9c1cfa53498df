"""What DVC says of a fresh clone, and from which environment it runs the stages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.project import ROOT, Project

pytestmark = pytest.mark.pipeline

BIN = Path(sys.prefix) / "bin"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What git has of the project, as it is in this folder, in a repository of its own; digits32 is small."""
    project = Project(tmp_path_factory.mktemp("clone"))
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split():
        if (ROOT / name).is_file():
            (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project.folder / name)
    (project.folder / "data/params.yaml").write_text("digits32:\n  train: 500\n  test: 500\n  seed: 0\n")
    project.git("init", "-q", "-b", "main")
    project.commit("a clone")
    return project


def test_nothing_is_lost_or_changed(clone):
    for what in ("params", "metrics"):
        assert clone.dvc(what, "diff").strip() == ""


def test_the_shipped_checkpoints_are_those_of_the_lock(clone):
    assert clone.dvc("status", "models/dvc.yaml").strip() == "Data and pipelines are up to date."


@pytest.fixture
def drawing(clone, tmp_path):
    """Runs `dvc` on the stage that draws digits32, of this environment by its path, in a copy of the clone."""
    project = clone.copy(tmp_path / "clone")

    def run(command: str, path: str, *more: str) -> subprocess.CompletedProcess:
        words = [str(BIN / "python"), str(BIN / "dvc"), *command.split(), "data/dvc.yaml:digits32", *more]
        project.env |= {"PATH": path, "PYTHONPATH": "", "SHELL": "/bin/sh"}
        return project.run(*words, ok=False)

    run.folder = project.folder
    return run


@pytest.fixture
def without_python(tmp_path):
    """A PATH with git and a shell and nothing else."""
    (tmp_path / "bin").mkdir()
    for name in ("git", "sh", "env"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return str(tmp_path / "bin")


def test_stages_run_in_the_project_s_environment_without_activating_it(drawing, without_python):
    (drawing.folder / ".venv").symlink_to(sys.prefix)
    done = drawing("repro", without_python)
    assert done.returncode == 0, done.stderr
    assert (drawing.folder / "data/digits32/test_batch.bin").is_file()
    done = drawing("exp run --temp", without_python, "-S", "data/params.yaml:digits32.seed=1", "-n", "another-seed")
    assert done.returncode == 0, done.stderr


def test_stages_run_in_an_activated_environment(drawing, without_python):
    done = drawing("repro", f"{BIN}{os.pathsep}{without_python}")
    assert done.returncode == 0, done.stderr
    assert (drawing.folder / "data/digits32/test_batch.bin").is_file()


def test_without_any_environment_the_error_says_what_makes_it(drawing, without_python):
    done = drawing("repro", without_python)
    assert done.returncode != 0
    assert "error: no .venv in this folder, and no other Python: 'make quantize' makes it" in done.stderr
