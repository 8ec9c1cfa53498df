"""Calibration on ncnn's graph itself, in one pass over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from octet.calibrate.histogram import Histogram
from octet.calibrate.thresholds import LEVELS, METHODS
from octet.core.errors import OctetError
from octet.core.parallel import map_ordered, map_shards
from octet.graph import zero_points
from octet.graph.layer_types import QUANTIZABLE, UNCALIBRATED
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.graph.scales import add_attention, weight_scale_count
from octet.graph.targets import Target
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.rounding import round_int8
from octet.ncnn.table import Table


@dataclass(frozen=True)
class How:
    """method: a name in thresholds.METHODS; weights: 'absmax' or 'mse'; percentile: of method percentile, in percent."""

    method: str
    weights: str = "absmax"
    percentile: float = 99.99


def calibrate(net: Net, images: Sequence[np.ndarray], how: How, target: Target, workers: int | None = None) -> Table:
    """The table of a model. images: network inputs, fp32 of shape (C, H, W).

    The result does not depend on the number of workers.
    """
    return table(net, histograms(net, images, workers), how, target)


def table(net: Net, found: dict[str, Histogram], how: How, target: Target) -> Table:
    """The table from the histograms of all blobs that quantizable layers read."""
    asymmetric, origin = asymmetric_blobs(net, target), origins(net)
    blobs = list(found)

    def scale(k: int) -> np.float32:
        levels = zero_points.LEVELS if blobs[k] in asymmetric else LEVELS
        return input_scale(found[blobs[k]], how, levels)

    scales = dict(zip(blobs, map_ordered(scale, range(len(blobs)), "thresholds"), strict=True))
    made = Table()
    for layer in quantizable(net.layers):
        made.weights[layer.name] = weight_scales(layer, target, how.weights)
        made.inputs[layer.name] = scales[origin[layer.inputs[0]]]
    add_attention(made, net.layers)
    return made


def histograms(
    net: Net,
    images: Sequence[np.ndarray],
    workers: int | None = None,
    scheduler: str | None = None,
) -> dict[str, Histogram]:
    """The histogram of every blob that a quantizable layer reads, over all images; what a Split copies counts once.

    workers and scheduler: as in octet/parallel.py; each shard adds up its own.
    """
    origin = origins(net)
    blobs = list(dict.fromkeys(origin[layer.inputs[0]] for layer in quantizable(net.layers)))
    if not blobs and not any(layer.type in UNCALIBRATED for layer in net.layers):
        raise OctetError(f"fp32.param: has no layer that can be int8 ({', '.join(QUANTIZABLE + UNCALIBRATED)})")
    if not blobs:
        return {}
    engine = Engine.of(net)

    def one(k: int) -> list[Histogram]:
        found = []
        for blob, values in zip(blobs, engine.blobs(images[k], blobs), strict=True):
            try:
                found.append(Histogram.of(values))
            except ValueError:
                raise OctetError(
                    f"fp32.param: blob '{blob}' has values that are not finite on calibration image {k}"
                ) from None
        return found

    def work(shard: range) -> list[Histogram]:
        return reduce(merge, map(one, shard))

    with map_shards(work, len(images), "calibrate", workers, scheduler) as shards:
        merged = reduce(merge, shards)
    return dict(zip(blobs, merged, strict=True))


def merge(found: list[Histogram], more: list[Histogram]) -> list[Histogram]:
    """Two shards' histograms, blob by blob; the first takes in the second."""
    return [a.merge(b) for a, b in zip(found, more, strict=True)]


def asymmetric_blobs(net: Net, target: Target) -> set[str]:
    """The blobs, by their origins, that this target's int8 layers read with a zero point and zero_points.LEVELS."""
    if not target.asymmetric:
        return set()
    int8, origin = target.int8_layers(net), origins(net)
    inputs = {layer.name: origin[layer.inputs[0]] for layer in net.layers if layer.name in int8}
    return {inputs[name] for name in zero_points.with_zero_point(net, inputs)}


def weight_scales(layer: Layer, target: Target, how: str = "absmax") -> np.ndarray:
    """The weights' scales per output channel (per group for depthwise), fp32; 1 for a channel of zeros.

    absmax: levels / largest magnitude. mse: of 64 scales from that one up, the one with the least squared error; where
    weights have 6 bits, only as far as the largest still rounds to 31, since ncnn clamps at 127.
    """
    rows = layer.weights["weight"].data.astype(np.float32).reshape(weight_scale_count(layer), -1)
    levels = np.float32(target.weight_levels(layer))
    with np.errstate(divide="ignore"):
        scales = levels / np.abs(rows).max(axis=1)
    scales = np.where(np.isfinite(scales), scales, np.float32(1)).astype(np.float32)
    if how == "mse":
        best, error = scales, np.full(len(rows), np.inf)
        for factor in np.linspace(1, 1.6 if levels == 127 else 31.49 / 31, 64, dtype=np.float32):
            tried = (scales * factor)[:, None]
            lost = np.square(rows - round_int8(rows * tried) / tried).sum(axis=1)
            best = np.where(lost < error, tried[:, 0], best)
            error = np.minimum(error, lost)
        scales = best
    return scales


def input_scale(histogram: Histogram, how: How, levels: int = LEVELS) -> np.float32:
    """127 / threshold, fp32; 1 for an input that is always zero. levels: the integers that it will have, 127 or 254."""
    extra = (how.percentile,) if how.method == "percentile" else ()
    threshold = METHODS[how.method](histogram, levels, *extra)
    with np.errstate(over="ignore"):
        scale = np.float32(LEVELS / threshold) if threshold > 0 else np.float32(1)
    return scale if np.isfinite(scale) else np.float32(1)
