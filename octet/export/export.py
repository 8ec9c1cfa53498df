"""export: a trained model, from whichever source, becomes fp32.onnx and preprocess.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from octet.core.errors import OctetError
from octet.core.files import write_bytes
from octet.core.outputs import flat, largest_difference
from octet.core.params import Splits
from octet.data.config_split import with_entry
from octet.data.preprocess import save
from octet.export.source import Source


def export(
    source: Source, opset: int, onnx: Path, preprocess: Path, splits: Splits | None = None, model_name: str = ""
) -> float:
    """Writes the ONNX model (input 'input' of shape (1, C, H, W), output 'output', the logits, or others) and preprocess.json.

    Args:
        source: Where the model comes from.
        opset: ONNX's.
        onnx: Where the model is written.
        preprocess: Where preprocess.json is written.
        splits: What the model's entry says of where its images are.
        model_name: The model's.

    Returns:
        The largest difference between ONNX Runtime's logits and the source's own on its images, as a share of their spread.

    Raises:
        OctetError: That is more than the model's tolerance, or the source cannot be read or exported.
    """
    model = source.export(opset)
    session = onnxruntime.InferenceSession(model.onnx, providers=["CPUExecutionProvider"])
    values = np.stack([flat(session.run(None, {"input": x[None]})) for x in model.images])
    difference = largest_difference(values, model.reference, model.steps.sizes)
    if not difference <= model.tolerance:
        raise OctetError(
            f"{model.where}: the {'outputs' if model.steps.outputs else 'logits'} of the ONNX model that export made of it differ "
            f"from what {source.engine} computes with the model itself by {difference:.1e} of their spread, more than "
            f"{model.tolerance:.0e}; the model does something that ONNX does not reproduce"
        )
    write_bytes(onnx, model.onnx)
    save(replace(model.steps, splits=with_entry(model.steps.splits, splits, model_name)), preprocess)
    return difference
