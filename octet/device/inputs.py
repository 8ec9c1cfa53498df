"""A file of network inputs, as the runner reads it: 'octetf32', then n, channels, height and width, then the values."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.files import not_written

MAGIC = b"octetf32"


def write_inputs(
    path: Path, count: int, shape: tuple[int, int, int], images: Iterable[npt.NDArray[np.float32]]
) -> None:
    """Writes network inputs, one after the other.

    Args:
        path: The file.
        count: How many there are.
        shape: Their channels, height and width.
        images: The inputs, fp32 of that shape.

    Raises:
        OctetError: The disk is full or read-only.
    """
    try:
        with path.open("wb") as file:
            file.write(MAGIC + struct.pack("<4I", count, *shape))
            for image in images:
                file.write(np.ascontiguousarray(image, "<f4").tobytes())
    except OSError as error:
        raise not_written(path, error) from None
