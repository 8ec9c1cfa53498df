"""Zero points: all 8 bits for the outputs of ReLU, with ncnn's symmetric kernels as they are.

ncnn's int8 is symmetric: an integer q stands for q / scale, from -127 to 127. ReLU's outputs are never negative and use
only half of that. With a zero point z, where q stands for (q - z) / scale, they use all of it, twice as finely (Jacob et
al., «Quantization and training of neural networks for efficient integer-arithmetic-only inference», CVPR 2018, section
2.3). Here z is always -127, and it costs nothing: it is a constant, c = 127 / scale = threshold / 2 in values, and
constants go into biases.

    x  = relu(a)           ->  x' = clip(a - c, -c, ...)         a's bias takes up -c
    y  = weight * x + b    ->  y  = weight * x' + (b + c * sum(weight))        with weight as ncnn's integers give it
    z  = d(v) + x          ->  z  = (d(v) + c) + x'              d: the layer that makes the sum's other operand

Zero stays exact, so that borders stay exact: they are filled with -127 (the parameter pad_value, in integers where the
layer is int8). Where x leaves its layer as int8, the clamp to -127 is the ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octet.graph.layers import (
    assign,
    clip_range,
    drop_activation,
    integer,
    is_clip,
    is_int8,
    is_linear,
    pads,
    set_clip,
)
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net

ZERO_POINT = -127  # the integer that stands for 0
LEVELS = 254  # the steps from there to 127
# ncnn pads int8 with this float as an integer. Its packed x86 code ORs the integer's shifts by whole bytes, which is
# right for 129 = 0x81 alone; everywhere else the low byte counts, and 0x81 is -127 (Padding_x86::forward_int8).
_PAD_INT8 = 129
Gain = npt.NDArray[np.float64] | float  # of a bias
Producers = Mapping[str, Layer]
Consumers = Mapping[str, list[Layer]]


@dataclass(frozen=True)
class Region:
    """All that the outputs of one ReLU reach.

    Args:
        relu: The layer that applies it.
        biased: The layer whose bias comes before it: the same one where the ReLU is fused into it.
        readers: The layers that multiply the values by weights.
        addends: The layers whose outputs are added to the values.
    """

    relu: Layer
    biased: Layer
    readers: list[Layer]
    addends: list[Layer]


def regions(net: Net, scale: Callable[[Layer], Hashable | None]) -> list[Region]:
    """Where a zero point is possible: all that the values reach can take it up, at least one layer among that is int8,
    and all its int8 layers have one scale.

    Args:
        net: The network.
        scale: What stands for a layer's input scale; None for a layer in fp32.
    """
    producers, consumers = net.producers(), net.consumers()
    possible = []
    for relu in net.layers:
        biased = _bias_before(relu, producers, consumers) if _limit(relu) is not None else None
        reached = _reach(relu.outputs[0], producers, consumers) if biased else None
        if biased and reached:
            region = Region(relu, biased, *reached)
            if len({scale(layer) for layer in region.readers} - {None}) == 1:
                possible.append(region)
    return possible


def with_zero_point(net: Net, scales: Mapping[str, Hashable]) -> set[str]:
    """The int8 layers whose inputs get a zero point.

    Args:
        net: The network.
        scales: What stands for the input scale of each int8 layer, by its name.

    Returns:
        The layers' names.
    """
    possible = regions(net, lambda layer: scales.get(layer.name))
    return {layer.name for region in possible for layer in region.readers if layer.name in scales}


def apply_zero_points(net: Net) -> list[Layer]:
    """Gives the activations of a model zero points, in place, wherever that is possible.

    Its layers are int8 already, and no output is requantized yet. Input scales, so far 127 / threshold, double with it.

    Returns:
        The int8 layers whose inputs have one.
    """

    def scale(layer: Layer) -> np.float32 | None:
        return layer.weights["input_scale"].data[0] if is_int8(layer) else None

    doubled = []
    for region in regions(net, scale):
        twice = np.float32(2) * next(s for s in map(scale, region.readers) if s is not None)
        if np.isfinite(twice):
            doubled.append((region, twice))
    gains: dict[str, Gain] = {}  # by layer
    for region, input_scale in doubled:
        for name, gain in _apply(region, input_scale):
            gains[name] = gains.get(name, 0) + gain
    for layer in net.layers:
        if layer.name in gains:
            add_to_bias(layer, gains[layer.name])
    return [layer for region, _ in doubled for layer in region.readers if is_int8(layer)]


def drop_clip(layer: Layer, scale: np.float32) -> None:
    """Takes out the clip of a layer that gives int8, where the clamp to -127…127 does the same.

    Args:
        layer: A layer with a requantized output; it is changed.
        scale: Its output's scale.
    """
    low, high = clip_range(layer) or (-np.inf, np.inf)
    if np.isfinite(low) and round(low * float(scale)) == ZERO_POINT and high * float(scale) >= 127:
        drop_activation(layer)


def add_to_bias(layer: Layer, gain: npt.NDArray[np.float32] | Gain) -> None:
    """Adds to a layer's bias; one without a bias gets one."""
    outputs = integer(layer, "num_output")
    bias = layer.weights["bias"].data.astype(np.float64) if "bias" in layer.weights else np.zeros(outputs)
    assign(layer, bias_term=1)
    layer.weights["bias"] = Tensor((bias + gain).astype(np.float32))


def _apply(region: Region, scale: np.float32) -> list[tuple[str, Gain]]:
    """Gives one region its zero point; returns what the biases of its layers gain."""
    constant, limit = -ZERO_POINT / float(scale), _limit(region.relu)
    assert limit is not None, "regions() begins with no other layer"
    gains: list[tuple[str, Gain]] = []
    for layer in region.readers:
        gains.append((layer.name, constant * _sums(layer)))
        if pads(layer):
            assign(layer, pad_value=f"{_PAD_INT8 if is_int8(layer) else -constant:.8e}")
        if is_int8(layer):
            layer.weights["input_scale"] = Tensor(np.array([scale], np.float32))
    gains += [(layer.name, constant) for layer in region.addends]
    gains.append((region.biased.name, -constant))
    set_clip(region.relu, -constant, limit - constant)
    return gains


def _limit(layer: Layer) -> float | None:
    """The upper limit of a layer whose outputs are ReLU's or ReLU6's; None for any other."""
    limits = clip_range(layer) if is_clip(layer) or is_linear(layer) else None
    return limits[1] if limits and limits[0] == 0 else None


def _bias_before(relu: Layer, producers: Producers, consumers: Consumers) -> Layer | None:
    """The layer whose bias comes just before the ReLU, directly or as an operand of a sum."""
    if is_linear(relu):
        return relu
    before = producers[relu.inputs[0]]
    if len(consumers[relu.inputs[0]]) > 1:
        return None
    if _is_sum(before):
        return next((a for a in map(producers.__getitem__, before.inputs) if _is_addend(a, consumers)), None)
    return before if _is_addend(before, consumers) else None


def _reach(blob: str, producers: Producers, consumers: Consumers) -> tuple[list[Layer], list[Layer]] | None:
    """The readers and addends of a region, from this blob on; None where another kind of layer reads its values, or none
    does: the network's output.
    """
    readers: list[Layer] = []
    addends: list[Layer] = []
    if not consumers.get(blob):
        return None
    for layer in consumers[blob]:
        if _carries(layer):
            for reached in (_reach(output, producers, consumers) for output in layer.outputs):
                if reached is None:
                    return None
                readers += reached[0]
                addends += reached[1]
        elif is_linear(layer):
            readers.append(layer)
        elif _is_sum(layer):
            addend = producers[layer.inputs[layer.inputs[0] == blob]]
            if not _is_addend(addend, consumers):
                return None
            addends.append(addend)
        else:
            return None
    return readers, addends


def _carries(layer: Layer) -> bool:
    """Does a constant added to this layer's input come out of it as it is?"""
    if layer.type == "Pooling":  # an average that counts no border, or a maximum
        mode = integer(layer, "pad_mode")
        counted = mode > 1 or (bool(integer(layer, "avgpool_count_include_pad")) and (mode != 1 or pads(layer)))
        whole = integer(layer, "global_pooling") or integer(layer, "adaptive_pooling")
        return integer(layer, "pooling_type") == 0 or bool(whole) or not counted
    return layer.type in ("Split", "Flatten", "Reshape", "Permute", "Squeeze", "ExpandDims", "Noop")


def _is_sum(layer: Layer) -> bool:
    if layer.type != "BinaryOp" or len(set(layer.inputs)) != 2:
        return False
    return integer(layer, "op_type") == 0 and not integer(layer, "with_scalar")


def _is_addend(layer: Layer, consumers: Consumers) -> bool:
    """Has it a bias of its own and no activation, and one reader?"""
    plain = is_linear(layer) and not integer(layer, "activation_type")
    return plain and len(consumers.get(layer.outputs[0], [])) == 1


def _sums(layer: Layer) -> npt.NDArray[np.float64]:
    """The sum of each output's weights, in double precision, as ncnn multiplies with them."""
    outputs = integer(layer, "num_output")
    sums: npt.NDArray[np.float64] = layer.weights["weight"].data.astype(np.float64).reshape(outputs, -1).sum(axis=1)
    if not is_int8(layer):
        return sums
    scales = layer.weights["weight_scales"].data.astype(np.float64)
    return sums / np.repeat(scales, outputs // scales.size)
