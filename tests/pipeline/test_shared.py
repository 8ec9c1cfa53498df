"""What colleagues share: a DVC remote, here a folder, and git. Sweeps by DVC's queue."""

import csv
import io

import pytest

from tests.pipeline.project import Project
from tests.pipeline.test_repro import SAME

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def first(finished, tmp_path_factory):
    """Who computed something, and pushed it."""
    folder = tmp_path_factory.mktemp("shared")
    project = finished.copy(folder / "first")
    project.git("init", "-q", "--bare", "-b", "main", str(folder / "git"))
    project.git("remote", "add", "origin", str(folder / "git"))
    project.dvc("remote", "add", "--default", "team", str(folder / "remote"))
    project.commit("a remote")
    project.git("push", "-q", "-u", "origin", "main")
    project.dvc("push", "--run-cache")
    return project


def clone(first: Project, folder) -> Project:
    first.git("clone", "-q", first.git("remote", "get-url", "origin").strip(), str(folder))
    return Project(folder)


@pytest.fixture(scope="module")
def swept(first):
    """The names of a sweep's experiments, in the order of the values, run by the queue."""
    before = first.files("params.yaml", "models/tiny/int8.table", "metrics/tiny/int8.json")
    first.dvc("exp", "run", "--queue", "-n", "sweep", "-S", "calibrate.method=kl,mse")
    first.dvc("exp", "run", "--run-all")
    assert first.files(*before) == before, "the workspace stays as it was"
    return ["sweep-1", "sweep-2"]


def test_a_colleague_pulls_and_computes_nothing(first, tmp_path):
    other = clone(first, tmp_path / "other")
    other.dvc("pull")
    assert other.files(*SAME) == first.files(*SAME)
    assert other.repro() == []
    assert other.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_sweep_is_shown_and_an_experiment_goes_to_a_colleague(first, swept, tmp_path):
    rows = list(csv.DictReader(io.StringIO(first.dvc("exp", "show", "--csv"))))
    shown = {row["Experiment"]: row["calibrate.method"] for row in rows}
    assert [shown[name] for name in swept] == ["kl", "mse"]
    first.dvc("exp", "push", "origin", swept[1])
    other = clone(first, tmp_path / "other")
    other.dvc("pull")
    other.dvc("exp", "pull", "origin", swept[1])
    other.dvc("exp", "apply", swept[1])
    assert "method: mse" in (other.folder / "params.yaml").read_text()
    assert other.repro() == []
    assert other.files("models/tiny/int8.table") != first.files("models/tiny/int8.table")


@pytest.mark.slow
def test_what_a_colleague_once_computed_comes_from_the_remote(first, swept, tmp_path):
    """Without a commit or experiment of it. DVC's run cache leaves out stages whose figures are in git."""
    first = first.copy(tmp_path / "first")
    first.dvc("exp", "apply", swept[0])
    first.repro()
    first.dvc("push", "--run-cache")
    other = clone(first, tmp_path / "other")
    other.dvc("fetch", "--run-cache")
    other.edit("params.yaml", "method: minmax", "method: kl")
    lines = other.dvc("repro", "--pull").splitlines()
    ran = [line.split("'")[1].removesuffix("@tiny") for line in lines if line.startswith("Running stage")]
    assert not {"export", "convert", "calibrate", "round", "plan", "quantize"} & set(ran)
    models = [name for name in SAME if name.startswith("models/")]
    assert other.files(*models) == first.files(*models)
