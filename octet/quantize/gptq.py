"""GPTQ for ncnn's int8 layers (octet.graph.gptq): what they read, and the grids of their inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from octet.graph import zero_points
from octet.graph.gptq import Grid, Integers, Moments, choose, each_layer, gather, parts, some_windows
from octet.graph.layers import groups, integer, kind, quantizable
from octet.graph.scales import weight_scale_count
from octet.graph.targets import Target
from octet.graph.windows import windows
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.rounding import round_int8
from octet.ncnn.table import Table
from octet.quantize.gptq_weights import GptqWeights

Floats = npt.NDArray[np.float32]


def gptq_weights(
    net: Net, table: Table, target: Target, keep_fp32: Collection[str], images: Sequence[Floats]
) -> dict[str, GptqWeights]:
    """Chooses the integers of the int8 layers' weights together, so that their errors cancel.

    The result does not depend on the number of workers.

    Args:
        net: The fp32 network.
        table: Its calibration table.
        target: The device's profile.
        keep_fp32: The names of layers that stay in fp32.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        By the layers' names, of every int8 layer that GPTQ can be used on, but for those too wide for it.
    """
    int8 = target.int8_layers(net).difference(keep_fp32)
    layers = [layer for layer in quantizable(net.layers) if layer.name in int8 and kind(layer).gptq]
    scales = {layer.name: table.inputs[layer.name] for layer in layers}
    asymmetric = zero_points.with_zero_point(net, scales) if target.asymmetric else set()
    grids = {
        name: Grid(2 * float(scale), zero_points.ZERO_POINT) if name in asymmetric else Grid(float(scale), 0)
        for name, scale in scales.items()
    }
    engine = Engine.of(net)
    chosen: dict[str, GptqWeights] = {}
    for part in parts(layers, groups, _width):
        moments = gather_moments(engine, part, grids, images)
        chosen |= _choose_each(part, moments, grids, table, target)
    return chosen


def _choose_each(
    layers: list[Layer], moments: dict[str, Moments], grids: dict[str, Grid], table: Table, target: Target
) -> dict[str, GptqWeights]:
    """The integers of several layers; their moments are used up."""
    by_name = {layer.name: layer for layer in layers}

    def one(name: str) -> GptqWeights:
        levels = target.weight_levels(by_name[name])
        return choose_integers(by_name[name], moments.pop(name), grids[name], table.weights[name], levels)

    return each_layer(moments, one)


def gather_moments(
    engine: Engine, layers: list[Layer], grids: dict[str, Grid], images: Sequence[Floats]
) -> dict[str, Moments]:
    """Gathers the moments of layers' inputs, in one pass over the images.

    Args:
        engine: Runs the fp32 network.
        layers: Some of its layers.
        grids: How each one's input becomes integers, by name.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        By the layers' names.
    """
    blobs = list(dict.fromkeys(layer.inputs[0] for layer in layers))
    gathered = {layer.name: Moments(groups(layer), _width(layer)) for layer in layers}

    def see(k: int) -> Iterator[tuple[str, Floats, Integers]]:
        inputs = dict(zip(blobs, map(np.array, engine.blobs(images[k], blobs)), strict=True))
        for layer in layers:
            values, grid = inputs[layer.inputs[0]], grids[layer.name]
            if layer.type == "InnerProduct":
                seen = values.reshape(1, -1, _width(layer))
            else:
                seen = some_windows(windows(layer, values), groups(layer), k, len(images))
            yield layer.name, seen, round_int8(seen * np.float32(grid.scale) + np.float32(grid.zero_point))

    gather(gathered, see, len(images))
    return gathered


def choose_integers(
    layer: Layer, moments: Moments, grid: Grid, weight_scales: npt.NDArray[np.float32], levels: int
) -> GptqWeights:
    """Chooses one layer's integers, and what its bias gains.

    Args:
        layer: In fp32.
        moments: Of its inputs; they are used up.
        grid: How its input becomes integers.
        weight_scales: As in the table: fp32 of shape (outputs,), of a depthwise convolution (groups,).
        levels: The largest integer of a weight: 127, or 31 where Winograd may run.
    """
    count, width = moments.sums.shape
    weight = layer.weights["weight"].data.astype(np.float64).reshape(count, -1, width)
    repeats = integer(layer, "num_output") // weight_scale_count(layer)
    scales = np.repeat(weight_scales.astype(np.float64), repeats).reshape(count, -1, 1)
    integers, bias = choose(weight, scales, moments, grid, levels)
    return GptqWeights(integers.reshape(-1), bias)


def _width(layer: Layer) -> int:
    """How many inputs an output has."""
    return layer.weights["weight"].data.size // integer(layer, "num_output")
