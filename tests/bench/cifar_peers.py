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
from octet.data.images import Images, split_images, training_images
from octet.qdq.network import load
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import quantize
from tests.bench.cifar_jpeg import CONFIG, MODEL, project, unpack
from tests.bench.pairs import ROWS, divergences
from tests.bench.peers import OCTET_IN, OPENVINO_INT8, UINT8
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
        octets_int8(model.onnx, images, work)
        store(images, work / "calibrate.npy")
        store(test, work / "test.npy")
        quantize_peers(work, [UINT8, OPENVINO_INT8])
        logits, labels = peers_logits(work, ROWS, cores()), test.labels
        assert labels is not None, "class folders have labels"
        return f"{MODEL} ({CONFIG}), n = {len(labels):,}\n\n{divergences(logits, np.asarray(labels))}"


def octets_int8(onnx: Path, images: Images, folder: Path) -> None:
    """Writes Octet's int8 models for ONNX Runtime and OpenVINO, with weights to the nearest and by GPTQ, into a folder."""
    network, settings, profiles = load(onnx), params.load().calibrate, [PROFILES[name] for name in OCTET_IN]
    for ending, gptq_images in (("", None), ("_gptq", images)):
        for name, int8 in zip(
            OCTET_IN, quantize(network, profiles, images, settings, gptq_images=gptq_images), strict=True
        ):
            (folder / f"octet_{name}{ending}.onnx").write_bytes(int8.model.SerializeToString(deterministic=True))
