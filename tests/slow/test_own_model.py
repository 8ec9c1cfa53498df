"""Experiments on a model and data that a user has just added: in the workspace, with --temp and in the queue."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.project import CONFIG, ROOT, Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """The tiny project, and a user's config, checkpoint and images, of which neither git nor DVC knows."""
    project = Project.make(tmp_path_factory.mktemp("own"))
    shutil.copy(ROOT / ".dvc/.gitignore", project.folder / ".dvc/.gitignore")
    project.commit("what DVC keeps is not git's")
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for place in (project.folder / f"data/mine/{split}/{k}" for k in range(10)):
            place.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(place / f"{k}.png")
    shutil.copy(project.folder / "models/tiny.pth", project.folder / "my.pth")
    (project.folder / "my.py").write_text(CONFIG)
    return project


def test_an_added_model_s_experiments(project):
    """As docs/own-models.md says."""
    words = ["--model", "my_model", "--config", "my.py", "--checkpoint", "my.pth", "--data", "data/mine"]
    added = project.python("-m", "octet", "add", *words)
    assert added.stdout == "my_model\n"
    assert "neither git nor DVC tracks my.pth and data/mine. " in added.stderr
    assert "make track MODEL=my_model" in added.stderr
    project.dvc("repro")
    tracked = project.python("-m", "octet", "track", "--model", "my_model").stdout
    assert "my.pth: given to DVC: my.pth.dvc" in tracked
    assert "data/mine: given to DVC: data/mine.dvc" in tracked
    assert "is tracked already" in project.python("-m", "octet", "track", "--model", "my_model").stdout
    assert "neither git" not in project.python("-m", "octet", "add", *words).stderr
    assert project.git("status", "--porcelain").split("\n").count("?? my.py") == 1

    project.git("commit", "-q", "-m", "my_model")
    key = "++models.my_model.calibrate"
    project.dvc("exp", "run", "--temp", "-n", "temp", "-S", f"{key}.method=kl", "summary@my_model")
    project.dvc("exp", "run", "--queue", "-n", "queued", "-S", f"{key}.images=8", "summary@my_model")
    project.dvc("exp", "run", "--run-all")
    project.dvc("exp", "run", "-n", "here", "-S", f"{key}.method=aciq", "summary@my_model")
    shown = project.dvc("exp", "show", "--csv", "--drop", ".*fp32.*")
    rows = {line.split(",")[0]: line for line in shown.splitlines()}
    assert {"temp", "queued", "here"} <= rows.keys()
    assert ",kl," in rows["temp"]
    assert ",aciq," in rows["here"]
    assert "speedup" not in shown
    script = "import json; from octet.report.history import experiments as e; print(json.dumps(vars(e('my_model'))))"
    compared = json.loads(project.python("-c", script).stdout)
    figures = {row[0]: dict(zip(compared["headers"], row, strict=True)) for row in compared["rows"]}
    assert {name: figures[name]["calibrate.method"] for name in ("temp", "queued", "here")} == {
        "temp": "kl",
        "queued": "minmax",
        "here": "aciq",
    }
    assert figures["queued"]["calibrate.images"] == "8"
    assert all(float(figures[name]["speed-up, 1 thread"]) > 0 for name in ("temp", "queued", "here"))
    project.dvc("exp", "apply", "queued")
    settings = (project.folder / "models/my_model/settings/calibrate.json").read_text()
    assert '"images": 8' in settings
    assert '"method": "minmax"' in settings
    assert "up to date" in project.dvc("status", "--with-deps", "summary@my_model")
