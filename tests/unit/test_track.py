"""make track: what experiments with --temp and in the queue need of an added model, for DVC and git."""

import os
import subprocess
import sys

import pytest

from octet.core import params
from octet.project.track import track, untracked_files
from tests.pipeline.project import PARAMS

pytestmark = pytest.mark.unit

ENTRY = """models:
  net:
    onnx: net.onnx
    checkpoint: net.onnx
    preprocess: configs/models/net.yaml
    trusted: false
    data: data/mine
    keep_fp32: []
    partition: []
    max_drop_pt: 1
"""


def test_an_onnx_entry_s_model_data_and_pre_processing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))})
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    (tmp_path / "params.yaml").write_text(ENTRY + PARAMS[PARAMS.index("target:") :])
    for name, text in (
        ("net.onnx", "model"),
        ("configs/models/net.yaml", "channel_order: RGB\nmean: 127.5\nstd: 64\n"),
        ("data/mine/test/x.png", "x"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    entry = params.load().models["net"]
    assert list(map(str, untracked_files(entry))) == ["net.onnx", "data/mine"]
    assert track("net", entry) == ["net.onnx: given to DVC: net.onnx.dvc", "data/mine: given to DVC: data/mine.dvc"]
    staged = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    assert {"net.onnx.dvc", "data/mine.dvc", "configs/models/net.yaml", "params.yaml", ".gitignore"} <= {*staged}
    assert not {"net.onnx", "data/mine/test/x.png"} & {*staged}
    assert untracked_files(entry) == []
    assert [line.partition(": ")[2] for line in track("net", entry)] == ["is tracked already"] * 2
