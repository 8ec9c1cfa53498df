"""What all engines share: from a file and a number of threads to what computes the logits of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.registry import ENGINES

Floats = npt.NDArray[np.float32]
Run = Callable[
    [Floats], Floats
]  # an image, fp32 of shape (C, H, W) -> its logits, fp32 of shape (classes,); by any thread
Load = Callable[[int], Run]  # with so many threads for one image


def runs_in(engine: str) -> str:
    """The engine in which a model for this one is run here: TensorRT needs a GPU, and its files run in ONNX Runtime.

    >>> runs_in("openvino"), runs_in("tensorrt")
    ('openvino', 'onnxruntime')
    """
    return "onnxruntime" if engine == "tensorrt" else engine


def timed(engines: Sequence[str]) -> list[str]:
    """Of the engines beside ncnn those whose speed can be measured here.

    >>> timed(["tensorrt", "openvino"])
    ['openvino']
    """
    return [name for name in engines if runs_in(name) == name]


def load(engine: str, path: Path, threads: int = 1) -> Run:
    """A model, ready to run.

    Args:
        engine: A name of `engines` in params.yaml, but ncnn.
        path: The model's ONNX file.
        threads: How many compute one image.

    Raises:
        OctetError: The file is missing, or the engine is not installed or cannot read it.
    """
    match runs_in(engine):
        case "onnxruntime":
            from octet.core.engines.onnx_runtime import OnnxRuntime

            return OnnxRuntime(path, threads)
        case "openvino":
            from octet.core.engines.open_vino import OpenVino

            return OpenVino(path, threads)
    raise OctetError(f"{engine}: no engine that reads ONNX; there are {', '.join(sorted(set(ENGINES) - {'ncnn'}))}")
