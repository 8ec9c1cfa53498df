"""A whole Octet project in a temporary folder: the real dvc.yaml, stages and library, a tiny model, tiny data."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]

CONFIG = """
model = dict(
    type="ImageClassifier",
    backbone=dict(type="ResNet_CIFAR", depth=18, stem_channels=8, base_channels=8, num_stages=4, out_indices=(3,)),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=64, loss=dict(type="CrossEntropyLoss")),
)
test_pipeline = [
    dict(type="Normalize", mean=[128.0, 120.0, 110.0], std=[64.0, 60.0, 55.0], to_rgb=False),
    dict(type="ImageToTensor", keys=["img"]),
    dict(type="Collect", keys=["img"]),
]
data = dict(test=dict(type="CIFAR10", pipeline=test_pipeline))
"""

ENTRY = """\
    config: configs/models/tiny.py
    checkpoint: models/tiny.pth
    trusted: false
    data: data/digits32
    keep_fp32: []
    partition: []
    max_drop_pt: 100
"""
PARAMS = f"""
models:
  tiny:
{ENTRY}target: dotprod
engines: [ncnn]
export:
  opset: 13
equalize: false
calibrate:
  method: minmax
  images: 32
  weights: absmax
  percentile: 99.99
  ppq:
    algorithm: percentile
    batch: 4
rounding:
  method: nearest
  images: 32
analyze:
  images: 16
mixed_precision:
  metric: none
  budget: 0.001
  images: 50
evaluate:
  split: test
  limit: null
benchmark:
  runs: 5
  warmup: 1
parallel:
  scheduler: null
"""

# Random weights, with batch norms that make different images give clearly different logits.
CHECKPOINT = """
import io, torch
from octet.export.mmcls_model import build, read_config
torch.manual_seed(0)
model = build(read_config("configs/models/tiny.py"), "tiny")
for name, module in model.named_modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        torch.nn.init.uniform_(module.weight, 0.8, 1.6)
        torch.nn.init.normal_(module.bias, 0, 0.3)
        module.running_mean.normal_(0, 0.2)
        module.running_var.uniform_(0.5, 1.5)
buffer = io.BytesIO()
torch.save({"meta": {"CLASSES": [str(k) for k in range(10)]}, "state_dict": model.state_dict()}, buffer)
open("models/tiny.pth", "wb").write(buffer.getvalue())
"""


@cache
def checkpoint() -> bytes:
    """The tiny model's weights."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        project.env["PYTHONPATH"] = str(ROOT)
        (project.folder / "configs/models").mkdir(parents=True)
        (project.folder / "configs/models/tiny.py").write_text(CONFIG)
        (project.folder / "models").mkdir()
        project.python("-c", CHECKPOINT)
        return (project.folder / "models/tiny.pth").read_bytes()


class Project:
    """A folder with the pipeline in it, and how to run things there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
        self.env |= {
            "PYTHONPATH": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@t.invalid",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@t.invalid",
        }

    @classmethod
    def make(cls, folder: Path) -> Project:
        """The project with the tiny model, committed to git, nothing run."""
        keep = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in ("octet", "stages"):
            shutil.copytree(ROOT / name, folder / name, ignore=keep)
        for name in (
            "dvc.yaml",
            "downloads/dvc.yaml",
            "downloads/params.yaml",
            ".dvcignore",
            ".gitignore",
            "data/dvc.yaml",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        (folder / "configs/models").mkdir(parents=True)
        for name in ("configs/tables", "configs/targets"):
            shutil.copytree(ROOT / name, folder / name)
        (folder / "models").mkdir()
        shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
        shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
        (folder / "configs/models/tiny.py").write_text(CONFIG)
        (folder / "params.yaml").write_text(PARAMS)
        (folder / "data/params.yaml").write_text("digits32:\n  train: 500\n  test: 500\n  seed: 0\n")
        (folder / "models/tiny.pth").write_bytes(checkpoint())
        project = cls(folder)
        project.git("init", "-q", "-b", "main")
        project.commit("a tiny project")
        return project

    def copy(self, folder: Path) -> Project:
        """The same in another folder, with all that was made and DVC's cache."""
        shutil.copytree(self.folder, folder)
        return Project(folder)

    def run(self, *command: str, ok: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert not ok or done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, *args: str, ok: bool = True) -> subprocess.CompletedProcess:
        return self.run(sys.executable, *args, ok=ok)

    def stage(self, name: str, *args: str) -> subprocess.CompletedProcess:
        """One stage's script by itself, whatever its exit status."""
        return self.python("-m", f"stages.{name}", "--model", "tiny", *args, ok=False)

    def stage_here(self, name: str, *args: str) -> str:
        """One stage's script in this process, where torch and mmcls are imported already; what it printed.

        Raises what it raises: octet.core.errors.run, which ends a command, is left out.
        """
        before, words, printed = Path.cwd(), sys.argv, io.StringIO()
        os.chdir(self.folder)
        sys.argv = [f"stages.{name}", "--model", "tiny", *args]
        try:
            with redirect_stdout(printed):
                import_module(f"stages.{name}").main()
        finally:
            os.chdir(before)
            sys.argv = words
        return printed.getvalue()

    def dvc(self, *args: str) -> str:
        return self.python("-m", "dvc", *args).stdout

    def repro(self, *targets: str) -> list[str]:
        """Runs `dvc repro`, of all or of certain stages; the names of the stages that ran, in order."""
        lines = self.dvc("repro", *targets).splitlines()
        return [line.split("'")[1].removesuffix("@tiny") for line in lines if line.startswith("Running stage")]

    def git(self, *args: str) -> str:
        return self.run("git", *args).stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new))

    def files(self, *names: str) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in names}
