"""Int8 in other engines than ncnn: nothing where none is named, and where one is, nothing of ncnn's runs again."""

import hashlib
import json
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
from PIL import Image

from octet.core.engines.engine import load
from octet.data.cifar import Cifar
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


def test_an_engine_that_was_named_and_not_run_yet_leaves_the_summary(finished, tmp_path):
    """As another model's is after `make quantize MODEL=name`."""
    project = finished.copy(tmp_path / "p")
    project.edit("params.yaml", "engines: [ncnn]", "engines: [ncnn, onnxruntime]")
    shown = project.python("-m", "octet", "summary").stdout
    assert "top-1" in shown
    assert (
        "\ntiny: no figures of its other engines. metrics/tiny/engines.json: lacks the figures of onnxruntime" in shown
    )
    assert "\nNext: make check" in shown


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
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
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


def test_fine_tuning_is_ncnn_s_and_begins_with_gptq_which_the_others_keep(named, tmp_path):
    project, made = named.copy(tmp_path / "p"), {}
    project.edit("params.yaml", "[ncnn, onnxruntime, tensorrt]", "[ncnn, onnxruntime]")
    for before, method in (("nearest", "gptq"), ("gptq", "finetune")):
        project.edit("params.yaml", f"rounding:\n  method: {before}", f"rounding:\n  method: {method}")
        project.stage_here("qdq")
        made[method] = (project.folder / "models/tiny/engines/onnxruntime.onnx").read_bytes()
    assert made["finetune"] == made["gptq"] != (named.folder / "models/tiny/engines/onnxruntime.onnx").read_bytes()


def test_predict_asks_them_too(named):
    shown = named.python("-m", "octet", "predict", "--model", "tiny").stdout.splitlines()
    assert shown[1].split()[-4:] == ["onnxruntime", "int8", "tensorrt", "int8"]
    with Image.open(named.folder / "reports/tiny/predict.png") as drawn:
        assert drawn.width > 1700


def test_the_report_has_a_column_for_each(named):
    named.python("-m", "octet", "report", "--model", "tiny")
    page = (named.folder / "reports/tiny/report.html").read_text()
    section = page.split('<h2 id="engines">')[1].split("<h2")[0]
    for name in ("ncnn", "onnxruntime", "tensorrt"):
        assert f">{name}</th>" in section
    assert "Closest to fp32: " in section
    layers = json.loads((named.folder / "models/tiny/engines/layers.json").read_text())
    for name in ("onnxruntime", "tensorrt"):
        costs = layers[name]["kl_alone"]
        assert sorted(costs) == sorted(layers[name]["int8"])
        worst = max(costs, key=lambda layer: costs[layer])
        assert f"{worst}: {costs[worst]:.1e} nats" in section.replace("\u200b", "")


def test_the_bundle_for_an_engine(named, tmp_path):
    """Its example gives what the engine gives of the same image; its figures are engines.json's."""
    named.python("-m", "octet", "package", "--model", "tiny", "--engine", "onnxruntime")
    with zipfile.ZipFile(named.folder / "dist/tiny-int8-onnxruntime.zip") as bundle:
        bundle.extractall(tmp_path)
    folder = tmp_path / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "SHA256SUMS", "int8.onnx", "labels.txt", "predict.cpp", "predict.py", "preprocess.json"]
    )
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    figures = json.loads((named.folder / "metrics/tiny/engines.json").read_text())["onnxruntime"]
    card = (folder / "README.md").read_text()
    assert f"| agreement with fp32 | | {figures['agreement_pct']:.2f} % |" in card
    assert "\n\nMade from `configs/models/tiny.py`" in card
    assert "32 training images; weights rounded to the nearest. " in card
    assert "`onnxruntime-mobile`, built for a list of operators and ended with 1.18, has all operators." in card
    data = Cifar(named.folder / "data/digits32", "test")
    Image.fromarray(data.image(0)).save(tmp_path / "0.png")
    shown = subprocess.run([sys.executable, folder / "predict.py", tmp_path / "0.png"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    asked = named.python("-m", "octet", "predict", "--image", str(tmp_path / "0.png")).stdout.splitlines()[2].split()
    assert shown.stdout.splitlines()[0].split()[1:] == asked[9:12]


def test_a_bundle_that_cannot_be(named):
    for engine, why in (("openvino", "only for ncnn, onnxruntime, tensorrt"), ("x;y", "has no int8 for 'x;y'")):
        failed = named.python("-m", "octet", "package", "--model", "tiny", "--engine", engine, ok=False)
        assert failed.returncode == 1
        assert why in failed.stderr
    path = named.folder / "models/tiny/engines/onnxruntime.onnx"
    layers = path.with_name("layers.json")
    before, said = path.read_bytes(), layers.read_text()
    other = (named.folder / "models/tiny/engines/tensorrt.onnx").read_bytes()
    try:
        for model, checksum_too, why in (
            (other, False, "onnxruntime.onnx: changed since the stage qdq made it"),
            (other, True, "models/tiny/engines: changed since the pipeline made it"),
            (before[:1000], True, "ONNX Runtime cannot read it"),
        ):
            path.write_bytes(model)
            sums = [hashlib.sha256(data).hexdigest() for data in (before, model)]
            layers.write_text(said.replace(*sums) if checksum_too else said)
            failed = named.python("-m", "octet", "package", "--model", "tiny", "--engine", "onnxruntime", ok=False)
            assert why in failed.stderr
            assert "Traceback" not in failed.stderr
    finally:
        path.unlink()
        path.write_bytes(before)
        layers.write_text(said)
