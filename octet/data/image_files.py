"""Image files, read as mmcls reads them (mmcv.imfrombytes with its default backend, cv2), in RGB.

A header of a few bytes may say that an image has a billion pixels. OpenCV refuses those that have more than the
environment variable OPENCV_IO_MAX_IMAGE_PIXELS says when it is loaded, for which octet/data/__init__.py has a default.

Of a PNG, OpenCV 4.11 makes room for what a chunk says that it has, up to 4 GB, and a damaged animation makes it write where
it must not. So a PNG's chunks are looked through first, and those of an animation are left out: what remains is the image
that a reader without animations shows, the first of the frames. A damaged JPEG 2000 ends the process, so formats beside the
usual ones, which data sets do not have, are not given to OpenCV at all.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
import numpy.typing as npt

from octet.core.errors import Unreadable
from octet.data import MOST_PIXELS, PIXELS_VARIABLE
from octet.data.arrays import Pixels

# How the formats that are read begin; PNM's six kinds, too: P1 to P6 and a blank.
_FORMATS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM|P[1-6]\s|II[*+]\0|MM\0[*+]|RIFF....WEBP", re.DOTALL)
_PNG, _ANIMATION = b"\x89PNG\r\n\x1a\n", (b"acTL", b"fcTL", b"fdAT")
cv2.setLogLevel(0)  # what OpenCV says of a damaged file, Unreadable says
# mmcv's flags, with the channels in RGB: CMYK becomes RGB, 16 bits become 8, and an image is turned as its EXIF entry
# says, all but where 'unchanged' or 'ignore_orientation' forbid it.
FLAGS = {
    "color": cv2.IMREAD_COLOR_RGB,
    "grayscale": cv2.IMREAD_GRAYSCALE,
    "unchanged": cv2.IMREAD_UNCHANGED,
    "color_ignore_orientation": cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
    "grayscale_ignore_orientation": cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
}


def read(path: str | Path, color_type: str = "color") -> Pixels:
    """An image.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = cv2.imwrite(f"{folder}/1.png", np.full((2, 3, 3), (30, 20, 10), np.uint8))
    ...     read(f"{folder}/1.png")[0, 0].tolist(), read(f"{folder}/1.png", "grayscale").shape
    ([10, 20, 30], (2, 3))

    Args:
        path: Its file.
        color_type: As in mmcls's LoadImageFromFile: a key of FLAGS.

    Raises:
        Unreadable: The file is missing or no regular file, has too many pixels, or OpenCV cannot decode it, which
            includes one that is cut off.
    """
    try:
        with _open(path) as file:
            information = os.fstat(file.fileno())
            if not stat.S_ISREG(information.st_mode):
                raise Unreadable(f"{path}: no regular file, so no image")
            if information.st_size > 8 * most_pixels():  # which four channels of 16 bits take
                raise Unreadable(f"{path}: {information.st_size:,} bytes, {_too_many()}")
            raw = np.fromfile(file, np.uint8)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    if raw.size and not _FORMATS.match(raw[:12].tobytes()):
        raise Unreadable(
            f"{path}: not an image that OpenCV can decode, or damaged: expected JPEG, PNG, BMP, TIFF, WebP or PNM "
            f"({raw.size:,} bytes)"
        )
    try:
        image: Any = cv2.imdecode(_still(raw), FLAGS[color_type]) if raw.size else None
    except cv2.error as error:
        if "validateInputImageSize" in str(error):
            raise Unreadable(f"{path}: no pixels, or {_too_many()}") from None
        image = None
    if image is None:
        raise Unreadable(f"{path}: not an image that OpenCV can decode, or damaged ({raw.size:,} bytes)")
    if color_type == "unchanged" and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    pixels: Pixels = image
    return pixels


def _still(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A file as it is; of a PNG its chunks up to one that is cut off, without those of an animation."""
    if raw[:8].tobytes() != _PNG:
        return raw
    parts, start, at = [], 0, 8
    while at + 12 <= len(raw):
        length, kind = struct.unpack_from(">I4s", raw.data, at)
        end = at + 12 + length
        if end > len(raw):
            break
        if kind in _ANIMATION:
            parts.append(raw[start:at])
            start = end
        at = end
    return np.concatenate([*parts, raw[start:at]])


def most_pixels() -> int:
    """How many pixels an image may have, as far as the environment says it in digits."""
    value = os.environ.get(PIXELS_VARIABLE, "")
    return int(value) if value.isdecimal() else MOST_PIXELS


def _too_many() -> str:
    return (
        f"more than the {most_pixels():,} pixels up to which an image is read; the environment variable {PIXELS_VARIABLE} "
        "raises the limit"
    )


def _open(path: str | Path) -> BinaryIO:
    """Opens it to read; a pipe without a writer, too, instead of waiting for one."""
    return cast(BinaryIO, open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)))
