"""What a calibrator works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octet.calibrate import observe
from octet.calibrate.histogram import Histogram
from octet.graph.targets import Target
from octet.ncnn.net import Net

if TYPE_CHECKING:
    from octet.core.params import Calibrate


@dataclass(frozen=True)
class Job:
    """A network to calibrate, and what with.

    Args:
        net: The fp32 network.
        images: Network inputs, fp32 of shape (C, H, W).
        settings: The section `calibrate` of params.yaml.
        target: Says which layers are int8 and how many levels their weights have.
        onnx: The ONNX model that the network was made from, for calibrators that work on that; None: there is none.
        workers: As in octet.core.parallel.
        scheduler: As in octet.core.parallel.
        model: The model's name, for the calibrator that reads a table.
    """

    net: Net
    images: Sequence[npt.NDArray[np.float32]]
    settings: Calibrate
    target: Target
    onnx: Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    model: str = "model"

    @cached_property
    def histograms(self) -> dict[str, Histogram]:
        """Of every blob that a quantizable layer reads, by its name: one pass over the images, when first asked for."""
        return observe.histograms(self.net, self.images, self.workers, self.scheduler)
