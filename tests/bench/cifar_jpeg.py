"""make bench-cifar: CIFAR-10, JPEG: the whole pipeline on class folders of JPEGs, and the table of MMDeploy's tutorial.

The images (50,000 and 10,000, CIFAR-10's own encoded again as JPEG) and a checkpoint of mmcls's
resnet18_8xb16_cifar10 lie in ../shared. The pipeline runs by DVC in a scratch folder on all test images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from octet.core import yaml
from octet.core.errors import OctetError, run
from octet.core.text import table

ROOT = Path(__file__).parents[2]
MODEL = "resnet18_cifar10_jpeg"
CONFIG = "resnet/resnet18_8xb16_cifar10.py"
# MMDeploy's tutorial on quantization for ncnn: the same network on lossless CIFAR-10, on its authors' machine.
PUBLISHED = {"fp32": (94.82, 134.5), "int8": (94.80, 176.3)}  # top-1 in percent, frames per second


def unpack(images: Path, folder: Path) -> None:
    """Class folders for training and test, as images/train.zip and test.zip have them."""
    for split in ("train", "test"):
        archive = images / f"{split}.zip"
        if not archive.is_file():
            raise OctetError(
                f"{archive}: no such file; expected CIFAR-10 as JPEGs in class folders, {split}/CLASS/NUMBER.jpg"
            )
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)


def project(folder: Path, checkpoint: Path) -> None:
    """This project with the one model, in a folder; the data are in its data/."""
    for name in ("octet", "stages", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = yaml.load(ROOT / "params.yaml", "git has it")
    entry = dict(
        next(iter(params["models"].values())), config=CONFIG, checkpoint=str(checkpoint), data="data/cifar10_jpeg"
    )
    params["models"] = {MODEL: entry | {"keep_fp32": []}}
    params["evaluate"] |= {"split": "test", "limit": None}
    (folder / "params.yaml").write_text(json.dumps(params, indent=2))  # JSON is YAML
    _dvc(folder, "init", "--no-scm", "--quiet")


def _dvc(folder: Path, *command: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    if subprocess.run(
        [sys.executable, "-m", "dvc", *command], cwd=folder, env=environment, stdout=sys.stderr
    ).returncode:
        raise OctetError(f"dvc {command[0]} failed, see above")


def result(summary: dict) -> str:
    """MMDeploy's table in Markdown, with what it published, and a line on the accuracy and the machine."""
    rows = []
    for precision in ("fp32", "int8"):
        fps = [summary[f"{precision}_fps_{suffix}"] for suffix in ("1_thread", "all_threads")]
        top1 = summary[f"{precision}_top1_pct"]
        rows.append([f"{precision}, CIFAR-10, JPEG", f"{top1:.2f} %", *(f"{rate:.1f}" for rate in fps)])
    for precision, (top1, fps) in PUBLISHED.items():
        rows.append([f"{precision}, published by MMDeploy, CIFAR-10", f"{top1:.2f} %", f"{fps:.1f}", ""])
    headers = ["ResNet-18, ncnn", "top-1", "FPS, 1 thread", f"FPS, {summary['threads_all']} threads"]
    machine = summary["machine"]
    return (
        f"{table(rows, headers, markdown=True)}\n\n"
        f"drop {summary['top1_drop_pt']:+.2f} ± {summary['top1_drop_se_pt']:.2f} points, agreement "
        f"{summary['agreement_pct']:.2f} %, n = {summary['n_images']:,}; {machine['cpu']}, {machine['cores']} cores, "
        f"{' '.join(machine['features'])}, ncnn {machine['ncnn']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--shared", type=Path, default=ROOT.parent / "shared", help="with cifar10-jpeg/ and checkpoints/"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(args.shared / "cifar10-jpeg", folder / "data" / "cifar10_jpeg")
        project(folder, (args.shared / "checkpoints" / "resnet18_cifar10_jpeg.pth").resolve())
        _dvc(folder, "repro")
        summary = json.loads((folder / "metrics" / MODEL / "summary.json").read_text())
    print(result(summary))


if __name__ == "__main__":
    run(main)
