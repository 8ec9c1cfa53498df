"""Cross-layer equalization: channels of very different ranges, between two layers, made alike.

What a layer makes of channel i may be multiplied by a factor, if the next layer's weights for channel i are divided by
it: ReLU and pooling let factors through. The factor that makes the largest weights of both layers equal,
sqrt(r2 / r1) with r1 and r2 the largest magnitudes in the first layer's row i and the second's column i, is the best one
for weights of one scale a layer: Nagel et al., «Data-free quantization through weight equalization and bias correction»,
ICCV 2019, section 4.1. Here it is rounded to a power of two, so that the fp32 network computes the same bits.

With one scale for every channel, as ncnn has them, there is less to win: only the shared scale of the activations between
the two. ReLU6 does not let factors through. As one limit has to do for all channels, it becomes the largest that any
channel needs, and channels with a smaller factor are clipped later than they were: the one thing that is not exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from octet.core.folder import ModelFolder
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, load_net

_WEIGHTED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
ROUNDS = 20  # at most; chains of layers take a few, until no factor changes


@dataclass
class Pair:
    """Two layers of which the second alone reads the first, and what lies between: activations and pooling, in order.

    limits: ReLU6's, by channel, as they would have to be, fp64; None without one.
    """

    first: Layer
    second: Layer
    between: list[Layer] = field(default_factory=list)
    limits: np.ndarray | None = None


def fp32_net(folder: ModelFolder, equalized: bool) -> Net:
    """The fp32 network that is quantized: convert's, equalized where that is wanted."""
    net = load_net(folder.fp32.param, folder.fp32.bin, "the stage convert makes it")
    return equalize(net) if equalized else net


def equalize(net: Net) -> Net:
    """The equalized network; layers that have no partner stay as they are."""
    result = net.copy()
    found = pairs(result)
    for _ in range(ROUNDS):
        if not any([_scale(pair) for pair in found]):
            break
    for pair in found:
        if pair.limits is not None:
            _set_limit(pair, float(pair.limits.max()))
    return result


def pairs(net: Net) -> list[Pair]:
    """Where factors can go from one layer into the next."""
    producers, consumers, found = net.producers(), net.consumers(), []
    for second in net.layers:
        between, maker = [], second
        while maker is second or maker in between:
            blob = maker.inputs[0] if maker.inputs else None
            if blob is None or len(consumers[blob]) > 1:
                break
            maker = producers[blob]
            if _lets_through(maker):
                between.insert(0, maker)
        if _weighted(second) and maker is not second and _weighted(maker) and _activation(maker) is not None:
            first = maker
            channels = first.int(0)
            if _columns(second, channels) is not None and first.type != "InnerProduct":
                limits = [_activation(layer) for layer in (first, *between)]
                finite = [limit for limit in limits if limit not in (None, np.inf)]
                pair = Pair(first, second, between, np.full(channels, min(finite)) if finite else None)
                found.append(pair)
    return found


def _scale(pair: Pair) -> bool:
    """Equalizes one pair; whether anything changed."""
    rows = pair.first.weights["weight"].data.reshape(pair.first.int(0), -1)
    columns = _columns(pair.second, len(rows))
    r1, r2 = np.abs(rows).max(axis=1).astype(np.float64), np.abs(columns).max(axis=(0, 2)).astype(np.float64)
    live = (r1 > 0) & (r2 > 0)
    exponent = np.zeros(len(rows), int)
    exponent[live] = np.rint(np.log2(r2[live] / r1[live]) / 2).astype(int)
    if not exponent.any():
        return False
    factor = np.ldexp(np.float32(1), exponent)
    for role in ("weight", "bias"):
        tensor = pair.first.weights.get(role)
        if tensor is not None:
            scaled = tensor.data.reshape(len(rows), -1) * factor[:, None]
            pair.first.weights[role] = type(tensor)(scaled.reshape(-1), tensor.tag, tensor.padding)
    tensor = pair.second.weights["weight"]
    pair.second.weights["weight"] = type(tensor)((columns / factor[:, None]).reshape(-1), tensor.tag, tensor.padding)
    if pair.limits is not None:
        pair.limits = pair.limits * factor
    return True


def _columns(layer: Layer, channels: int) -> np.ndarray | None:
    """The layer's weights by input channel, shape (rows, channels, weights); None where the channels are mixed up."""
    weight = layer.weights["weight"].data
    if layer.type == "ConvolutionDepthWise":
        return weight.reshape(1, channels, -1) if layer.int(7) == channels == layer.int(0) else None
    each = weight.size // layer.int(0)
    return weight.reshape(layer.int(0), channels, -1) if each % channels == 0 else None


def _weighted(layer: Layer) -> bool:
    tensor = layer.weights.get("weight")
    return layer.type in _WEIGHTED and tensor is not None and tensor.data.dtype == np.float32


def _activation(layer: Layer) -> float | None:
    """The upper limit of what a layer's activation lets through unchanged, inf without one; None where a factor would
    not come through.
    """
    if layer.type == "Clip":
        low, high = (float(layer.params.get(key, sign * np.inf)) for key, sign in ((0, -1), (1, 1)))
        return high if low == 0 else None
    if layer.type in _WEIGHTED and layer.int(9) == 3:
        low, high = layer.floats(10)
        return high if low == 0 else None
    return np.inf if layer.type not in _WEIGHTED or layer.int(9) in (0, 1) else None


def _lets_through(layer: Layer) -> bool:
    if layer.type == "ReLU":
        return not float(layer.params.get(0, 0))
    return layer.type == "Pooling" or (layer.type == "Clip" and _activation(layer) is not None)


def _set_limit(pair: Pair, limit: float) -> None:
    for layer in (pair.first, *pair.between):
        if layer.type == "Clip":
            layer.params[1] = f"{limit:.8e}"
        elif layer.type in _WEIGHTED and layer.int(9) == 3:
            layer.params.pop(10, None)
            layer.params[-23310] = f"2,0.00000000e+00,{limit:.8e}"
