"""Starts tests/bench/peers.py in .venv-bench, in a folder with the models and images that it reads."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core import params
from octet.core.errors import OctetError
from octet.core.files import require
from octet.core.folder import ModelFolder
from octet.data.images import Images
from tests.bench.peers import Memory, Timed
from tests.bench.pipeline import Bench

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-bench" / "bin" / "python"
STAGES = ("calibrate", "round", "plan", "quantize")  # between fp32.param and int8.param, in their order


def prepare(bench: Bench, name: str, tested: int, folder: Path) -> npt.NDArray[np.int64]:
    """Copies the fp32 model and writes the images for calibration and those to test on; returns the labels of these."""
    source = ModelFolder(name, ROOT)
    require([source.onnx, *source.fp32, *source.int8], f"'make quantize MODEL={name}' makes it")
    for file in (source.onnx, *source.fp32):
        shutil.copy(file, folder)
    labels = None
    for file, split, count in (
        ("calibrate", "train", params.load().calibrate.images),
        ("test", "test", min(tested, bench.count("test"))),
    ):
        images = bench.images(split, count)
        labels = images.labels
        store(images, folder / f"{file}.npy")
    if labels is None:
        raise OctetError(f"{bench.entry.data}: its test images have no labels, so there is no top-1 to compare")
    return labels


def store(images: Images, path: Path) -> None:
    """Writes network inputs, one image at a time: fp32 of shape (n, C, H, W)."""
    first = images[0]
    stored = np.lib.format.open_memmap(path, "w+", first.dtype, (len(images), *first.shape))
    for k in range(len(images)):
        stored[k] = images[k]
    stored.flush()


def copy_int8(name: str, target: str, folder: Path) -> None:
    """Copies the model's int8 files for a target, as « int8 TARGET »; the pipeline's own stages make what is not there."""
    model = ModelFolder(name, ROOT)
    if target != params.load().target:
        model = quantize(name, target, folder / target)
    for path in model.int8:
        shutil.copy(path, folder / f"int8 {target}{path.suffix}")


def quantize(name: str, target: str, work: Path) -> ModelFolder:
    """A copy of the model in the folder `work`, quantized for another target by the pipeline's own stages."""
    source, model = ModelFolder(name, ROOT), ModelFolder(name, work)
    model.models.mkdir(parents=True)
    for file in (source.onnx, *source.fp32, source.preprocess):
        shutil.copy(file, model.models)
    for folder in ("configs", "data"):
        (work / folder).symlink_to(ROOT / folder)
    text, count = re.subn(r"(?m)^target:.*$", f"target: {target}", (ROOT / "params.yaml").read_text())
    if count != 1:
        raise OctetError("params.yaml: expected one line that begins with 'target:'")
    (work / "params.yaml").write_text(text)
    for stage in STAGES:
        start([sys.executable, "-m", f"stages.{stage}", "--model", name], work)
    return model


def start(command: list[str | Path], folder: Path) -> None:
    """Runs a command of the project's in a folder; what it prints goes to standard error."""
    if not Path(command[0]).is_file():
        raise OctetError(
            f"{command[0]}: no such file; run this as 'make bench-int8' or 'make bench-peers', which make it"
        )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr).returncode:
        raise OctetError(f"{command[2]} failed, see above")


def quantize_octets(name: str, what: str, folder: Path) -> None:
    """Makes Octet's int8 model for one of ncnn's targets or another engine (tests/bench/octets.py)."""
    start([sys.executable, "-m", "tests.bench.octets", name, what, folder], ROOT)


def quantize_peers(folder: Path, rows: Iterable[str] = ()) -> None:
    """Makes the other engines' int8 models, all if none is named."""
    _peers("quantize", folder, *_named(rows))


def time_peers(folder: Path, rounds: int, threads: Iterable[int] = (1,), rows: Iterable[str] = ()) -> Timed:
    """Times the rows of peers.py, all if none is named, in turn."""
    return Timed(**_peers("time", folder, "--rounds", rounds, "--threads", *threads, *_named(rows)))


def peers_logits(folder: Path, rows: Iterable[str], threads: int) -> dict[str, npt.NDArray[np.float32]]:
    """The logits of each row on the test images, fp32 of shape (n, classes)."""
    _peers("logits", folder, "--threads", threads, *_named(rows))
    return {row: np.load(folder / f"{row}.logits.npy") for row in rows}


def peer_memory(folder: Path, row: str) -> Memory:
    """The peak memory of a process that runs one row."""
    return Memory(**_peers("memory", folder, *_named([row])))


def _named(rows: Iterable[str]) -> list[str]:
    return [option for row in rows for option in ("--engine", row)]


def _peers(what: str, folder: Path, *options: str | int) -> dict[str, Any]:
    """What `python -m tests.bench.peers WHAT FOLDER OPTIONS` writes."""
    start([PYTHON, "-m", "tests.bench.peers", what, folder, *map(str, options)], ROOT)
    return json.loads((folder / f"{what}.json").read_text())
