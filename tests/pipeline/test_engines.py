"""Int8 in other engines than ncnn: nothing where none is named, and where one is, nothing of ncnn's runs again."""

import json

import numpy as np
import onnx
import pytest

from octet.core.engines.engine import load
from tests.pipeline.project import Project

pytestmark = pytest.mark.pipeline

NCNN = [f"models/tiny/{name}" for name in ("fp32.onnx", "int8.table", "int8.param", "int8.bin")]
NCNN += [f"metrics/tiny/{name}" for name in ("fp32.json", "int8.json", "int8_vs_fp32.json")]


@pytest.fixture(scope="module")
def named(finished, tmp_path_factory) -> Project:
    project = finished.copy(tmp_path_factory.mktemp("engines") / "p")
    project.before = project.files(*NCNN)
    project.edit("params.yaml", "engines: [ncnn]", "engines: [ncnn, onnxruntime, tensorrt]")
    project.ran = project.repro()
    return project


def test_without_a_name_there_is_nothing(finished):
    (only,) = (finished.folder / "models/tiny/engines").iterdir()
    assert (only.name, json.loads(only.read_text())) == ("layers.json", {})
    assert json.loads((finished.folder / "metrics/tiny/engines.json").read_text()) == {}


def test_only_what_concerns_them_runs(named):
    assert sorted(named.ran) == ["benchmark", "evaluate_engines", "qdq", "settings", "summary"]
    assert named.files(*NCNN) == named.before
    assert named.repro() == []


def test_each_has_a_valid_file_that_is_near_to_fp32(named):
    figures = json.loads((named.folder / "metrics/tiny/engines.json").read_text())
    assert set(figures) == {"onnxruntime", "tensorrt"}
    layers = json.loads((named.folder / "models/tiny/engines/layers.json").read_text())
    assert set(layers) == set(figures)
    for name, of in figures.items():
        assert len(layers[name]["int8"]) + len(layers[name]["float"]) == 21
        path = named.folder / f"models/tiny/engines/{name}.onnx"
        onnx.checker.check_model(onnx.load(path), full_check=True)
        assert of["agreement_pct"] > 90
        assert of["bytes"] == path.stat().st_size
        run = load(name, path)
        assert run(np.zeros((3, 32, 32), np.float32)).shape == (10,)


def test_speeds_stand_side_by_side_and_the_summary_says_which_to_pick(named):
    speeds = json.loads((named.folder / "metrics/tiny/latency.json").read_text())["threads_1"]
    assert set(speeds) == {"fp32", "int8", "onnxruntime"}
    shown = named.python("-m", "octet", "summary").stdout
    assert "tiny, int8" in shown
    assert "not run" in shown
    assert "Closest to fp32: " in shown
    assert "Fastest on this machine with one thread, within 100 points: " in shown
    assert "int8 in tensorrt loses" in named.python("-m", "octet", "check").stderr


def test_metrics_of_engines_are_compared_by_dvc(named):
    assert "onnxruntime.agreement_pct" in named.dvc("metrics", "diff")


def test_a_calibrator_of_ncnn_alone_is_refused(named, tmp_path):
    project = named.copy(tmp_path / "p")
    project.edit("params.yaml", "  method: minmax", "  method: ppq")
    done = project.stage("qdq")
    assert done.returncode == 1
    assert "calibrate.method: ppq works for ncnn alone" in done.stderr
