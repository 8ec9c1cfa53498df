"""GPTQ for an engine's int8 layers (octet.graph.gptq): what they read, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from octet.graph import gptq
from octet.graph.gptq import Integers, Moments
from octet.qdq.grids import Grid
from octet.qdq.network import Floats, Layer, Network
from octet.qdq.ranges import runner
from octet.qdq.weights import LEVELS, Weights, bias, weight_scales
from octet.qdq.windows import windows

Images = Sequence[npt.NDArray[np.float32]]


def gptq_weights(
    network: Network,
    sources: Mapping[str, Grid],
    int_bias: bool,
    images: Images,
    workers: int | None = None,
) -> dict[str, Weights]:
    """Chooses the integers of an engine's int8 layers together, so that their errors cancel; biases take up the mean error.

    The result does not depend on the number of workers.

    Args:
        network: The fp32 network.
        sources: The int8 layers, by name: the grid of what each reads.
        int_bias: Are biases int32?
        images: Network inputs, fp32 of shape (C, H, W).
        workers: How many threads compute; None: one a core.

    Returns:
        By the layers' names, but for those that GPTQ does not know or that are too wide for it.
    """
    known = [layer for name, layer in network.layers.items() if name in sources and _knows(layer)]
    chosen: dict[str, Weights] = {}
    for part in gptq.parts(known, lambda layer: layer.groups, _width):
        moments = _gather(network, part, sources, images, workers)
        by_name = {layer.name: layer for layer in part}
        chosen |= _choose_each(by_name, moments, sources, int_bias, workers)
    return chosen


def _choose_each(
    layers: Mapping[str, Layer],
    moments: dict[str, Moments],
    sources: Mapping[str, Grid],
    int_bias: bool,
    workers: int | None,
) -> dict[str, Weights]:
    """The weights of several layers; their moments are used up."""
    return gptq.each_layer(
        moments, lambda name: _choose(layers[name], sources[name], int_bias, moments.pop(name)), workers
    )


def _gather(
    network: Network, layers: list[Layer], sources: Mapping[str, Grid], images: Images, workers: int | None
) -> dict[str, Moments]:
    """The moments of layers' inputs, by their names."""
    tensors = list(dict.fromkeys(layer.input for layer in layers))
    run = runner(network.rebuilt(network.nodes, {}), network.where, tensors)
    moments = {layer.name: Moments(layer.groups, _width(layer)) for layer in layers}

    def see(k: int) -> Iterator[tuple[str, Floats, Integers]]:
        values = dict(zip(tensors, run(images[k]), strict=True))
        for layer in layers:
            source, tensor = sources[layer.name], values[layer.input]
            if layer.node.op_type == "Conv":
                seen = gptq.some_windows(windows(layer, tensor[0]), layer.groups, k, len(images))
            else:
                seen = tensor.reshape(1, -1, _width(layer))
            yield layer.name, seen, (source.integers(seen) - _shift(source)).astype(np.int8)

    gptq.gather(moments, see, len(images), workers)
    return moments


def _choose(layer: Layer, source: Grid, int_bias: bool, moments: Moments) -> Weights:
    """One layer's weights."""
    scales = weight_scales(layer, source, int_bias)
    weight = layer.rows(layer.weight).astype(np.float64).reshape(layer.groups, -1, _width(layer))
    steps = (1 / scales.astype(np.float64)).reshape(layer.groups, -1, 1)
    grid = gptq.Grid(1 / float(source.scale), source.zero_point - _shift(source))
    integers, gain = gptq.choose(weight, steps, moments, grid, LEVELS)
    rows = integers.reshape(np.moveaxis(layer.weight, layer.axis, 0).shape)
    takes_bias = layer.node.op_type != "MatMul"
    corrected = replace(layer, bias=gain + (0 if layer.bias is None else layer.bias)) if takes_bias else layer
    return Weights(np.moveaxis(rows, 0, layer.axis), scales, bias(corrected, source, scales, int_bias))


def _knows(layer: Layer) -> bool:
    """Is it a linear layer, or a convolution over height and width?"""
    return layer.node.op_type != "Conv" or layer.weight.ndim == 4


def _width(layer: Layer) -> int:
    """How many inputs an output has."""
    return int(layer.weight.size // layer.weight.shape[layer.axis])


def _shift(grid: Grid) -> int:
    """What makes its integers int8; their covariance stays the same."""
    return 0 if grid.symmetric else 128
