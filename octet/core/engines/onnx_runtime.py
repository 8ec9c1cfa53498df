"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from octet.core.errors import OctetError
from octet.core.files import read_bytes

Arrays = dict[str, npt.NDArray[np.float32]]
Floats = npt.NDArray[np.float32]

_STATE = vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
# What it raises, and where it cannot make a message of what is in the model.
_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in _STATE if isinstance(kind, type) and issubclass(kind, Exception)),
    UnicodeDecodeError,
)


class Session:
    """A model in ONNX Runtime; any thread may run it.

    Args:
        model: In ONNX. A file's bytes and not its path, since a model may name other files beside it.
        where: Names the model in errors.
        threads: How many compute one image.

    Raises:
        OctetError: ONNX Runtime cannot read it.
    """

    def __init__(self, model: bytes, where: str, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.where = where
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise OctetError(f"{where}: ONNX Runtime cannot read it: {_first_line(error)}") from None
        self.inputs, self.outputs = self._session.get_inputs(), self._session.get_outputs()

    def run(self, outputs: list[str] | None, values: Arrays) -> list[Any]:
        """The outputs of these names, None: all, for inputs by their names. Raises OctetError where it fails."""
        try:
            results: list[Any] = self._session.run(outputs, values)
        except _ERRORS as error:
            raise OctetError(f"{self.where}: ONNX Runtime cannot run it: {_first_line(error)}") from None
        return results


class OnnxRuntime:
    """An ONNX model in ONNX Runtime; any thread may call it.

    Args:
        path: The model.
        threads: How many compute one image.

    Raises:
        OctetError: ONNX Runtime cannot read it, or it is none from one image to logits.
    """

    def __init__(self, path: Path, threads: int = 1):
        self._session = Session(read_bytes(path, "'dvc repro' makes it"), str(path), threads)
        inputs, outputs = self._session.inputs, self._session.outputs
        if len(inputs) != 1 or [value.type for value in (*inputs, *outputs)] != ["tensor(float)"] * 2:
            raise OctetError(f"{path}: expected a model of one fp32 input and one fp32 output")
        self._input: str = inputs[0].name

    def __call__(self, image: Floats) -> Floats:
        """The logits of an image, fp32 of shape (C, H, W): fp32 of shape (classes,)."""
        logits: Floats = self._session.run(None, {self._input: image[None]})[0].reshape(-1)
        return logits


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
