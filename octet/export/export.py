"""export: an mmcls config and a checkpoint become fp32.onnx and preprocess.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from octet.core.errors import OctetError
from octet.core.files import write_bytes
from octet.core.logits import spread_difference
from octet.data.class_names import check_names
from octet.data.preprocess import save
from octet.export import checkpoint as checkpoints
from octet.export.heads import check_head
from octet.export.mmcls_model import Config, build, read_config
from octet.export.mmcls_pipeline import derive
from octet.export.onnx_model import LogitsModel, to_onnx

TOLERANCE = 1e-4  # of the logits' spread, between torch and ONNX Runtime


def classifier(config: str, checkpoint: str, trusted: bool) -> tuple[Config, list[str] | None, torch.nn.Module]:
    """The config, the checkpoint's class names or None, and the network, from its input to the logits, in evaluation mode.

    Args:
        config: A file, or a name in mmcls's zoo.
        checkpoint: The file of the weights.
        trusted: May reading the checkpoint run code?

    Raises:
        OctetError: One of them cannot be read, or they do not fit.
    """
    settings = read_config(config)
    model = build(settings, config)
    check_head(model, config)
    content = checkpoints.read(checkpoint, trusted)
    checkpoints.load_weights(model, content.weights, checkpoint)
    return settings, content.classes, LogitsModel(model).eval()


def export(config: str, checkpoint: str, trusted: bool, opset: int, onnx: Path, preprocess: Path) -> float:
    """Writes the ONNX model (input 'input' of shape (1, C, H, W), output 'output', the logits) and preprocess.json.

    Args:
        config: As for classifier; checkpoint and trusted, too.
        checkpoint: See config.
        trusted: See config.
        opset: ONNX's.
        onnx: Where the model is written.
        preprocess: Where preprocess.json is written.

    Returns:
        The largest difference between ONNX Runtime's and torch's logits on eight images of noise, as a share of their
        spread.

    Raises:
        OctetError: That is more than TOLERANCE, or the config or the checkpoint does not fit.
    """
    settings, classes, network = classifier(config, checkpoint, trusted)
    steps = derive(settings, config, classes)
    images = [steps(image) for image in steps.noise(8)]
    with torch.no_grad():  # before to_onnx changes its form
        reference = np.concatenate([network(torch.from_numpy(x[None])).numpy() for x in images])
    if not steps.classes:
        steps = replace(steps, classes=[str(k) for k in range(reference.shape[1])])
    if reference.shape[1] != len(steps.classes):
        raise OctetError(
            f"{checkpoint}: {len(steps.classes)} class names, but the model of {config} has {reference.shape[1]} outputs; "
            "set meta.CLASSES in the checkpoint to the names of the classes that it was trained on"
        )
    check_names(steps.classes, checkpoint if classes else config)
    data = to_onnx(network, images[0].shape, opset, config)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    logits = np.concatenate([session.run(None, {"input": x[None]})[0] for x in images])
    difference = spread_difference(logits, reference)
    if not difference <= TOLERANCE:
        raise OctetError(
            f"{config}: ONNX Runtime's logits differ from torch's by {difference:.1e} of their spread, more than {TOLERANCE:.0e}; "
            "the model does something at export that ONNX does not reproduce"
        )
    write_bytes(onnx, data)
    save(steps, preprocess)
    return difference
