"""The scales that a model was trained with, as fp32.onnx carries them from export to calibrate, under a key of its metadata.

They are kept by the weights of the layer that they belong to: names are others in each format, and where a layer's weights
were changed on the way (a batch norm folded into them, channels scaled), its scales are no longer true and find no layer.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from octet.core.errors import OctetError
from octet.core.onnx_bytes import parse

COARSER = 1.25  # times the trained steps that an engine's integers may have, at most
_KEY = "octet.trained_scales"


@dataclass(frozen=True)
class Grid:
    """The integers of what a layer reads: x is round(x / scale) + zero_point, from low to high.

    Args:
        scale: The step between two of them.
        zero_point: The integer of 0.
        low: The least integer.
        high: The largest.
    """

    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def range(self) -> tuple[float, float]:
        """The least value and the largest."""
        return (self.low - self.zero_point) * self.scale, (self.high - self.zero_point) * self.scale


@dataclass(frozen=True)
class TrainedScales:
    """Those of one layer.

    Args:
        weights_sha256: The checksum of its weights; see weights_sha256().
        weights: The step between two integers of its weights, one an output channel or one for all; None: it has none that ncnn
            can have.
        largest: The largest magnitude of the weights' integers.
        input: Of what it reads; None: it has none.
    """

    weights_sha256: str
    weights: list[float] | None
    largest: int
    input: Grid | None


def weights_sha256(rows: npt.NDArray[np.generic]) -> str:
    """The checksum of a layer's weights.

    Args:
        rows: One row an output channel, of shape (O, n).
    """
    shape = "x".join(map(str, rows.shape))
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(rows, np.float32).tobytes()).hexdigest()


def of_layers(
    scales: Sequence[TrainedScales], layers: Iterable[tuple[str, npt.NDArray[np.generic]]]
) -> dict[str, TrainedScales]:
    """By layer, the scales that belong to its weights; where layers have the same ones, in their order.

    Args:
        scales: Those that a model carries.
        layers: Their names and weights, one row an output channel, of shape (O, n); not looked at where there are no scales.
    """
    by_weights: dict[str, list[TrainedScales]] = defaultdict(list)
    for one in scales:
        by_weights[one.weights_sha256].append(one)
    found = {}
    for name, rows in layers if by_weights else ():
        if alike := by_weights.get(weights_sha256(rows)):
            found[name] = alike.pop(0)
    return found


def with_trained_scales(data: bytes, scales: Sequence[TrainedScales]) -> bytes:
    """The bytes of an ONNX model that carries the scales."""
    model = onnx.ModelProto.FromString(data)
    entry = model.metadata_props.add()
    entry.key, entry.value = _KEY, json.dumps([asdict(one) for one in scales], sort_keys=True)
    carrying: bytes = model.SerializeToString(deterministic=True)
    return carrying


def read(data: bytes, where: str) -> list[TrainedScales]:
    """The scales that an ONNX model carries; none where it was not trained with any.

    Args:
        data: The bytes of fp32.onnx.
        where: Its file, for errors.

    Raises:
        OctetError: They, or the model, are damaged.
    """
    if _KEY.encode() not in data:
        return []
    model = parse(data, f"{where}: not an ONNX model, or damaged; run the stage export again")
    texts = [entry.value for entry in model.metadata_props if entry.key == _KEY]
    try:
        scales = [_scales(one) for text in texts for one in json.loads(text)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        scales = [None]
    if None in scales:
        raise OctetError(f"{where}: the scales that the model was trained with are damaged; run the stage export again")
    return [one for one in scales if one]


def _scales(of: dict[str, Any]) -> TrainedScales | None:
    """One layer's; None where a number cannot be."""
    grid = Grid(**of["input"]) if of["input"] is not None else None
    one = TrainedScales(**of | {"input": grid})
    steps = [*(one.weights or []), *([grid.scale] if grid else [])]
    integers = [one.largest, *([grid.zero_point, grid.low, grid.high] if grid else [])]
    fits = all(type(step) is float and 1e-30 < step < 1e30 for step in steps)
    return one if fits and all(type(k) is int and abs(k) < 2**31 for k in integers) else None
