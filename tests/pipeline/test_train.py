"""The training of a reference model, on a tiny recipe: what it writes, export can read, and it is the same twice."""

import json

import pytest
import torch

pytestmark = pytest.mark.pipeline


@pytest.mark.slow
def test_training_writes_a_half_precision_checkpoint_that_export_reads(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    (project.folder / "recipe.yaml").write_text(
        "tiny: {epochs: [[16, 1], [32, 1]], batch: 50, lr: 0.05, weight_decay: 0.0005, label_smoothing: 0.05, seed: 0}\n"
    )
    command = ["-m", "stages.train", "--config", "configs/models/tiny.py", "--data", "data/digits32", "--model", "tiny"]
    command += ["--recipe", "recipe.yaml", "--checkpoint", "models/tiny.pth", "--metrics", "models/tiny.json"]
    command += ["--threads", "1"]  # two wait for each other on a busy machine
    shown = project.python(*command).stdout
    assert "epoch 2/2 at 32x32" in shown
    first = project.files("models/tiny.pth", "models/tiny.json")
    metrics = json.loads(first["models/tiny.json"])
    assert metrics["n_images"] == 500
    assert 5 < metrics["top1_pct"] < 100
    content = torch.load(project.folder / "models/tiny.pth", weights_only=True)
    assert content["state_dict"]["head.fc.weight"].dtype == torch.float16
    assert content["meta"]["CLASSES"] == list("0123456789")
    for stage in ("export", "convert"):
        assert project.stage(stage).returncode == 0
    evaluated = project.stage("evaluate", "--precision", "fp32")
    assert f"top-1 {metrics['top1_pct']:.2f} %" in evaluated.stdout, "ncnn agrees with torch"
    project.python(*command)
    assert project.files("models/tiny.pth", "models/tiny.json") == first
