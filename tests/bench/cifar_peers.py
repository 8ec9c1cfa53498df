"""The third accuracy set of `make bench-peers`: CIFAR-10 (JPEG), all test images, in each engine (tests/bench/pairs.py)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from octet.core import params
from octet.core.folder import ModelFolder
from octet.core.parallel import cores
from octet.data import preprocess
from octet.data.images import split_images, training_images
from octet.qdq.network import load
from tests.bench.cifar_jpeg import CONFIG, MODEL, project, unpack
from tests.bench.octets import write as write_octets
from tests.bench.pairs import ROWS, divergences
from tests.bench.peers import OPENVINO_INT8, UINT8
from tests.bench.venv import peers_logits, quantize_peers, start, store


def cifar_10_jpeg(shared: Path) -> str:
    """The table, with a heading; where the images or the checkpoint are not there, a line that says so.

    Args:
        shared: With cifar10-jpeg/ and checkpoints/.
    """
    archives, checkpoint = shared / "cifar10-jpeg", shared / "checkpoints" / f"{MODEL}.pth"
    for path in (archives / "train.zip", archives / "test.zip", checkpoint):
        if not path.is_file():
            return f"CIFAR-10, JPEG: skipped, {path} is not there"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        unpack(archives, folder / "data" / "cifar10_jpeg")
        project(folder, checkpoint.resolve())
        start([sys.executable, "-m", "stages.export", "--model", MODEL], folder)
        model, settings = ModelFolder(MODEL, folder), params.load()
        steps, data = preprocess.load(model.preprocess), folder / "data" / "cifar10_jpeg"
        images = training_images(data, steps, settings.calibrate.images, "calibrate.images", "calibrate")
        test = split_images(data, "test", steps, None, "evaluate.limit")
        work = model.onnx.parent
        for by_gptq in (False, True):
            write_octets(load(model.onnx), images, settings.calibrate, work, by_gptq=by_gptq)
        store(images, work / "calibrate.npy")
        store(test, work / "test.npy")
        quantize_peers(work, [UINT8, OPENVINO_INT8])
        logits, labels = peers_logits(work, ROWS, cores()), test.labels
        assert labels is not None, "class folders have labels"
        return f"{MODEL} ({CONFIG}), n = {len(labels):,}\n\n{divergences(logits, np.asarray(labels))}"
