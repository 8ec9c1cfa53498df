"""Test images for a device, and the file of them that the runner reads.

The file: 'octetf32', then n, channels, height and width, then the values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import not_written
from octet.data.images import Images, split_images
from octet.data.preprocess import Preprocess
from octet.data.subset import balanced

MAGIC = b"octetf32"
_LEAST = 2  # of one image there is no standard error


def first_images(data: str, steps: Preprocess, count: int, who: str) -> Images:
    """The first images of a test split, in turn from every class: a folder's images are sorted by class.

    Args:
        data: The data set's folder.
        steps: What happens to an image.
        count: How many; all where there are fewer.
        who: Asks for them, for what is said of unreadable ones.

    Raises:
        OctetError: Fewer than two are asked for, or can be read.
    """
    if count < _LEAST:
        raise OctetError(f"IMAGES={count}: expected at least {_LEAST}, for a standard error")
    images = split_images(data, "test", steps, None, "IMAGES")
    first = balanced(images.dataset.labels, min(count, len(images)), "IMAGES")
    images = images.pick(first).readable(who)
    if len(images) < _LEAST:
        raise OctetError(f"{data}: has {len(images)} test images that can be read; expected at least {_LEAST}")
    return images


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
