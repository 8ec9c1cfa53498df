"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from octet.core.errors import OctetError

Floats = npt.NDArray[np.float32]


class OnnxRuntime:
    """An ONNX model in ONNX Runtime; any thread may call it.

    Args:
        path: The model.
        threads: How many compute one image.

    Raises:
        OctetError: ONNX Runtime cannot read it.
    """

    def __init__(self, path: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        errors = onnxruntime.capi.onnxruntime_pybind11_state
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented) as error:
            raise OctetError(f"{path}: ONNX Runtime cannot read it: {str(error).splitlines()[0]}") from None
        self._input: str = self._session.get_inputs()[0].name

    def __call__(self, image: Floats) -> Floats:
        """The logits of an image, fp32 of shape (C, H, W): fp32 of shape (classes,)."""
        logits: Floats = self._session.run(None, {self._input: image[None]})[0].reshape(-1)
        return logits
