"""Asymmetric activations: all 8 bits for the outputs of ReLU, with ncnn's kernels as they are.

ncnn's int8 is symmetric: an integer q stands for q / scale, from -127 to 127. ReLU's outputs are never negative and use
only half of that. Shifted by half the threshold they use all of it, twice as finely, and the shift costs nothing: it is a
constant, and constants go into biases (Jacob et al., «Quantization and training of neural networks for efficient
integer-arithmetic-only inference», CVPR 2018, section 2.3, where it is the zero point; here always -127).

    x  = relu(a)           ->  x' = clip(a - c, -c, ...)         c = threshold / 2, in the bias before the activation
    y  = weight * x + b    ->  y  = weight * x' + (b + c * sum(weight))        with weight as ncnn's integers give it
    z  = d(v) + x          ->  z  = (d(v) + c) + x'              d: the layer that makes the sum's other operand

Zero stays exact, so that borders stay exact: they are filled with -127 (layer parameter 18, in integers where the layer
is int8). Where x leaves its layer as int8, the clamp to -127 is the ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net

LEVELS = 254
_WEIGHTED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
_BIAS = {"Convolution": 5, "ConvolutionDepthWise": 5, "InnerProduct": 1}  # the parameter: has it a bias?
_BORDER = 18
_FLT_MAX = float(np.finfo(np.float32).max)
# ncnn pads int8 with this float as an integer. Its packed x86 code ORs the integer's shifts by whole bytes, which is
# right for 129 = 0x81 alone; everywhere else the low byte counts, and 0x81 is -127 (Padding_x86::forward_int8).
_ZERO = 129


@dataclass(frozen=True)
class Region:
    """What one ReLU's outputs reach. maker: the layer that applies it; bias: the one whose bias comes before it, the
    maker itself where it is fused; readers: the layers that weight the values; others: those that make the other
    operand where the values are added to something.
    """

    maker: Layer
    bias: Layer
    readers: list[Layer]
    others: list[Layer]


def regions(net: Net, key: Callable[[Layer], Hashable | None]) -> list[Region]:
    """Where a shift is possible: everything that the values reach can take it, at least one layer among that is int8,
    and all int8 layers have one scale. key: what stands for a layer's input scale; None for a layer in fp32.
    """
    producers, consumers = net.producers(), net.consumers()
    found = []
    for maker in net.layers:
        bias = _bias_before(maker, producers, consumers) if _limit(maker) is not None else None
        reached = _reach(maker.outputs[0], producers, consumers) if bias else None
        if bias and reached:
            region = Region(maker, bias, *reached)
            if len({key(layer) for layer in region.readers} - {None}) == 1:
                found.append(region)
    return found


def shifted(net: Net, scales: Mapping[str, Hashable]) -> set[str]:
    """The int8 layers whose inputs are shifted. scales: what stands for the input scale of each int8 layer."""
    found = regions(net, lambda layer: scales.get(layer.name))
    return {layer.name for region in found for layer in region.readers if layer.name in scales}


def shift(net: Net, is_int8: Callable[[Layer], bool]) -> None:
    """Shifts the activations of a model whose layers are int8 already, in place. Input scales, so far 127 / threshold,
    double where it does. Before outputs are requantized.
    """

    def scale(layer: Layer) -> np.float32 | None:
        return layer.weights["input_scale"].data[0] if is_int8(layer) else None

    more: dict[str, np.ndarray | float] = {}  # by layer: what its bias gains
    plan = []
    for region in regions(net, scale):
        doubled = np.float32(2) * next(s for s in map(scale, region.readers) if s is not None)
        if np.isfinite(doubled):
            plan.append((region, doubled, 127 / float(doubled)))
    for region, doubled, half in plan:
        for layer in region.readers:
            more[layer.name] = more.get(layer.name, 0) + half * _sums(layer, is_int8(layer))
            if layer.type != "InnerProduct" and _pads(layer):
                layer.params[_BORDER] = f"{_ZERO if is_int8(layer) else -half:.8e}"
            if is_int8(layer):
                layer.weights["input_scale"] = Tensor(np.array([doubled], np.float32))
        for layer in region.others:
            more[layer.name] = more.get(layer.name, 0) + half
        more[region.bias.name] = more.get(region.bias.name, 0) - half
        _clip(region.maker, -half, _limit(region.maker) - half)
    for layer in net.layers:
        if layer.name in more:
            add_to_bias(layer, more[layer.name])


def drop_activation(layer: Layer, scale: np.float32) -> None:
    """Takes out the clip of a shifted layer that gives int8 of this scale, where clamping to -127…127 does the same."""
    limits = layer.floats(10)
    if layer.int(9) == 3 and round(limits[0] * float(scale)) == -127 and limits[1] * float(scale) >= 127:
        del layer.params[9]
        layer.params.pop(-23310, None)
        layer.params.pop(10, None)


def _limit(layer: Layer) -> float | None:
    """The upper limit of a layer whose outputs are ReLU's or ReLU6's; None for any other."""
    if layer.type == "ReLU" and not float(layer.params.get(0, 0)):
        return _FLT_MAX
    if layer.type == "Clip" and float(layer.params.get(0, -_FLT_MAX)) == 0:
        return float(layer.params.get(1, _FLT_MAX))
    if layer.type in _WEIGHTED and "weight" in layer.weights:
        if layer.int(9) == 1:
            return _FLT_MAX
        if layer.int(9) == 3 and layer.floats(10)[0] == 0:
            return layer.floats(10)[1]
    return None


def _clip(layer: Layer, low: float, high: float) -> None:
    limits = [f"{low:.8e}", f"{high:.8e}" if high < _FLT_MAX / 2 else "3.402823e+38"]
    if layer.type in _WEIGHTED:
        layer.params.pop(10, None)
        layer.params |= {9: "3", -23310: f"2,{','.join(limits)}"}
    else:
        layer.type, layer.params = "Clip", dict(enumerate(limits))


def _bias_before(maker: Layer, producers: dict, consumers: dict) -> Layer | None:
    """The layer whose bias comes just before the ReLU, directly or as an operand of a sum."""
    if maker.type in _WEIGHTED:
        return maker
    before = producers[maker.inputs[0]]
    if len(consumers[maker.inputs[0]]) > 1:
        return None
    if _is_sum(before):
        return next((a for a in map(producers.get, before.inputs) if _is_affine(a, consumers)), None)
    return before if _is_affine(before, consumers) else None


def _reach(blob: str, producers: dict, consumers: dict) -> tuple[list[Layer], list[Layer]] | None:
    """The layers that weight this blob's values and those that make what is added to them; None where another kind of
    layer reads them, or none does: the network's output.
    """
    readers, others = [], []
    for layer in consumers.get(blob, []) or [None]:
        if layer is None:
            return None
        if _carries(layer):
            for reached in (_reach(output, producers, consumers) for output in layer.outputs):
                if reached is None:
                    return None
                readers += reached[0]
                others += reached[1]
        elif layer.type in _WEIGHTED and "weight" in layer.weights:
            readers.append(layer)
        elif _is_sum(layer):
            other = producers[layer.inputs[layer.inputs[0] == blob]]
            if not _is_affine(other, consumers):
                return None
            others.append(other)
        else:
            return None
    return readers, others


def _carries(layer: Layer) -> bool:
    """Does a constant added to this layer's input come out of it as it is?"""
    if layer.type == "Pooling":  # an average that counts no border, or a maximum
        borders = layer.int(5) != 1 or any(layer.int(key) for key in (3, 13, 14, 15))
        counted = layer.int(5) > 1 or (bool(layer.int(6)) and borders)
        return layer.int(0) == 0 or bool(layer.int(4)) or bool(layer.int(7)) or not counted
    return layer.type in ("Split", "Flatten", "Reshape", "Permute", "Squeeze", "ExpandDims", "Noop")


def _is_sum(layer: Layer) -> bool:
    return layer.type == "BinaryOp" and layer.int(0) == 0 and not layer.int(1) and len(set(layer.inputs)) == 2


def _is_affine(layer: Layer, consumers: dict) -> bool:
    """Has it a bias of its own and no activation, and one reader?"""
    return (
        layer.type in _WEIGHTED
        and "weight" in layer.weights
        and not layer.int(9)
        and len(consumers.get(layer.outputs[0], [])) == 1
    )


def _pads(layer: Layer) -> bool:
    return any(layer.int(key) for key in (4, 14, 15, 16))


def _sums(layer: Layer, int8: bool) -> np.ndarray:
    """The sum of each output's weights, in double precision, as ncnn multiplies with them."""
    outputs = layer.int(0)
    sums = layer.weights["weight"].data.astype(np.float64).reshape(outputs, -1).sum(axis=1)
    if not int8:
        return sums
    scales = layer.weights["weight_scales"].data.astype(np.float64)
    return sums / np.repeat(scales, outputs // scales.size)


def add_to_bias(layer: Layer, more: np.ndarray | float) -> None:
    """Adds to a layer's bias; one without a bias gets one."""
    bias = layer.weights["bias"].data.astype(np.float64) if "bias" in layer.weights else np.zeros(layer.int(0))
    layer.params[_BIAS[layer.type]] = "1"
    layer.weights["bias"] = Tensor((bias + more).astype(np.float32))
