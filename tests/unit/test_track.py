"""make track: what experiments with --temp and in the queue need of an added model, for DVC and git."""

import os
import subprocess
import sys

import pytest

from octet.core import params
from octet.project.track import track, unknown_to_git, untracked_files
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


def test_what_a_copy_of_the_project_needs_of_git(tmp_path, monkeypatch):
    """With a config, and what it inherits; another model's pre-processing, and two lists of classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("GIT_")})
    subprocess.run(["git", "init", "-q", "."], check=True)
    inline = "{channel_order: RGB, mean: 0, std: 1, classes: configs/models/inline.txt}"
    entries = [
        ENTRY,
        ENTRY.partition("\n")[2].replace("  net:", "  inline:").replace("configs/models/net.yaml", inline),
        ENTRY.partition("\n")[2]
        .replace("  net:", "  mine:")
        .replace("    onnx: net.onnx\n", "    config: configs/models/mine.py\n")
        .replace("    preprocess: configs/models/net.yaml\n", "")
        + "    target: board\n    engines: [ncnn, onnxruntime]\n    calibrate: {method: file}\n",
    ]
    (tmp_path / "params.yaml").write_text("".join(entries) + PARAMS[PARAMS.index("target:") :])
    contents = {
        "configs/models/net.yaml": "channel_order: RGB\nmean: 127.5\nstd: 64\nclasses: net.txt\n",
        "configs/models/net.txt": "a\nb\n",
        "configs/models/inline.txt": "a\nb\n",
        "configs/models/mine.py": "_base_ = 'bottom.py'\n",
        "configs/models/bottom.py": "",
        "configs/models/other.py": "",
        "configs/tables/mine.table": "",
        "configs/targets/board.yaml": "base: dotprod\nlayers: {}\n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    models = params.load().models
    of_all = {"params.yaml", "configs/models/net.yaml", "configs/models/net.txt", "configs/models/inline.txt"}
    assert {*map(str, unknown_to_git(models["net"]))} == of_all
    missing = {*map(str, unknown_to_git(models["mine"]))}
    by_search = {"configs/tables/mine.table", "configs/targets/board.yaml"}  # which the search copies
    assert missing == {"params.yaml", *contents} - {"configs/models/other.py"} - by_search
    subprocess.run(["git", "add", "--", *missing], check=True)
    assert unknown_to_git(models["mine"]) == []
