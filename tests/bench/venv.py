"""Starts tests/bench/peers.py in .venv-bench, in a folder with the models and images that it reads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from octet.core import params
from octet.core.errors import OctetError
from octet.core.files import require
from tests.bench.pipeline import Bench

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-bench" / "bin" / "python"


def prepare(bench: Bench, name: str, tested: int, folder: Path) -> np.ndarray:
    """Copies the model and writes the images for calibration and those to test on; returns the labels of these."""
    source = ROOT / "models" / name
    files = [source / file for file in ("fp32.onnx", "fp32.param", "fp32.bin", "int8.param", "int8.bin")]
    require(files, f"'make quantize MODEL={name}' makes it")
    for file in files[:3]:
        shutil.copy(file, folder)
    labels = {}
    for file, split, count in (
        ("calibrate", "train", params.load().calibrate.images),
        ("test", "test", min(tested, bench.count("test"))),
    ):
        image, labels[file] = bench.images(split, count)
        first = image(0)
        stored = np.lib.format.open_memmap(folder / f"{file}.npy", "w+", first.dtype, (count, *first.shape))
        for k in range(count):
            stored[k] = image(k)
        stored.flush()
    return labels["test"]


def start(command: list, folder: Path) -> None:
    """Runs a command of the project's in a folder; what it prints goes to standard error."""
    if not Path(command[0]).is_file():
        raise OctetError(
            f"{command[0]}: no such file; run this as 'make bench-int8' or 'make bench-peers', which make it"
        )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr).returncode:
        raise OctetError(f"{command[2]} failed, see above")


def peers(what: str, folder: Path, *options: str | int) -> dict:
    """What `python -m tests.bench.peers WHAT FOLDER OPTIONS` found."""
    start([PYTHON, "-m", "tests.bench.peers", what, folder, *map(str, options)], ROOT)
    return json.loads((folder / f"{what}.json").read_text())
