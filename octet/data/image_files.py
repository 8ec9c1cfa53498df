"""Image files, read as mmcls reads them (mmcv.imfrombytes with its default backend, cv2), in RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from octet.core.errors import Unreadable
from octet.data.arrays import Pixels

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
        Unreadable: The file is missing, or OpenCV cannot decode it, which includes one that is cut off.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    try:
        image: Any = cv2.imdecode(raw, FLAGS[color_type]) if raw.size else None
    except cv2.error:  # for one that claims to be larger than OpenCV takes
        image = None
    if image is None:
        raise Unreadable(f"{path}: not an image that OpenCV can decode, or damaged ({raw.size:,} bytes)")
    if color_type == "unchanged" and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    pixels: Pixels = image
    return pixels
