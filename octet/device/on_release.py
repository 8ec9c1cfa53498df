"""A model on the ncnn that this process imports, which may be another release than the installed one.

    python -m octet.device.on_release FOLDER RUNS

The folder has fp32.param, fp32.bin, int8.param, int8.bin and inputs.npy, of shape (n, C, H, W); answers.npz becomes the logits of
both, how long each of RUNS runs took, the two in turn, one thread, and which ncnn it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ncnn
import numpy as np

from octet.core.errors import run
from octet.core.folder import PRECISIONS, NcnnFiles
from octet.ncnn.engine import Engine, logits
from octet.tune.compare import now_us

WARM_UP = 5


def main() -> None:
    """Runs the models of a folder."""
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    engines = {precision: Engine(*NcnnFiles.named(folder, precision)) for precision in PRECISIONS}
    images = np.load(folder / "inputs.npy", mmap_mode="r")
    answers = {precision: logits(engine, images, "") for precision, engine in engines.items()}
    taken_us = np.empty((WARM_UP + runs, len(PRECISIONS)))
    for once in range(WARM_UP + runs):
        for k, engine in enumerate(engines.values()):
            start = now_us()
            engine(images[once % len(images)])
            taken_us[once, k] = now_us() - start
    times = {f"{precision}_us": taken_us[WARM_UP:, k] for k, precision in enumerate(PRECISIONS)}
    np.savez(folder / "answers.npz", ncnn=np.array(ncnn.__version__), **answers, **times)


if __name__ == "__main__":
    run(main)
