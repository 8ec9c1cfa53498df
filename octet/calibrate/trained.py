"""The scales of a model that was trained with fake quantization take the place of calibrated ones.

ncnn's integers go from -127 to 127 around 0, or, where the target has zero points, from 0 in 254 steps. What a scale of a QDQ
model means there:

- int8 around 0 (zero point 0), or uint8 around 128: the same steps; -128 becomes -127.
- never negative (uint8 from 0, int8 from -128): the same steps where there is a zero point, and 254 of 255.
- where ncnn has more steps than the file (half of a grid around 0, and a zero point): the same range, in finer ones.
- where ncnn's would be coarser by more than a quarter (all 8 bits on one side of 0, and no zero point; HardSwish, SiLU): not
  taken. A calibrator, which may cut off what is rare, loses less there than the same range in 127 steps.
- weights around 0: the same integers. Not where the kernel takes 6 bits (Winograd): these stay as calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from octet.calibrate.job import Job
from octet.calibrate.observe import asymmetric_blobs
from octet.core.files import read_bytes
from octet.core.registry import computing_calibrators
from octet.core.trained_scales import COARSER, Grid, TrainedScales, of_layers, read
from octet.graph.layers import integer, quantizable
from octet.graph.origins import origins
from octet.graph.scales import weight_scale_count
from octet.graph.targets import Target
from octet.graph.zero_points import LEVELS
from octet.ncnn.layer import Layer
from octet.ncnn.table import Table


def trained_scales(job: Job) -> dict[str, TrainedScales]:
    """By layer, the scales that the model was trained with, found by the layer's weights; none where a table is the user's own.

    Args:
        job: What is calibrated.

    Raises:
        OctetError: fp32.onnx is missing or damaged.
    """
    if job.onnx is None or job.settings.method not in computing_calibrators():
        return {}
    handed = read(read_bytes(job.onnx, "the stage export makes it"), str(job.onnx))
    return of_layers(
        handed,
        (
            (layer.name, layer.weights["weight"].data.reshape(integer(layer, "num_output"), -1))
            for layer in quantizable(job.net.layers)
        ),
    )


def take(job: Job, trained: Mapping[str, TrainedScales], calibrated: Table) -> Table:
    """The table with the trained scales where there are some.

    Args:
        job: What was calibrated.
        trained: By layer, the scales that the model was trained with.
        calibrated: The scales of all layers.
    """
    inputs, weights = dict(calibrated.inputs), dict(calibrated.weights)
    inputs |= {name: np.float32(127 / threshold) for name, threshold in _thresholds(job, trained).items()}
    for layer in quantizable(job.net.layers):
        one = trained.get(layer.name)
        if one and one.weights and _fits(one, layer, job.target):
            steps = np.array(one.weights, np.float32)
            weights[layer.name] = np.broadcast_to(np.float32(1) / steps, (weight_scale_count(layer),)).copy()
    return replace(calibrated, inputs=inputs, weights=weights)


def trained_remark(job: Job, trained: Mapping[str, TrainedScales]) -> list[str]:
    """What a user should know: whose scales are the model's own, and whose are not; nothing where none are."""
    if not trained:
        return []
    names = [layer.name for layer in quantizable(job.net.layers)]
    of_inputs = _thresholds(job, trained)
    others = [name for name in names if name not in of_inputs]
    rest = f"; calibrated: {', '.join(others)}" if others else ""
    return [f"scales that the model was trained with: of what {len(of_inputs)} of {len(names)} layers read{rest}"]


def _thresholds(job: Job, trained: Mapping[str, TrainedScales]) -> dict[str, float]:
    """By layer, the threshold of what it reads, where the trained one is taken."""
    layers = {layer.name: layer for layer in quantizable(job.net.layers)}
    origin, with_zero_point = origins(job.net), asymmetric_blobs(job.net, job.target)
    grids = {origin[layers[name].inputs[0]]: one.input for name, one in trained.items() if one.input}
    result = {}
    for name, layer in layers.items():
        blob = origin[layer.inputs[0]]  # what one layer reads with a scale, all read with it
        threshold = _threshold(grids[blob], blob in with_zero_point) if blob in grids else None
        if threshold is not None:
            result[name] = threshold
    return result


def _threshold(grid: Grid, has_zero_point: bool) -> float | None:
    """The largest magnitude that ncnn's integers reach: so that its steps are the grid's, or finer; None where they cannot be."""
    levels = LEVELS if has_zero_point else 127
    count = max(grid.high - grid.zero_point, grid.zero_point - grid.low)
    if count > COARSER * levels:
        return None
    return (levels if levels <= count <= levels + 1 else count) * grid.scale


def _fits(one: TrainedScales, layer: Layer, target: Target) -> bool:
    """Are the weights' scales for as many bits as the kernel takes?"""
    levels = target.weight_levels(layer)
    count = len(one.weights or [])
    return (
        count in (1, weight_scale_count(layer))
        and one.largest <= levels + (levels == 127)
        and (levels < 127 or one.largest > 31)
    )
