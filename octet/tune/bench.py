"""Whole int8 networks, made for timing: ncnn's Python API has no timer for a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.calibrate.weights import weight_scales
from octet.graph.layers import quantizable
from octet.graph.scales import add_attention
from octet.graph.targets import Target
from octet.ncnn.engine import Engine
from octet.ncnn.net import Net, save_net
from octet.ncnn.table import Table
from octet.quantize.quantize import quantize
from octet.tune.compare import Timer, now_us


@dataclass
class Bench:
    """Makes networks that can be timed.

    Args:
        net: The fp32 network.
        inputs: The layers' input scales.
        image: A network's input, fp32 of shape (C, H, W).
        folder: Where the networks lie while they are timed.
    """

    net: Net
    inputs: dict[str, np.float32]
    image: npt.NDArray[np.float32]
    folder: Path

    def loader(self, target: Target, name: str) -> Callable[[], Timer]:
        """Writes the int8 model of this target under this name; what comes back loads it."""
        files = self.folder / f"{name}.param", self.folder / f"{name}.bin"
        save_net(self.int8(target), *files)
        return lambda: self.timer(*files)

    def timer(self, param: Path, bin: Path) -> Timer:
        """Loads a model and warms it up; what comes back times one run."""
        engine = Engine(param, bin)

        def once() -> float:
            start = now_us()
            engine(self.image)
            return now_us() - start

        for _ in range(2):
            once()
        return once

    def int8(self, target: Target) -> Net:
        """The int8 model of a target. Its weights' scales are absmax for the target's levels: their values do not change
        the speed.
        """
        weights = {layer.name: weight_scales(layer, target) for layer in quantizable(self.net.layers)}
        table = Table(weights, self.inputs)
        add_attention(table, self.net.layers)
        return quantize(self.net, table, target, [], "the tuner's table")
