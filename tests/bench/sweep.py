"""make sweep-calibrators and make sweep-recovery: the pipeline over parameters, and the tables of it in docs/.

They run by the stages themselves in a scratch copy of the project, on the embedded models and, where the images and the
checkpoint lie in ../shared, on CIFAR-10, JPEG (tests/bench/cifar_jpeg.py). Nothing is timed but what a table says is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from octet.best.speed import Stopwatch
from octet.core import registry, yaml
from octet.core.errors import OctetError, run
from octet.core.files import write_text
from octet.core.folder import ModelFolder
from octet.core.logits import divergence
from octet.core.progress import progress
from octet.core.text import table
from octet.data import preprocess
from octet.data.images import Images, split_images
from octet.ncnn.engine import Engine, logits
from octet.ncnn.machine import machine
from tests.bench import cifar_jpeg
from tests.bench.venv import STAGES

ROOT = Path(__file__).parents[2]
IMAGES = (32, 256, 2048)
HOLD_OUT = 5000
NAMES = {
    "resnet18_digits32": "ResNet-18, digits32",
    "mobilenetv2_digits32": "MobileNetV2, digits32",
    cifar_jpeg.MODEL: "ResNet-18, CIFAR-10, JPEG",
}
GPTQ, EQUALIZED, MIXED = "rounding.method=gptq", "equalize=true", "mixed_precision.metric=kl"
NEAREST = "rounding.method=nearest"
TECHNIQUES = {
    "nearest": [NEAREST],
    "GPTQ": [GPTQ],
    "GPTQ, equalization": [GPTQ, EQUALIZED],
    "GPTQ, mixed precision": [GPTQ, MIXED],
    "GPTQ, fine-tuning": ["rounding.method=finetune"],
}
TARGETS = {  # what is tried on which
    "dotprod": ("nearest", "GPTQ", "GPTQ, equalization", "GPTQ, mixed precision"),
    "winograd": ("nearest", "GPTQ", "GPTQ, mixed precision"),
    "ncnn2int8": ("nearest", "GPTQ", "GPTQ, fine-tuning"),
}


@dataclass
class Project:
    """A scratch project with one model."""

    name: str
    folder: Path

    @classmethod
    def make(cls, name: str, folder: Path, shared: Path) -> Project:
        """With its fp32 model in ncnn's files.

        Raises:
            OctetError: Its images or its checkpoint are missing, or a stage fails.
        """
        project = cls(name, folder)
        keep = shutil.ignore_patterns("__pycache__")
        for part in ("octet", "stages", "configs"):
            shutil.copytree(ROOT / part, folder / part, ignore=keep)
        params = yaml.load(ROOT / "params.yaml", "git has it")
        entry = params["models"].get(name) or next(iter(params["models"].values()))
        if name == cifar_jpeg.MODEL:
            cifar_jpeg.unpack(shared / "cifar10-jpeg", folder / "data" / "cifar10_jpeg")
            checkpoint = (shared / "checkpoints" / "resnet18_cifar10_jpeg.pth").resolve()
            entry |= {"config": cifar_jpeg.CONFIG, "checkpoint": str(checkpoint), "data": "data/cifar10_jpeg"}
        else:
            for part in (entry["checkpoint"], entry["data"]):
                if not (ROOT / part).exists():
                    raise OctetError(f"{part}: not there; 'make quantize' makes it")
                (folder / part).parent.mkdir(exist_ok=True)
                (folder / part).symlink_to((ROOT / part).resolve())
        params["models"] = {name: entry}
        params["mixed_precision"]["budget"] = 3e-5
        (folder / "params.yaml").write_text(json.dumps(params, indent=2))  # JSON is YAML
        for stage in ("export", "convert"):
            project.stage(stage)
        return project

    def python(self, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise OctetError(f"{' '.join(command[-4:])}: failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")

    def stage(self, stage: str) -> float:
        """Runs a stage as params.yaml has it now; how long that took, in seconds."""
        start = time.perf_counter()
        self.python("-m", f"stages.{stage}", "--model", self.name)
        return time.perf_counter() - start

    @contextmanager
    def settings(self, settings: list[str]) -> Iterator[None]:
        """Parameters, written as for `dvc exp run -S`, in params.yaml for as long."""
        path = self.folder / "params.yaml"
        before = path.read_text()
        document = json.loads(before)
        for setting in settings:
            key, _, value = setting.partition("=")
            *sections, last = key.split(".")
            reduce(dict.__getitem__, sections, document)[last] = yaml.loads(value, setting)
        path.write_text(json.dumps(document))
        try:
            yield
        finally:
            path.write_text(before)

    def int8(self, settings: list[str]) -> dict[str, float]:
        """Makes int8 with these parameters; how many seconds each stage took."""
        with self.settings(settings):
            return {stage: self.stage(stage) for stage in STAGES}

    def images(self, split: str, n_images: int | None) -> Images:
        """Images of a split; None: all of them."""
        steps = preprocess.load(ModelFolder(self.name, self.folder).preprocess)
        data = json.loads((self.folder / "params.yaml").read_text())["models"][self.name]["data"]
        return split_images(self.folder / data, split, steps, n_images, split)


class Judge:
    """How far int8 is from fp32 on images.

    Args:
        project: Which model.
        images: Which images.
    """

    def __init__(self, project: Project, images: Images) -> None:
        self.project, self.images = project, images
        self.fp32 = self._logits("fp32")

    def _logits(self, precision: str) -> np.ndarray:
        folder = ModelFolder(self.project.name, self.project.folder)
        return logits(Engine(*folder.ncnn(precision)), self.images, precision)

    def cells(self) -> tuple[str, str, str]:
        """The drop in points, the agreement and the KL divergence of int8 as it is now."""
        int8 = self._logits("int8")
        labels = self.images.labels
        drop = 100 * ((self.fp32.argmax(axis=1) == labels).astype(float) - (int8.argmax(axis=1) == labels))
        far = divergence(self.fp32, int8)
        return (
            f"{drop.mean():+.2f} ± {drop.std(ddof=1) / len(drop) ** 0.5:.2f}",
            f"{far.agreement_pct:.2f} %",
            f"{1e5 * far.kl_nats:.2f} ± {1e5 * far.kl_se_nats:.2f}",
        )


def calibrators(project: Project) -> list[str]:
    headers = [
        "method",
        "images",
        "hold-out: KL, 10⁻⁵ nats",
        "test: KL, 10⁻⁵ nats",
        "test: drop in points",
        "agreement",
    ]
    hold_out, test = Judge(project, project.images("train", HOLD_OUT)), Judge(project, project.images("test", None))
    settings = [(method, n_images) for method in registry.computing_calibrators() for n_images in IMAGES]
    rows = []
    for method, n_images in progress(settings, project.name, unit="setting"):
        project.int8([f"calibrate.method={method}", f"calibrate.images={n_images}"])
        drop, agreement, kl = test.cells()
        rows.append([f"`{method}`", f"{n_images:,}", hold_out.cells()[2], kl, drop, agreement])
    return [f"\n## {NAMES[project.name]}\n", table(rows, headers, markdown=True)]


def recovery(project: Project) -> list[str]:
    headers = ["", "drop in points", "agreement", "KL divergence, 10⁻⁵ nats", "speed-up", "int8 size", "work"]
    lines, folder = [f"\n## {NAMES[project.name]}"], ModelFolder(project.name, project.folder)
    judge = Judge(project, project.images("test", None))
    for target, techniques in TARGETS.items():
        rows = []
        for technique in progress(techniques, f"{project.name}, {target}", unit="setting"):
            seconds = project.int8([f"target={target}", *TECHNIQUES[technique]])
            with tempfile.TemporaryDirectory() as scratch:
                speedup = Stopwatch(folder, None, Path(scratch)).speedup(folder.int8)
            size, work = sum(path.stat().st_size for path in folder.int8), seconds["round"] + seconds["plan"]
            rows.append([technique, *judge.cells(), f"{speedup:.2f}", f"{size / 1e6:.1f} MB", f"{work:.0f} s"])
            print(f"{project.name}, {target}: {' | '.join(rows[-1])}", file=sys.stderr, flush=True)
        lines += [f"\nTarget `{target}`:\n", table(rows, headers, markdown=True)]
    return lines


def head(title: str, command: str) -> list[str]:
    about = machine()
    return [
        f"# {title}\n",
        f"Made by `{command}` on {about['cores']} cores of {about['cpu']} ({' '.join(about['features'])}), ncnn {about['ncnn']}.",
    ]


ABOUT = {
    "calibrators": [
        f"Every calibrator with {', '.join(map(str, IMAGES[:-1]))} and {IMAGES[-1]:,} calibration images, the other parameters "
        "as they are by default: target `dotprod`, GPTQ. *Hold-out* images are 5,000 from the end of the training split, which "
        "neither calibration nor GPTQ sees: by them a default is chosen. The test split is all its images. KL: how far int8's "
        "probabilities are from fp32's, the mean KL divergence with its standard error; drop: fp32's top-1 less int8's, with "
        "its paired standard error; agreement: the share of images on which both predict the same class.",
        "",
        *(f"- `{name}`: {line}" for name, line in registry.calibrators().items()),
    ],
    "recovery": [
        "What wins int8's loss back, on all test images: weights to the nearest; GPTQ (`rounding.method=gptq`, the default "
        "except with target `ncnn2int8`); GPTQ with cross-layer equalization (`equalize=true`), mixed precision "
        "(`mixed_precision.metric=kl`, a budget of 3e-5 nats), or [fine-tuning](finetune.md) (`rounding.method=finetune`, its "
        "default 500 steps of 32 images). 256 calibration images. Drop: fp32's top-1 less int8's, with "
        "its paired standard error. KL divergence: of int8's probabilities from fp32's. Speed-up: int8's frames a second "
        "over fp32's, one thread, batch 1, in turn. Work: what the stages round and plan took, their start included.",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("calibrators", "recovery"))
    parser.add_argument("--model", action="append", choices=NAMES, help="default: all that are there")
    parser.add_argument(
        "--shared", type=Path, default=ROOT.parent / "shared", help="with cifar10-jpeg/ and checkpoints/"
    )
    args = parser.parse_args()
    models = args.model or [name for name in NAMES if name != cifar_jpeg.MODEL or args.shared.is_dir()]
    title, page = {
        "calibrators": ("Calibrators", "calibrators"),
        "recovery": ("Accuracy recovery", "accuracy-recovery"),
    }[args.what]
    only = f" MODEL={models[0]}" if args.model else ""
    lines = [*head(title, f"make sweep-{args.what}{only}"), "", *ABOUT[args.what]]
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            project = Project.make(name, Path(folder), args.shared)
            lines += {"calibrators": calibrators, "recovery": recovery}[args.what](project)
        write_text(ROOT / "docs" / f"{page}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
