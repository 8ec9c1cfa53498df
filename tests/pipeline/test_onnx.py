"""An ONNX file through all stages, calibrated by PPQ where it can be had, to the report, the check and the zip."""

import json
import shutil
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from octet.core.registry import calibrator_needs
from octet.evaluate.predictions import read_predictions
from tests.onnx_nets import classifier
from tests.pipeline.project import Project

pytestmark = pytest.mark.pipeline

NAMES = ["circle", "cross", "bar | dash", "été", "none"]
STEPS = "size: [16, 16]\nbackend: cv2\nchannel_order: RGB\nmean: [120, 110, 100]\nstd: 60\nclasses: names.txt\n"
METHOD = "minmax" if calibrator_needs("ppq").missing else "ppq"
STAGES = ["settings", "export", "convert", "calibrate", "round", "analyze", "plan", "quantize", "qdq"]
LEAVES = ["evaluate_fp32", "evaluate_int8", "evaluate_engines", "benchmark", "summary"]


def write_images(project: Project) -> None:
    """Five class folders of noise of different means, larger than the network's input."""
    random = np.random.Generator(np.random.PCG64(2))
    for split, count in (("train", 8), ("test", 4)):
        for label in range(len(NAMES)):
            folder = project.folder / f"data/shapes/{split}/{label}"
            folder.mkdir(parents=True)
            for k in range(count):
                image = np.clip(random.normal(50 * label + 25, 50, (24, 20, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{k}.png"), image)


def test_every_stage_and_what_a_user_looks_at(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    write_images(project)
    mine = project.folder / "mine"
    mine.mkdir()
    onnx.save(classifier(), mine / "net.onnx")
    (mine / "net.yaml").write_text(STEPS)
    (mine / "names.txt").write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    project.python("-m", "octet", "add", "--model=net", "--onnx=mine/net.onnx", "--data=data/shapes")
    assert (project.folder / "configs/models/net.classes.txt").read_bytes() == (mine / "names.txt").read_bytes()
    project.edit("params.yaml", "  net:\n", f"  net:\n    calibrate: {{method: {METHOD}}}\n")
    project.edit("params.yaml", "max_drop_pt: 0.3", "max_drop_pt: 100\n    splits: {test: {folder: test}}")

    project.python("-m", "octet", "validate", "--model=net")
    ran = [stage for stage in project.repro() if "@" in stage]
    assert sorted(ran) == sorted(f"{stage}@net" for stage in STAGES + LEAVES)
    steps = json.loads((project.folder / "models/net/preprocess.json").read_text())
    assert steps["classes"] == NAMES
    assert (steps["splits"]["test"]["folder"], steps["splits"]["test"]["key"]) == ("test", "models.net.splits.test")
    summary = json.loads((project.folder / "metrics/net/summary.json").read_text())
    assert summary["n_images"] == 20
    assert summary["agreement_pct"] >= 80

    given = onnxruntime.InferenceSession(str(mine / "net.onnx"))
    for row in read_predictions(project.folder / "metrics/net/fp32.predictions.csv"):
        pixels = cv2.imread(str(project.folder / "data/shapes/test" / row.image.removeprefix("test/")))[..., ::-1]
        x = (cv2.resize(pixels, (16, 16)) - np.float32([120, 110, 100])) / np.float32(60)
        shares = given.run(None, {"image": x.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        assert row.top == [NAMES[k] for k in np.argsort(-shares, kind="stable")]
        np.testing.assert_allclose(row.probabilities, np.sort(shares)[::-1], atol=1e-4)

    checked = project.python("-m", "octet", "check", "--model=net")
    assert "net: int8 loses" in checked.stderr
    page = project.python("-m", "octet", "report", "--model=net").stdout
    assert page.startswith("reports/net/report.html: ")
    shown = project.python("-m", "octet", "predict", "--model=net", "--image=data/shapes/test/2/0.png").stdout
    assert "ONNX Runtime" in shown
    project.python("-m", "octet", "package", "--model=net")
    with zipfile.ZipFile(project.folder / "dist/net-int8.zip") as archive:
        archive.extractall(tmp_path)
    detail = json.loads((tmp_path / "net/detail.json").read_text())
    assert (detail["codebase"]["codebase"], detail["codebase"]["pth"]) == ("onnx", "net.onnx")
    assert detail["calib_config"]["method"] == METHOD
    shutil.copy(project.folder / "data/shapes/test/2/0.png", tmp_path / "one.png")
    command = [sys.executable, "predict.py", str(tmp_path / "one.png")]
    done = subprocess.run(command, cwd=tmp_path / "net", capture_output=True, text=True, check=True)
    int8 = read_predictions(project.folder / "metrics/net/int8.predictions.csv")
    assert next(row for row in int8 if row.image.endswith("2/0.png")).top[0] in done.stdout

    (project.folder / "configs/models/net.classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert project.repro("convert@net") == ["settings@net", "export@net", "convert@net"]
