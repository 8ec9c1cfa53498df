"""Whole int8 networks, made for timing: ncnn's Python API has no timer for a layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.calibrate.weights import weight_scales
from octet.core.folder import NcnnFiles
from octet.graph.layers import quantizable
from octet.graph.scales import add_attention
from octet.graph.targets import Target
from octet.ncnn.engine import Engine
from octet.ncnn.net import Net, save_net
from octet.ncnn.table import Table
from octet.quantize.quantize import quantize
from octet.tune.compare import Round, Timer, in_turn, now_us


@dataclass
class Bench:
    """Makes networks that can be timed, and times them in this process; on a device: octet/device/tuning.py.

    Args:
        net: The fp32 network.
        inputs: The layers' input scales.
        image: A network's input, fp32 of shape (C, H, W).
        folder: Where the networks lie while they are timed.
        fp16: Does the processor compute in fp16 what is not int8, as ncnn's default options let it?
    """

    net: Net
    inputs: dict[str, np.float32]
    image: npt.NDArray[np.float32]
    folder: Path
    fp16: bool = False

    def write(self, target: Target, name: str) -> NcnnFiles:
        """Writes the int8 model of this target under this name."""
        files = NcnnFiles.named(self.folder, name)
        save_net(self.int8(target), *files)
        return files

    def rounds(self, base: NcnnFiles, other: NcnnFiles) -> Round:
        """What times two models in turn."""
        return in_turn(lambda: self.timer(*base), lambda: self.timer(*other))

    def forget(self, files: NcnnFiles) -> None:
        """Says that a model will not be timed again as it is: its files may then change."""

    def clean(self) -> None:
        """Removes the networks from where they are timed, if that is elsewhere."""

    def timer(self, param: Path, bin: Path) -> Timer:
        """Loads a model and warms it up; what comes back times one run."""
        engine = self.engine(NcnnFiles(param, bin))

        def once() -> float:
            start = now_us()
            engine(self.image)
            return now_us() - start

        for _ in range(2):
            once()
        return once

    def engine(self, files: NcnnFiles) -> Engine:
        """A model as it runs where it is timed."""
        return Engine(files.param, files.bin, fp16=self.fp16)

    def int8(self, target: Target) -> Net:
        """The int8 model of a target. Its weights' scales are absmax for the target's levels: their values do not change
        the speed.
        """
        weights = {layer.name: weight_scales(layer, target) for layer in quantizable(self.net.layers)}
        table = Table(weights, self.inputs)
        add_attention(table, self.net.layers)
        return quantize(self.net, table, target, [], "the tuner's table")
