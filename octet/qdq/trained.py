"""The scales that a model was trained with, in an engine's int8 model: as octet.calibrate.trained for ncnn.

uint8 has nearly all that training had, so that steps are the same, or finer where training had fewer integers. A tensor without a
trained scale, as what a convolution gives, is calibrated; so is one whose integers stand for a ReLU and would not end where that
does, and one that would have coarser steps.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from octet.core import trained_scales
from octet.core.trained_scales import COARSER
from octet.qdq.grids import Grid
from octet.qdq.network import Network
from octet.qdq.placement import Placement


def trained_grids(network: Network, placement: Placement, symmetric: Collection[str]) -> dict[str, Grid]:
    """The grids of what an engine's int8 layers read, where the model was trained with some that the engine can have.

    Args:
        network: The fp32 network.
        placement: What is quantized of it.
        symmetric: The tensors that are int8 around 0.
    """
    absorbed = {str(node.output[0]): _top(network, node) for node in network.nodes if node.name in placement.absorbed}
    grids = {}
    for name in placement.layers:
        one, tensor = network.trained.get(name), placement.owner(network.layers[name].input)
        if one is None or one.input is None:
            continue
        grid = _around_0(one.input) if tensor in symmetric else _uint8(one.input, absorbed.get(tensor))
        if grid is not None:
            grids[tensor] = grid
    return grids


def _around_0(trained: trained_scales.Grid) -> Grid | None:
    """Integers from -127 to 127."""
    count = max(trained.high - trained.zero_point, trained.zero_point - trained.low)
    if count > COARSER * 127:
        return None
    return Grid(np.float32(trained.scale * (1 if 127 <= count <= 128 else count / 127)), 0, True)


def _uint8(trained: trained_scales.Grid, top: float | None) -> Grid | None:
    """Integers from 0 to 255. top: where the activation ends that they stand for; None: they stand for none."""
    count = trained.high - trained.low
    if count > COARSER * 255 or (top is not None and trained.low < trained.zero_point):
        return None
    steps = 1 if 254 <= count <= 255 else count / 255
    grid = Grid(np.float32(trained.scale * steps), round((trained.zero_point - trained.low) / steps))
    return grid if top is None or 255 * float(grid.scale) <= top * (1 + 1e-4) else None


def _top(network: Network, node: object) -> float:
    """Where a ReLU ends, which may have an upper limit."""
    names = list(getattr(node, "input", []))
    return float(network.constants[names[2]]) if len(names) > 2 and names[2] else math.inf
