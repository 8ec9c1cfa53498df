"""One pass of ncnn over the calibration images: histograms of what the layers read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.calibrate.histogram import Histogram
from octet.core.errors import OctetError
from octet.core.parallel import map_shards
from octet.graph import zero_points
from octet.graph.layer_types import QUANTIZABLE, UNCALIBRATED
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.graph.targets import Target
from octet.ncnn.engine import Engine, Floats
from octet.ncnn.net import Net
from octet.ncnn.side_by_side import TOGETHER, images_together


def histograms(
    net: Net,
    images: Sequence[npt.NDArray[np.float32]],
    workers: int | None = None,
    scheduler: str | None = None,
) -> dict[str, Histogram]:
    """The histogram of every blob that a quantizable layer reads, over all images; what a Split copies counts once.

    Args:
        net: The fp32 network.
        images: Network inputs, fp32 of shape (C, H, W).
        workers: As in octet.core.parallel; each shard adds up its own. The result does not depend on it.
        scheduler: As in octet.core.parallel.

    Returns:
        By the blob's name, that of its origin (octet.graph.origins), in the network's order.

    Raises:
        OctetError: The network has no layer that can be int8, or a blob has values that are not finite.
    """
    origin = origins(net)
    blobs = list(dict.fromkeys(origin[layer.inputs[0]] for layer in quantizable(net.layers)))
    if not blobs and not any(layer.type in UNCALIBRATED for layer in net.layers):
        raise OctetError(f"fp32.param: has no layer that can be int8 ({', '.join(QUANTIZABLE + UNCALIBRATED)})")
    if not blobs:
        return {}
    engine = Engine.of(net)
    # ncnn gives a blob back before a Split of it is computed, and never after.
    computed = [blob for layer in net.layers for blob in layer.outputs if blob in set(blobs)]

    def of_images(numbers: range, inputs: Sequence[Floats]) -> list[Histogram]:
        together, _kept = engine.together(inputs)
        result = {}
        for blob in computed:
            each = [_histogram(mat, blob, k) for mat, k in zip(together.extract(blob), numbers, strict=True)]
            result[blob] = reduce(Histogram.merge, each)
        return [result[blob] for blob in blobs]

    def of_block(block: range) -> list[Histogram]:
        inputs = [images[k] for k in block]
        size = images_together(inputs[0])
        return reduce(_merge, (of_images(block[k:][:size], inputs[k:][:size]) for k in range(0, len(block), size)))

    def of_shard(shard: range) -> list[Histogram]:
        return reduce(_merge, (of_block(shard[k:][:TOGETHER]) for k in range(0, len(shard), TOGETHER)))

    with map_shards(of_shard, len(images), "calibrate", workers, scheduler) as shards:
        merged = reduce(_merge, shards)
    return dict(zip(blobs, merged, strict=True))


def asymmetric_blobs(net: Net, target: Target) -> set[str]:
    """The blobs, by their origins, that this target's int8 layers read with a zero point and zero_points.LEVELS."""
    if not target.asymmetric:
        return set()
    int8, origin = target.int8_layers(net), origins(net)
    inputs = {layer.name: origin[layer.inputs[0]] for layer in net.layers if layer.name in int8}
    return {inputs[name] for name in zero_points.with_zero_point(net, inputs)}


def _histogram(mat: Any, blob: str, k: int) -> Histogram:
    try:
        return Histogram.of(np.asarray(mat))
    except ValueError:
        raise OctetError(f"fp32.param: blob '{blob}' has values that are not finite on calibration image {k}") from None


def _merge(a: list[Histogram], b: list[Histogram]) -> list[Histogram]:
    """Two shards' histograms, blob by blob; the first takes in the second."""
    return [mine.merge(other) for mine, other in zip(a, b, strict=True)]
