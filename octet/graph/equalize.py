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
import numpy.typing as npt

from octet.core.folder import ModelFolder
from octet.graph.layers import clip_range, groups, integer, is_clip, kind, set_clip
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net, load_net

ROUNDS = 20  # at most; chains of layers take a few, until no factor changes


@dataclass
class Pair:
    """Two layers of which the second alone reads the first.

    Args:
        first: The layer whose output channels are scaled.
        second: The layer that scales them back.
        between: Activations and pooling that lie between, in order.
        limits: ReLU6's as they would have to be, fp64 of shape (channels,); None without one.
    """

    first: Layer
    second: Layer
    between: list[Layer] = field(default_factory=list)
    limits: npt.NDArray[np.float64] | None = None


def fp32_net(folder: ModelFolder, equalized: bool) -> Net:
    """The fp32 network that is quantized: convert's, equalized where that is wanted."""
    net = load_net(folder.fp32.param, folder.fp32.bin, "the stage convert makes it")
    return equalize(net) if equalized else net


def equalize(net: Net) -> Net:
    """Scales the channels between two layers alike, so that one scale fits all of them; the network computes the same.

    Cross-layer equalization: Nagel et al., «Data-free quantization through weight equalization and bias correction»,
    ICCV 2019, section 4.1.

    Args:
        net: The fp32 network; it stays as it is.

    Returns:
        The equalized network; layers that have no partner are as they were.
    """
    result = net.copy()
    partners = pairs(result)
    for _ in range(ROUNDS):
        if not any([_scale(pair) for pair in partners]):
            break
    for pair in partners:
        if pair.limits is not None:
            _set_limit(pair, float(pair.limits.max()))
    return result


def pairs(net: Net) -> list[Pair]:
    """Where factors can go from one layer into the next."""
    producers, consumers, partners = net.producers(), net.consumers(), []
    for second in net.layers:
        if not _equalizes(second, "in"):
            continue
        first, between = _before(second, producers, consumers)
        if first is None or not _equalizes(first, "out") or _limit(first) is None:
            continue
        channels = integer(first, "num_output")
        if _columns(second, channels) is None:
            continue
        limits = [_limit(layer) for layer in (first, *between) if layer.type != "Pooling"]
        finite = [limit for limit in limits if limit is not None and limit != np.inf]
        partners.append(Pair(first, second, between, np.full(channels, min(finite)) if finite else None))
    return partners


def _scale(pair: Pair) -> bool:
    """Equalizes one pair; whether anything changed."""
    rows = pair.first.weights["weight"].data.reshape(integer(pair.first, "num_output"), -1)
    columns = _columns(pair.second, len(rows))
    assert columns is not None, "pairs() takes no other layers"
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
            pair.first.weights[role] = Tensor(scaled.reshape(-1), tensor.tag, tensor.padding)
    tensor = pair.second.weights["weight"]
    pair.second.weights["weight"] = Tensor((columns / factor[:, None]).reshape(-1), tensor.tag, tensor.padding)
    if pair.limits is not None:
        pair.limits = pair.limits * factor
    return True


def _before(
    second: Layer, producers: dict[str, Layer], consumers: dict[str, list[Layer]]
) -> tuple[Layer | None, list[Layer]]:
    """The layer behind which only this one comes, and the layers between the two that let factors through."""
    between: list[Layer] = []
    layer = second
    while layer.inputs and len(consumers[layer.inputs[0]]) == 1:
        layer = producers[layer.inputs[0]]
        if not _lets_through(layer):
            return layer, between
        between.insert(0, layer)
    return None, between


def _columns(layer: Layer, channels: int) -> npt.NDArray[np.float32] | None:
    """The layer's weights by input channel, shape (rows, channels, weights); None where the channels are mixed up."""
    weight, outputs = layer.weights["weight"].data, integer(layer, "num_output")
    if groups(layer) > 1:
        return weight.reshape(1, channels, -1) if groups(layer) == channels == outputs else None
    each = weight.size // outputs
    return weight.reshape(outputs, channels, -1) if each % channels == 0 else None


def _equalizes(layer: Layer, side: str) -> bool:
    tensor = layer.weights.get("weight")
    return side in kind(layer).equalizes and tensor is not None and tensor.data.dtype == np.float32


def _limit(layer: Layer) -> float | None:
    """Up to which value factors come through a layer's activation, inf without a limit; None where they do not."""
    limits = clip_range(layer)
    if limits is None or limits[0] not in (0, -np.inf):
        return None
    return limits[1] if limits[0] == 0 or limits[1] == np.inf else None


def _lets_through(layer: Layer) -> bool:
    return layer.type == "Pooling" or is_clip(layer)


def _set_limit(pair: Pair, limit: float) -> None:
    for layer in (pair.first, *pair.between):
        if layer.type == "Clip" or (layer is pair.first and _limit(layer) not in (None, np.inf)):
            set_clip(layer, 0.0, limit)
