"""A layer of an ncnn model: its line in the .param, and its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from octet.ncnn.parameters import ARRAY

TAG_FP32, TAG_FP32_SCALED, TAG_FP16, TAG_INT8 = 0x00000000, 0x0002C056, 0x01306B47, 0x000D4B38


@dataclass
class Tensor:
    """One weight: a flat array, fp32, fp16 or int8, and its tag in the file (None: plain fp32 without a tag).

    padding: the bytes that fill up the last 4 in the file, kept because pnnx does not write zeros there; ncnn skips them.
    """

    data: npt.NDArray[Any]
    tag: int | None = None
    padding: bytes = b""


@dataclass
class Layer:
    """One line of the .param and its weights. Parameters keep their text, by their number as written."""

    type: str
    name: str
    inputs: list[str]
    outputs: list[str]
    params: dict[int, str] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def floats(self, key: int) -> list[float]:
        """A float array parameter, in either of ncnn's spellings; empty where absent."""
        words = self.params.get(ARRAY - key, "").split(",")[1:] or self.params.get(key, "").split(",")
        return [float(word) for word in words if word]

    def copy(self) -> Layer:
        """A copy whose parameters and weights can be replaced; the arrays are shared."""
        return Layer(self.type, self.name, list(self.inputs), list(self.outputs), dict(self.params), dict(self.weights))

    def int(self, key: int, default: int = 0) -> int:
        """An integer parameter, or ncnn's default for it."""
        return int(self.params.get(key, default))
