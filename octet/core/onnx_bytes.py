"""The bytes of an ONNX model, parsed."""

from __future__ import annotations

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from octet.core.errors import OctetError


def parse(data: bytes, problem: str) -> onnx.ModelProto:
    """The model that a file's bytes hold.

    Args:
        data: The file's.
        problem: What the error says: the file, and what to do.

    Raises:
        OctetError: They hold none.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):  # text that is not UTF-8, messages in messages without end
        raise OctetError(problem) from None
    return model
