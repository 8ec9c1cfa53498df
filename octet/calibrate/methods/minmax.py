"""The largest magnitude seen: nothing is clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octet.calibrate.histogram import Histogram

if TYPE_CHECKING:
    from octet.core.params import Calibrate


def threshold(histogram: Histogram, _levels: int, _settings: Calibrate) -> float:
    """See octet.calibrate.methods."""
    return histogram.largest
