"""make sweep-calibrators and make sweep-recovery: the pipeline over parameters, and the tables of it in docs/.

They run in a scratch copy of the project, the first as DVC experiments, the second by the stages themselves, on the embedded
models and, where the images and the checkpoint lie in ../shared, on CIFAR-10, JPEG (tests/bench/cifar_jpeg.py). Nothing is
timed but what a table says is.
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
from dataclasses import dataclass, field
from functools import cached_property, reduce
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
from octet.data import cifar, preprocess
from octet.data.folders import ImageFiles, class_folders
from octet.data.images import Images, split_images
from octet.data.listing import folders_in
from octet.ncnn.engine import Engine, logits
from octet.ncnn.machine import machine
from tests.bench import cifar_jpeg
from tests.bench.venv import STAGES

ROOT = Path(__file__).parents[2]
IMAGES = (32, 128, 512, 2048)
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
}
TARGETS = {  # what is tried on which
    "dotprod": tuple(TECHNIQUES),
    "winograd": ("nearest", "GPTQ", "GPTQ, mixed precision"),
    "ncnn2int8": ("nearest", "GPTQ"),
}


@dataclass
class Project:
    """A scratch project with one model, in git, as experiments need it."""

    name: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, name: str, folder: Path, shared: Path) -> Project:
        project = cls(name, folder, os.environ | {"PYTHONPATH": str(folder)})
        keep = shutil.ignore_patterns("__pycache__")
        project.run("git", "init", "-q")
        project.python("-m", "dvc", "init", "--quiet")
        for part in ("octet", "stages", "configs", ".dvc/plots"):
            shutil.copytree(ROOT / part, folder / part, ignore=keep)
        for part in ("dvc.yaml", ".dvcignore"):
            shutil.copy(ROOT / part, folder)
        params = yaml.load(ROOT / "params.yaml", "git has it")
        entry = params["models"].get(name) or next(iter(params["models"].values()))
        if name == cifar_jpeg.MODEL:
            arrays(shared / "cifar10-jpeg", folder / "data" / "cifar10_jpeg")
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
        (folder / ".gitignore").write_text("/data\n/models/*\n/metrics/*/*.csv\n")
        project.run("git", "add", "-A")
        project.run("git", "-c", "user.name=sweep", "-c", "user.email=sweep@localhost", "commit", "-qm", "the project")
        return project

    def run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise OctetError(f"{' '.join(command[-4:])}: failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")

    def python(self, *arguments: str) -> None:
        self.run(sys.executable, *arguments)

    def experiment(self, settings: list[str]) -> dict:
        """The summary after one experiment with these parameters."""
        changed = [word for setting in settings for word in ("-S", setting)]
        self.python("-m", "dvc", "exp", "run", "--quiet", *changed)
        summary = json.loads((self.folder / "metrics" / self.name / "summary.json").read_text())
        self.run("git", "checkout", "-q", ".")
        return summary

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

    @cached_property
    def test(self) -> Images:
        """All test images."""
        steps = preprocess.load(ModelFolder(self.name, self.folder).preprocess)
        data = json.loads((self.folder / "params.yaml").read_text())["models"][self.name]["data"]
        return split_images(self.folder / data, "test", steps, None, "test images")

    def logits(self, precision: str) -> np.ndarray:
        """What the model gives for them."""
        return logits(Engine(*ModelFolder(self.name, self.folder).ncnn(precision)), self.test, precision)


def arrays(images: Path, folder: Path) -> None:
    """The JPEGs' pixels as CIFAR-10's binary version has them: six files for DVC to look at instead of 60,000."""
    with tempfile.TemporaryDirectory() as unpacked:
        cifar_jpeg.unpack(images, Path(unpacked))
        classes = folders_in(Path(unpacked) / "train")
        splits = (class_folders(Path(unpacked) / split, classes, "color") for split in ("train", "test"))
        folder.parent.mkdir(exist_ok=True)
        cifar.write(folder, *(_pixels(data) for data in splits), classes)


def _pixels(data: ImageFiles) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([data.image(k) for k in range(len(data))])
    return images.transpose(0, 3, 1, 2), data.labels.astype(np.uint8)


def calibrators(project: Project) -> list[str]:
    quick = ["analyze.images=1", "benchmark.runs=1", "benchmark.warmup=0"]
    headers = ["method", "images", "hold-out: agreement", "hold-out: probability shift"]
    headers += ["test: drop in points", "test: agreement"]
    rows = []
    for method, images in progress(
        [(m, n) for m in registry.computing_calibrators() for n in IMAGES], project.name, unit="experiment"
    ):
        settings = [*quick, f"calibrate.method={method}", f"calibrate.images={images}"]
        hold_out = project.experiment([*settings, "evaluate.split=train", f"evaluate.limit={HOLD_OUT}"])
        test = project.experiment(settings)
        shift = f"{hold_out['probability_shift_pct']:.3f} %"
        rows.append([f"`{method}`", f"{images:,}", _agreement(hold_out), shift, _drop(test), _agreement(test)])
    fp32 = f"fp32 has {test['fp32_top1_pct']:.2f} % of {test['n_images']:,} test images."
    return [f"\n## {NAMES[project.name]}\n", f"{fp32}\n", table(rows, headers, markdown=True)]


def recovery(project: Project) -> list[str]:
    headers = ["", "drop in points", "agreement", "KL divergence, 10⁻⁵ nats", "speed-up", "int8 size", "work"]
    lines, folder = [f"\n## {NAMES[project.name]}\n"], ModelFolder(project.name, project.folder)
    for stage in ("export", "convert"):
        project.stage(stage)
    fp32, labels = project.logits("fp32"), project.test.labels
    for target, techniques in TARGETS.items():
        rows = []
        for technique in progress(techniques, f"{project.name}, {target}", unit="setting"):
            with project.settings([f"target={target}", *TECHNIQUES[technique]]):
                seconds = {stage: project.stage(stage) for stage in STAGES}
            int8 = project.logits("int8")
            drop = 100 * ((fp32.argmax(axis=1) == labels).astype(float) - (int8.argmax(axis=1) == labels))
            far, work = divergence(fp32, int8), seconds["round"] + seconds["plan"]
            with tempfile.TemporaryDirectory() as scratch:
                speedup = Stopwatch(folder, None, Path(scratch)).speedup(folder.int8)
            rows.append(
                [
                    technique,
                    f"{drop.mean():+.2f} ± {drop.std(ddof=1) / len(drop) ** 0.5:.2f}",
                    f"{far.agreement_pct:.2f} %",
                    f"{1e5 * far.kl_nats:.2f} ± {1e5 * far.kl_se_nats:.2f}",
                    f"{speedup:.2f}",
                    f"{sum(path.stat().st_size for path in folder.int8) / 1e6:.1f} MB",
                    f"{work:.0f} s",
                ]
            )
        lines += [f"\nTarget `{target}`:\n", table(rows, headers, markdown=True)]
    return lines


def _agreement(summary: dict) -> str:
    return f"{summary['agreement_pct']:.2f} %"


def _drop(summary: dict) -> str:
    return f"{summary['top1_drop_pt']:+.2f} ± {summary['top1_drop_se_pt']:.2f}"


def head(title: str, command: str) -> list[str]:
    about = machine()
    return [
        f"# {title}\n",
        f"Made by `{command}` on {about['cores']} cores of {about['cpu']} ({' '.join(about['features'])}), ncnn {about['ncnn']}.",
    ]


ABOUT = {
    "calibrators": [
        "Every calibrator with 32 to 2,048 calibration images, target `dotprod`. *Hold-out* images are 5,000 from the end of "
        "the training split, which calibration does not see: by them the defaults were chosen. The test split's figures were read "
        "afterwards. Agreement is the share of images on which int8 agrees with fp32; the probability shift is the mean "
        "difference of the two models' probabilities of what they predict; the drop is fp32's top-1 less int8's, with its "
        "paired standard error.",
        "",
        *(f"- `{name}`: {line}" for name, line in registry.calibrators().items()),
    ],
    "recovery": [
        "What wins int8's loss back, on all test images: weights to the nearest; GPTQ (`rounding.method=gptq`, the default "
        "but with target `ncnn2int8`); with it cross-layer equalization (`equalize=true`), or mixed precision "
        "(`mixed_precision.metric=kl`, a budget of 3e-5 nats). 256 calibration images. Drop: fp32's top-1 less int8's, with "
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
    lines = [*head(title, f"make sweep-{args.what}"), "", *ABOUT[args.what]]
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            project = Project.make(name, Path(folder), args.shared)
            lines += {"calibrators": calibrators, "recovery": recovery}[args.what](project)
        write_text(ROOT / "docs" / f"{page}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
