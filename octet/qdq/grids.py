"""From a tensor's range to its scale and zero point, by Octet's calibrators."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octet.calibrate.thresholds import Ends, Threshold
from octet.core.parallel import map_ordered
from octet.qdq.ranges import Range

if TYPE_CHECKING:
    from octet.core.params import Calibrate


@dataclass(frozen=True)
class Grid:
    """The integers of a tensor: x is round(x / scale) + zero_point, clipped to their type.

    >>> Grid(np.float32(0.5), 128).fake(np.float32([0.3, -70, 1])).tolist()
    [0.5, -64.0, 1.0]

    Args:
        scale: The step between two of them.
        zero_point: The integer of 0.
        symmetric: Are they int8 from -127 on, and not uint8?
    """

    scale: np.float32
    zero_point: int
    symmetric: bool = False

    @property
    def dtype(self) -> type[np.uint8] | type[np.int8]:
        """Their type."""
        return np.int8 if self.symmetric else np.uint8

    def integers(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The integers of values, of the same shape, as QuantizeLinear gives them: half goes to even."""
        return self._shifted(values).astype(np.int64) + self.zero_point

    def fake(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What is left of values, of the same shape, behind a QuantizeLinear and a DequantizeLinear."""
        result = self._shifted(values)
        result *= self.scale
        return result

    def _shifted(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The integers less the zero point, as whole numbers in fp32."""
        low, high = (-128, 127) if self.symmetric else (0, 255)
        result: npt.NDArray[np.float32] = np.rint(values / self.scale)
        return np.clip(result, np.float32(low - self.zero_point), np.float32(high - self.zero_point), out=result)


def grid(
    seen: Range, choose: Threshold, settings: Calibrate, symmetric: bool = False, ends: Ends | None = None
) -> Grid:
    """The grid of a tensor.

    A calibrator chooses a threshold for magnitudes. What lies further from zero than that on either side is clipped; a
    side that ends before it ends where it ends. So ReLU's outputs have all 255 steps, and SiLU's nearly all.

    Args:
        seen: What the tensor reaches.
        choose: The calibrator's threshold.
        settings: The section `calibrate` of params.yaml.
        symmetric: int8 around 0 for TensorRT?
        ends: What the calibrator chooses both ends of a tensor with that is only added before a ReLU; None: as others'.
    """
    larger, smaller = max(seen.high, -seen.low), min(seen.high, -seen.low)
    if larger == 0:
        return Grid(np.float32(1), 0, symmetric)  # so that a ReLU that was absorbed still clips
    if ends and seen.sides and not symmetric:
        below, above = ends(seen.sides.negative, seen.sides.positive, seen.sides.passed)
        scale = _positive((below + above) / 255)
        return Grid(scale, round(float(below / scale)))
    levels = 127 if symmetric else round(255 * larger / (larger + smaller))
    threshold = choose(seen.histogram, levels, settings)
    if symmetric:
        return Grid(_positive(threshold / 127), 0, symmetric)
    low, high = max(seen.low, -threshold), min(seen.high, threshold)
    scale = _positive((high - low) / 255)
    return Grid(scale, round(float(-low / scale)))


def grids(
    seen: Mapping[str, Range],
    choose: Threshold,
    settings: Calibrate,
    symmetric: Collection[str] = (),
    ends: Ends | None = None,
) -> dict[str, Grid]:
    """The grid of each tensor, by name. Arguments as for grid, but symmetric: the names of those that are int8 around 0."""
    names = list(seen)

    def of_tensor(k: int) -> Grid:
        return grid(seen[names[k]], choose, settings, names[k] in symmetric, ends)

    found = map_ordered(of_tensor, range(len(names)), "thresholds")
    return dict(zip(names, found, strict=True))


def _positive(scale: float) -> np.float32:
    """fp32, and no less than its least normal number."""
    return max(np.float32(scale), np.finfo(np.float32).tiny)
