"""A profile that was measured for one model is used by it alone: docs/own-models.md, by the commands of the Makefile."""

import json

import pytest

from tests.pipeline.project import ENTRY, Project

pytestmark = pytest.mark.slow

SECOND = f"\n  second:\n{ENTRY}target: dotprod\n"


@pytest.fixture
def two(tmp_path) -> Project:
    """Two models that share all settings, quantized and committed."""
    project = Project.make(tmp_path / "p")
    project.edit("params.yaml", "\ntarget: dotprod\n", SECOND)
    project.repro("quantize")
    project.commit("two models")
    return project


def test_a_profile_for_one_model(two):
    first = two.files("models/tiny/int8.param", "models/tiny/int8.bin", "models/tiny/int8.table")

    # make tune MODEL=second
    two.python("-m", "octet", "validate", "--model", "second")
    two.dvc("repro", "--quiet", "calibrate@second")
    two.python("-m", "octet.tune", "models/second", "--out", "configs/targets/second.yaml")
    assert sorted(two.repro("quantize")) == ["settings", "settings@second"]  # which look, and find nothing new

    # make quantize, as far as the int8 files
    two.edit("params.yaml", SECOND, SECOND.replace("100\n", "100\n    target: second\n"))
    two.python("-m", "octet", "validate")
    ran = two.repro("quantize")
    assert sorted(ran) == sorted(f"{stage}@second" for stage in ("settings", "calibrate", "round", "plan", "quantize"))
    for model, target in (("tiny", "dotprod"), ("second", "second")):
        settings = two.folder / "models" / model / "settings/target.json"
        assert json.loads(settings.read_text())["target"] == target
    assert two.files(*first) == first
    assert two.repro("quantize") == []
