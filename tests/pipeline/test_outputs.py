"""A network with two outputs that are no class scores, through all stages, to report, check and the zip."""

import json
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from octet.core.folder import ModelFolder
from octet.data import preprocess
from octet.ncnn.engine import Engine
from tests.onnx_nets import features

pytestmark = pytest.mark.pipeline

STEPS = "backend: cv2\nchannel_order: RGB\nmean: [120, 110, 100]\nstd: 60\n"


def test_every_stage_and_what_a_user_looks_at(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    random = np.random.Generator(np.random.PCG64(2))
    for split, count in (("train", 16), ("test", 12)):
        (project.folder / f"data/noise/{split}/cats").mkdir(parents=True)
        for k in range(count):
            image = np.clip(random.normal(20 * k, 50, (24, 20, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(project.folder / f"data/noise/{split}/cats/{k}.png"), image)
    onnx.save(features(), project.folder / "net.onnx")
    (project.folder / "net.yaml").write_text(STEPS)
    project.python("-m", "octet", "add", "--model=net", "--onnx=net.onnx", "--data=data/noise")
    told = project.python("-m", "octet", "validate", "--model=net").stderr
    assert "note: net: the model gives no class scores: int8 is judged by how near its outputs are to fp32's" in told
    project.edit("params.yaml", "target: dotprod", "target: ncnn2int8")  # with all layers in int8, however small
    project.dvc("repro", "analyze@net", "summary@net")

    folder = ModelFolder("net", project.folder)
    steps = preprocess.load(folder.preprocess)
    assert steps.classes == []
    assert [(output.name, output.shape) for output in steps.outputs] == [
        ("scores", [4, 16, 16]),
        ("features", [8, 16, 16]),
    ]

    # The figures, by ONNX Runtime with the file itself and ncnn's int8, image by image.
    given = onnxruntime.InferenceSession(str(project.folder / "net.onnx"))
    int8 = Engine(*folder.int8)
    signal, noise, cosine = {}, {}, {}
    for path in sorted((project.folder / "data/noise/test/cats").iterdir()):
        x = steps(cv2.imread(str(path))[..., ::-1])
        fp32 = dict(zip(("scores", "features"), given.run(None, {"image": x[None]}), strict=True))
        ours = dict(zip(("scores", "features"), np.split(int8(x), [4 * 256]), strict=True))
        for name, y in fp32.items():
            a, b = y.reshape(-1).astype(np.float64), ours[name].astype(np.float64)
            signal[name] = signal.get(name, 0) + a @ a
            noise[name] = noise.get(name, 0) + (a - b) @ (a - b)
            cosine.setdefault(name, []).append(a @ b / np.sqrt((a @ a) * (b @ b)))
    figures = json.loads(folder.figures("int8").read_text())
    assert figures["n_images"] == 12
    for name, of in figures["outputs"].items():
        assert of["sqnr_db"] == pytest.approx(10 * np.log10(signal[name] / noise[name]), abs=0.01)
        assert of["cosine"] == pytest.approx(np.mean(cosine[name]), abs=1e-5)
        assert of["cosine_min"] == pytest.approx(np.min(cosine[name]), abs=1e-5)
        assert of["sqnr_db"] > 25
    summary = json.loads(folder.summary.read_text())
    assert summary["sqnr_db"] == min(of["sqnr_db"] for of in figures["outputs"].values())
    assert not {"agreement_pct", "probability_shift_pct", "top1_drop_pt"} & summary.keys()
    layers = json.loads(folder.analysis.read_text())["layers"]
    assert all(layer["output_sqnr_alone_db"] > 20 and "kl_alone" not in layer for layer in layers)

    table = project.python("-m", "octet", "summary", "--model=net").stdout
    assert f"{summary['sqnr_db']:.1f} dB  cosine " in table
    for least, verdict in ((5, "fine"), (190, "too little")):
        text = (project.folder / "params.yaml").read_text()
        start, _, rest = text.partition("  net:\n")
        rest = rest.replace("    min_sqnr_db: 5\n", "")
        (project.folder / "params.yaml").write_text(f"{start}  net:\n    min_sqnr_db: {least}\n{rest}")
        done = project.python("-m", "octet", "check", "--model=net", ok=False)
        assert (
            f"net: int8 has an SQNR of {summary['sqnr_db']:.1f} dB in its worst output, it has to be at least"
            in done.stderr
        )
        assert (done.stderr.count(f": {verdict}\n"), done.returncode) == (1, verdict != "fine")
    for command in ("predict", "dump"):
        done = project.python("-m", "octet", command, "--model=net", ok=False)
        assert (
            f"make {command}: is for class scores, and this model gives other outputs (scores, features)" in done.stderr
        )
    for setting in ("rounding: {method: finetune}", "mixed_precision: {metric: kl}", "engines: [ncnn, onnxruntime]"):
        text = (project.folder / "params.yaml").read_text()
        (project.folder / "params.yaml").write_text(text.replace("  net:\n", f"  net:\n    {setting}\n"))
        done = project.python("-m", "octet", "validate", "--model=net", ok=False)
        (project.folder / "params.yaml").write_text(text)
        assert f"models.net: {setting.split(':')[0]}" in done.stderr
        assert "is for class scores, and this model gives other outputs (scores, features)" in done.stderr
    project.python("-m", "octet", "report", "--model=net")
    page = (project.folder / "reports/net/report.html").read_text()
    assert "The network gives no class scores" in page
    assert "features, cosine" in page
    assert 'id="differ"' not in page
    project.python("-m", "octet", "package", "--model=net")
    with zipfile.ZipFile(project.folder / "dist/net-int8.zip") as archive:
        archive.extractall(tmp_path)
        names = set(archive.namelist())
    assert not {"net/labels.txt", "net/deploy.json"} & names
    card = (tmp_path / "net/README.md").read_text()
    assert "| scores | | SQNR " in card
    assert "- Output `out1`: 8 x 16 x 16 values, the original model's `features`." in card
    command = [sys.executable, "predict.py", str(project.folder / "data/noise/test/cats/3.png")]
    shown = subprocess.run(command, cwd=tmp_path / "net", capture_output=True, text=True, check=True).stdout
    y = np.split(int8(steps(cv2.imread(command[2])[..., ::-1])), [4 * 256])[1]
    assert f"out1 (8, 16, 16): from {y.min():.6g} to {y.max():.6g}, mean {y.mean():.6g}" in shown
    project.dvc("plots", "show")
    project.dvc("metrics", "diff")
