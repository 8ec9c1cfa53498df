"""OpenVINO on the CPU, an extra that `make openvino` installs into a folder beside the environment's own packages."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import read_bytes

Floats = npt.NDArray[np.float32]

FOLDER = Path(sys.prefix) / "openvino"


def require() -> None:
    """Makes OpenVINO importable.

    Raises:
        OctetError: It is not installed.
    """
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    if importlib.util.find_spec("openvino") is None:
        raise OctetError(
            "openvino: is not installed; 'make openvino' installs it. Only models whose 'engines' in params.yaml name it need it"
        )


class OpenVino:
    """An ONNX model in OpenVINO; what stays in floating point is fp32, not bf16. Any thread may call it.

    Args:
        path: The model.
        threads: How many compute one image.

    Raises:
        OctetError: OpenVINO is not installed, or cannot read it.
    """

    def __init__(self, path: Path, threads: int = 1):
        require()
        read_bytes(path, "'dvc repro' makes it")
        self._path, self._threads = path, threads
        self._local = threading.local()  # a compiled model computes one image at a time
        self._local.compiled = self._compiled()

    def __call__(self, image: Floats) -> Floats:
        """The logits of an image, fp32 of shape (C, H, W): fp32 of shape (classes,)."""
        if not hasattr(self._local, "compiled"):
            self._local.compiled = self._compiled()
        logits: Floats = self._local.compiled(image[None], share_inputs=True, share_outputs=True)[0].reshape(-1).copy()
        return logits

    def _compiled(self) -> Any:
        import openvino

        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            return openvino.Core().compile_model(str(self._path), "CPU", config)
        except RuntimeError as error:
            raise OctetError(f"{self._path}: OpenVINO cannot read it: {str(error).splitlines()[0]}") from None
