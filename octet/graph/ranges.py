"""ranges.json: what the input of each layer that can be int8 reaches; the stage calibrate writes it, analyze reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import figure, read_json, write_json


@dataclass(frozen=True)
class Range:
    """The magnitudes that a layer reads, over all calibration images; figures of six digits.

    Args:
        input_absmax: The largest.
        input_threshold: The largest that the layer's int8 holds.
        clipped_pct: The share of all values over that, in percent, as exact as a histogram's bins are.
    """

    input_absmax: float
    input_threshold: float
    clipped_pct: float

    @classmethod
    def of(cls, input_absmax: float, input_threshold: float, clipped_pct: float) -> Range:
        """A range from unrounded values."""
        return cls(figure(input_absmax), figure(input_threshold), figure(clipped_pct))


def save(ranges: Mapping[str, Range], path: Path) -> None:
    """Writes the ranges of layers, sorted by name: the same bytes for the same content."""
    write_json(path, {name: asdict(one) for name, one in ranges.items()})


def load(path: Path, layers: Iterable[str] = ()) -> dict[str, Range]:
    """The ranges by layer.

    Args:
        path: ranges.json.
        layers: Those that it has to have.

    Raises:
        OctetError: The file is missing, not what the stage calibrate writes, or lacks a layer.
    """
    made_by = "the stage calibrate makes it"
    try:
        ranges = {
            name: Range.of(**{key: float(value) for key, value in one.items()})
            for name, one in read_json(path, made_by).items()
        }
    except (AttributeError, TypeError, ValueError):
        raise OctetError(f"{path}: not the ranges of a model's layers; {made_by}: run it again") from None
    if lacking := [name for name in layers if name not in ranges]:
        raise OctetError(f"{path}: lacks the layer {lacking[0]}; {made_by}: run it again")
    return ranges
