"""What each channel reaches on calibration images, for octet.graph.channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from octet.core.parallel import map_ordered
from octet.graph.channels import channel_groups
from octet.ncnn.engine import Engine
from octet.ncnn.net import Net

Floats = npt.NDArray[np.float32]


def channel_ranges(net: Net, images: Sequence[Floats]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The least and the largest value of each channel of the tensors whose channels may be balanced.

    Args:
        net: The fp32 network.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        low and high, fp32 of shape (channels,), by the tensor's origin. They do not depend on the number of workers.
    """
    tensors = {blob for group in channel_groups(net) for blob in group.tensors}
    blobs = [
        blob for layer in net.layers for blob in layer.outputs if blob in tensors
    ]  # in this order they cost one pass
    engine, low, high = Engine.of(net), dict[str, Floats](), dict[str, Floats]()

    def of_image(k: int) -> list[tuple[Floats, Floats]]:
        rows = [np.asarray(values).reshape(len(values), -1) for values in engine.blobs(images[k], blobs)]
        return [(row.min(axis=1), row.max(axis=1)) for row in rows]

    for ranges in map_ordered(of_image, range(len(images)), "channels") if blobs else ():
        for blob, (least, largest) in zip(blobs, ranges, strict=True):
            low[blob] = np.minimum(low.get(blob, least), least)
            high[blob] = np.maximum(high.get(blob, largest), largest)
    return low, high
