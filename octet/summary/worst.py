"""Of a network that gives no class scores, the images on which int8 is furthest from fp32."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.evaluate.fidelity import COLUMNS


def worst(path: Path, count: int) -> tuple[list[str], list[list[str]]]:
    """The images whose worst output has the least SQNR.

    Args:
        path: int8.predictions.csv, as octet.evaluate.fidelity.outputs_csv writes it.
        count: How many at most.

    Returns:
        Their names, the worst first; and the lines that say so below each.

    Raises:
        OctetError: The file is missing or another one.
    """
    least: dict[str, tuple[float, str]] = {}
    try:
        for row in csv.DictReader(io.StringIO(read_bytes(path, "the stage evaluate makes it").decode(), newline="")):
            value = float(row["sqnr_db"])
            if not math.isfinite(value) or None in (row["image"], row["output"]):
                raise ValueError(row)
            least[row["image"]] = min(least.get(row["image"], (math.inf, "")), (value, row["output"]))
    except (KeyError, TypeError, ValueError, csv.Error):
        least = {}
    if not least:
        raise OctetError(
            f"{path}: expected a table with the columns {', '.join(COLUMNS)}; run the stage evaluate again"
        )
    names = sorted(least, key=lambda name: (least[name][0], name))[:count]
    return names, [[f"SQNR {least[name][0]:.1f} dB", f"of {least[name][1]}"] for name in names]
