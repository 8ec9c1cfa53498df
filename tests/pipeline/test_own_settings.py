"""Settings of one model in its entry: they count for it alone, and a change runs its stages alone."""

import json

import pytest

from octet.core import yaml
from tests.pipeline.project import ENTRY, Project

pytestmark = pytest.mark.pipeline

SECOND = f"""
  second:
{ENTRY}    target: ncnn2int8
    calibrate: {{method: kl, images: 20}}
target: dotprod
"""
STAGES = ("settings", "calibrate", "round", "plan", "quantize")


def of(model: str, *stages: str) -> list[str]:
    """The stages' names as Project.repro gives them."""
    return sorted(stages if model == "tiny" else (f"{stage}@{model}" for stage in stages))


@pytest.fixture(scope="module")
def two(finished, tmp_path_factory) -> Project:
    """A second model beside the first, of other settings, quantized and committed."""
    project = finished.copy(tmp_path_factory.mktemp("two") / "p")
    project.edit("params.yaml", "\ntarget: dotprod\n", SECOND)
    project.ran = project.repro("quantize")
    project.commit("a second model")
    return project


def changed(two: Project, tmp_path, old: str, new: str) -> Project:
    project = two.copy(tmp_path / "p")
    project.edit("params.yaml", old, new)
    return project


def test_each_model_is_made_with_its_own(two):
    assert sorted(two.ran) == of("second", "export", "convert", *STAGES)
    for name, target, method, images in (("tiny", "dotprod", "minmax", 32), ("second", "ncnn2int8", "kl", 20)):
        folder = two.folder / "models" / name / "settings"
        assert json.loads((folder / "target.json").read_text()) == {"target": target}
        calibrate = json.loads((folder / "calibrate.json").read_text())["calibrate"]
        assert (calibrate["method"], calibrate["images"], calibrate["weights"]) == (method, images, "absmax")


def test_a_change_of_one_model_runs_its_stages_alone(two, tmp_path):
    """Of all models: DVC looks at them all."""
    project = changed(two, tmp_path, "images: 20}", "images: 10}")
    status = project.dvc("status")
    assert "settings@second" in status
    assert "@tiny" not in status
    assert sorted(project.repro("quantize")) == of("second", *STAGES)
    assert project.repro("quantize") == []


def test_a_change_of_all_runs_no_model_that_has_its_own(two, tmp_path):
    project = changed(two, tmp_path, "method: minmax", "method: mse")
    assert sorted(project.repro("quantize")) == sorted([*of("tiny", *STAGES), *of("second", "settings")])


@pytest.mark.slow
def test_a_change_of_one_model_s_config_exports_no_other(two, tmp_path):
    project = changed(two, tmp_path, SECOND, SECOND.replace("models/tiny.py", "models/second.py"))
    config = project.folder / "configs/models/second.py"
    for text in ("", "# changed\n"):
        config.write_text((project.folder / "configs/models/tiny.py").read_text() + text)
        assert sorted(project.repro("export")) == ["export@second", "settings", "settings@second"]
    project.edit("configs/models/tiny.py", "128.0", "127.0")
    assert sorted(project.repro("export")) == ["export", "settings", "settings@second"]


def test_an_experiment_on_one_model(two, tmp_path):
    """Plainly where its entry has the key; with `++` where it lacks it, too."""
    project = two.copy(tmp_path / "p")
    ran = project.dvc("exp", "run", "calibrate", "-S", "models.second.calibrate.images=8")
    ran += project.dvc("exp", "run", "analyze@tiny", "-S", "++models.tiny.analyze.images=8")
    stages = [line.split("'")[1] for line in ran.splitlines() if line.startswith("Running stage")]
    assert stages == ["settings@second", "calibrate@second", "settings@tiny", "analyze@tiny"]
    assert yaml.load(project.folder / "params.yaml", "")["models"]["tiny"]["analyze"] == {"images": 8}


def test_a_wrong_key_is_named_with_its_path(two, tmp_path):
    project = changed(two, tmp_path, "{method: kl, images", "{methd: kl, images")
    done = project.python("-m", "octet", "validate", ok=False)
    assert done.stderr.strip() == (
        "error: params.yaml: models.second.calibrate.methd: unknown key. Did you mean 'method'?"
    )
