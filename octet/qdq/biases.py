"""Biases that take up the mean error of a layer's rounded weights and inputs, where GPTQ does not choose them.

Nagel et al., «Data-free quantization through weight equalization and bias correction», ICCV 2019, section 4.2, with means
measured on calibration images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from octet.core.parallel import map_ordered
from octet.qdq.grids import Grid
from octet.qdq.network import Floats, Layer, Network
from octet.qdq.ranges import runner
from octet.qdq.weights import Weights, bias
from octet.qdq.windows import Doubles, Reads

IMAGES = 64  # at most; twice as many move no bias by more than its error


def corrected(
    network: Network,
    sources: Mapping[str, Grid],
    rounded: Mapping[str, Weights],
    int_bias: bool,
    images: Sequence[Floats],
    workers: int | None = None,
) -> dict[str, Weights]:
    """The weights with biases that make the mean of each output what it is in fp32, in front of its activation.

    Args:
        network: The fp32 network.
        sources: The grid of what each int8 layer reads, by its name.
        rounded: Its weights.
        int_bias: Are biases int32?
        images: Network inputs, fp32 of shape (C, H, W).
        workers: As in octet.core.parallel; the result does not depend on it.
    """
    layers = [network.layers[name] for name in rounded if _has_bias(network.layers[name])]
    if not layers:
        return dict(rounded)
    tensors = list(dict.fromkeys(layer.input for layer in layers))
    run = runner(network.rebuilt(network.nodes, {}), network.where, tensors)
    some, reads = range(0, len(images), -(-len(images) // IMAGES)), dict[str, Reads]()

    def of_image(k: int) -> list[tuple[Doubles, Doubles]]:
        values = dict(zip(tensors, run(images[some[k]]), strict=True))
        for layer in layers:
            if layer.node.op_type == "Conv" and layer.name not in reads:  # all images have one size
                reads[layer.name] = Reads.of(layer, values[layer.input].shape)
        return [_means(values[layer.input], sources[layer.name], reads.get(layer.name)) for layer in layers]

    sums: list[tuple[Doubles, Doubles]] = []
    for means in map_ordered(of_image, range(len(some)), "biases", workers):
        sums = [(a + c, b + d) for (a, b), (c, d) in zip(sums, means, strict=True)] if sums else means
    result = dict(rounded)
    for layer, (fp32, int8) in zip(layers, sums, strict=True):
        weights, source = rounded[layer.name], sources[layer.name]
        integers = layer.rows(weights.integers.astype(np.float32)).astype(np.float64) * weights.scales[:, None]
        gain = _product(layer, layer.rows(layer.weight).astype(np.float64), fp32 / len(some))
        gain -= _product(layer, integers, int8 / len(some))
        moved = replace(layer, bias=(gain + (0 if layer.bias is None else layer.bias)).astype(np.float32))
        result[layer.name] = replace(weights, bias=bias(moved, source, weights.scales, int_bias))
    return result


def _has_bias(layer: Layer) -> bool:
    """Can it take one, and is it a linear layer or a convolution over height and width?"""
    return layer.node.op_type == "Gemm" or (layer.node.op_type == "Conv" and layer.weight.ndim == 4)


def _means(values: Floats, source: Grid, reads: Reads | None) -> tuple[Doubles, Doubles]:
    """What each weight multiplies on the mean: in fp32 and quantized, fp64 of the shape (channels * kernel,).

    Args:
        values: What the layer reads, of shape (1, C, H, W) or (…, C).
        source: Its grid.
        reads: A convolution's; None: of a linear layer.
    """
    fp32, int8 = (
        reads.means(of[0]).reshape(-1) if reads else of.reshape(-1, of.shape[-1]).mean(axis=0, dtype=np.float64)
        for of in (values, source.fake(values))
    )
    return fp32, int8


def _product(layer: Layer, rows: Doubles, means: Doubles) -> Doubles:
    """The mean of each output."""
    grouped = rows.reshape(layer.groups, -1, rows.shape[1])
    product: Doubles = np.einsum("gow,gw->go", grouped, means.reshape(layer.groups, -1)).reshape(-1)
    return product
