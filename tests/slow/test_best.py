"""make best on a tiny model, by real DVC experiments."""

import json

import pytest

from octet.core import params
from tests.pipeline.project import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project.make(tmp_path_factory.mktemp("best"))
    made.dvc("repro", "convert@tiny")
    made.commit("run")
    return made


def test_a_search_ends_goes_on_and_writes_the_entry(project):
    before = project.files("params.yaml")
    command = ["-m", "octet", "best", "--model=tiny", "--holdout=100"]
    done = project.python(*command, "--kl=1", "--minutes=0.02", ok=False)
    assert done.returncode == 1
    assert "MINUTES=0.02: over before one candidate was measured" in done.stderr
    assert project.files("params.yaml") == before

    done = project.python(*command, "--kl=1e-12", "--minutes=1.5", ok=False)
    assert done.returncode == 1
    assert "keeps the budget of 1e-12 nats" in done.stderr
    assert "params.yaml stays as it is" in done.stderr
    assert project.files("params.yaml") == before
    first = json.loads((project.folder / "reports/tiny/best.json").read_text())["measurements"]
    assert first

    done = project.python(*command, "--kl=1", "--minutes=1")
    assert "chosen" in done.stdout
    assert "keep the budget of 1 nats" in done.stdout
    measured = json.loads((project.folder / "reports/tiny/best.json").read_text())["measurements"]
    assert {name: measured[name] for name in first} == first
    listed = project.dvc("exp", "list", "--name-only").split()
    assert {name for name, one in measured.items() if not one["failure"]} <= set(listed)
    entry = params.load(project.folder / "params.yaml").models["tiny"]
    chosen = next(line for line in done.stdout.splitlines() if line.endswith("chosen")).split()[0]
    assert chosen.startswith(f"{entry.target}-{entry.calibrate.method}")

    # params.yaml differs from the last commit now; the same command goes on all the same
    done = project.python(*command, "--kl=1", "--minutes=0.2")
    assert "params.yaml has it" in done.stdout
    again = json.loads((project.folder / "reports/tiny/best.json").read_text())["measurements"]
    assert {name: again[name] for name in measured} == measured
    assert (project.folder / "reports/tiny/best.svg").read_text().startswith("<svg xmlns")


def test_experiments_that_were_removed_are_run_again(project):
    """Of what the record has, but for a profile of the tuner's, which needs a candidate's files."""
    command = ["-m", "octet", "best", "--model=tiny", "--holdout=100", "--kl=1"]
    project.python(*command, "--minutes=1")
    path = project.folder / "reports/tiny/best.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"tuned": {}}))
    project.git("checkout", "--", "params.yaml")  # which may name the profile
    for profile in (project.folder / "configs/targets").glob("tiny_best_*.yaml"):
        profile.unlink()
    for reference in project.git("for-each-ref", "--format=%(refname)", "refs/exps").split():
        project.git("update-ref", "-d", reference)
    project.python(*command, "--minutes=1")
    assert json.loads(path.read_text())["tuned"]
