"""ONNX Runtime's session of a model, and what it computes; its own words where it cannot."""

from __future__ import annotations

import re
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.export.onnx_opset import Model

ORT_ERRORS = (
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NoSuchFile,
    ort.NotImplemented,
    ort.RuntimeException,
)


def session(model: Model | bytes, path: str, options: Any = None) -> Any:
    """ONNX Runtime's session of a model.

    Raises:
        OctetError: It cannot run it.
    """
    options = options or onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = model if isinstance(model, bytes) else model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise OctetError(
            f"{path}: ONNX Runtime cannot read it: {_reason(error)}. Export it again, or in another form"
        ) from None


def run(model: Any, name: str, x: Any, path: str) -> list[Any]:
    """The outputs of a session for an input.

    Raises:
        OctetError: The input does not fit the network.
    """
    try:
        outputs: list[Any] = model.run(None, {name: x})
        return outputs
    except ORT_ERRORS as error:
        raise OctetError(
            f"{path}: cannot compute on an input of the shape {list(x.shape)}: {_reason(error)}. Is 'size' in 'preprocess' right?"
        ) from None


def fixed(model: Model, path: str) -> list[Any]:
    """The outputs of a model that reads nothing.

    Raises:
        OctetError: It cannot be computed.
    """
    try:
        outputs: list[Any] = session(model, path).run(None, {})
        return outputs
    except ORT_ERRORS as error:
        raise OctetError(
            f"{path}: ONNX Runtime cannot compute its constants: {_reason(error)}. Export it again"
        ) from None


def _reason(error: Exception) -> str:
    """Its first line, without the places in ONNX Runtime's own source that it names."""
    text = str(error).strip().splitlines()[0].rpartition(" : ")[2]
    return printable(
        re.sub(r"(Failed to load model with error: )?/\S+:\d+ [^()]*\([^()]*\)( const)? ", "", text).rstrip("."), 300
    )
