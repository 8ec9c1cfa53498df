"""Where a model comes from, and what export needs of it. Each kind of source is a file of its own, <kind>_source.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from octet.data.preprocess import Preprocess

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """A model as a source gives it.

    Args:
        onnx: The ONNX model: its input is 'input', of shape (1, C, H, W), its output 'output', the logits; or as many outputs as
            steps names.
        steps: What happens to an image before it, and the class names, or the outputs.
        images: Network inputs, each of shape (C, H, W).
        reference: What the source itself computes of them: logits of shape (n, classes), or other outputs, flat, one after the
            other.
        where: What names the model in an error.
        tolerance: Of the exported model's logits, as a share of the reference's spread.
    """

    onnx: bytes
    steps: Preprocess
    images: Sequence[Array]
    reference: Array
    where: str
    tolerance: float = 1e-4


class Source(Protocol):
    """Where a model comes from."""

    engine: ClassVar[str]  # what computes the source's own logits

    def look(self) -> Preprocess:
        """What happens to an image, and the class names or as many numbers, without reading the weights where that is slow.

        Raises:
            OctetError: The model cannot be read, or does not say it.
        """

    def export(self, opset: int) -> Exported:
        """The model as ONNX of an opset, and what to compare it with.

        Raises:
            OctetError: The model cannot be read, or cannot be exported.
        """

    def run(self) -> Callable[[Array], Array]:
        """The source's own computation: from a network input of shape (C, H, W) to its logits, of shape (classes,).

        Raises:
            OctetError: The model cannot be read.
        """
