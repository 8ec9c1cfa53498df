"""What is measured of a candidate's files: its loss on hold-out images, and what its speed depends on."""

from __future__ import annotations

from dataclasses import dataclass

from octet.best.kernels import kernels, onnx_kernels
from octet.best.loss import Loss
from octet.best.versions import engine_version
from octet.core.engines.engine import load
from octet.core.engines.files import check_models
from octet.core.files import read_bytes
from octet.core.folder import ModelFolder
from octet.core.onnx_bytes import parse
from octet.data.images import Images
from octet.evaluate.evaluate import evaluate
from octet.evaluate.pairs import Pair, read_pairs
from octet.evaluate.predictions import distinct, read_predictions
from octet.graph.layers import is_int8
from octet.ncnn.net import load_net


@dataclass(frozen=True)
class Judgement:
    """What is known of an int8 model before it is timed.

    Args:
        loss: What it loses.
        kernels: What its speed depends on.
        n_int8: How many layers are int8.
    """

    loss: Loss
    kernels: str
    n_int8: int


def judge(there: ModelFolder, engine: str, images: Images) -> Judgement:
    """Judges a candidate.

    Args:
        there: Its files.
        engine: What runs it.
        images: The hold-out images, on which the experiment evaluated it.
    """
    if engine == "ncnn":
        layers = load_net(*there.int8).layers
        return Judgement(Loss.of(read_pairs(there)), kernels(layers), sum(map(is_int8, layers)))
    int8 = check_models(there, [engine])[engine].int8
    path = there.engine(engine)
    model = parse(read_bytes(path, "the stage qdq makes it"), f"{path}: not a model in ONNX; the stage qdq makes it")
    key = onnx_kernels(model, engine, engine_version(engine))
    return Judgement(Loss.of(_pairs(there, engine, images)), key, len(int8))


def _pairs(there: ModelFolder, engine: str, images: Images) -> list[Pair]:
    """What ncnn's fp32 and an engine's int8 predict for each image."""
    top = evaluate(load(engine, there.engine(engine)), images, f"best, {engine}")
    read = images.pick(top.indices)
    int8 = top.predictions(read.names, read.labels, distinct(images.preprocess.classes))
    fp32 = {row.image: row for row in read_predictions(there.predictions("fp32"))}
    return [(fp32[row.image], row) for row in int8 if row.image in fp32]
