"""Which images are looked at: files and folders, or a few of the split that was evaluated."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.data.image_files import read
from octet.data.preprocess import Preprocess
from octet.evaluate.predictions import Prediction

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class NamedImage:
    """An image to ask about.

    Args:
        name: Its file, or where it is in its data set.
        pixels: uint8 RGB of shape (H, W, 3), or grey of shape (H, W).
        label: The name of its class; empty where it is not known.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    label: str = ""


def files(paths: Sequence[str]) -> list[Path]:
    """The files named, and of each folder the images in it, sorted.

    Args:
        paths: Each a file or a folder, whatever is in its name; where there is none of that name, a pattern as `a*.png`, or
            several with a space or a line break between them.

    Raises:
        OctetError: Something is not there, or a folder has no image.
    """
    chosen: list[Path] = []
    for path in (path for text in paths for path in _existing(text)):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
            if not inside:
                raise OctetError(f"{path}: no image in this folder; expected files ending in {', '.join(ENDINGS)}")
            chosen += inside
        else:
            chosen.append(path)  # what is no regular file, `read` refuses
    return chosen


def _existing(text: str) -> list[Path]:
    """What a text names: one path, a pattern's, or several; of those with spaces in their names the longest that is there."""
    chosen = _matching(text)
    if chosen:
        return chosen
    words = re.split(r"([ \n])", text.strip())  # words, and between them what parts them
    start = 0
    while start < len(words):
        for stop in range(len(words), start, -2):
            part = _matching("".join(words[start:stop])) if words[start] else [Path()]
            if part:
                break
        else:
            what = text if len(words) == 1 else words[start]
            raise OctetError(f"{what}: no such file or folder; IMAGE names images, or folders with images")
        chosen += part if words[start] else []
        start = stop + 1 if words[start] else start + 2
    return chosen


def _matching(text: str) -> list[Path]:
    """The path of that name, or what matches it as a pattern; [] where nothing does."""
    try:
        path = Path(text)
        if text and path.exists():
            return [path]
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return []
    return [Path(name) for name in sorted(glob.glob(text))] if glob.has_magic(text) else []  # noqa: PTH207 its own takes no /


def load(path: Path, steps: Preprocess) -> NamedImage:
    """An image file, read as mmcls would. A network whose data set holds arrays of one size resizes nothing itself:
    for it the image is cut in its middle and scaled, and its name says so.
    """
    fits = steps.channels == 3 or steps.color_type.startswith("grayscale")
    color_type = steps.color_type if fits else "grayscale"
    image = NamedImage(str(path), read(path, color_type))
    return image if steps.geometry else fit(image, steps.size)


def fit(image: NamedImage, size: Sequence[int]) -> NamedImage:
    """The image cut in its middle and scaled to [height, width], where it has another size."""
    height, width = image.pixels.shape[:2]
    if [height, width] == list(size):
        return image
    scale = min(height / size[0], width / size[1])
    high, wide = round(scale * size[0]), round(scale * size[1])
    top, left = (height - high) // 2, (width - wide) // 2
    cut = image.pixels[top : top + high, left : left + wide]
    kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    name = f"{image.name} ({width}x{height}, cut and scaled to {size[1]}x{size[0]})"
    scaled = cv2.resize(cut, (size[1], size[0]), interpolation=kind).astype(np.uint8)
    return NamedImage(name, scaled, image.label)


def telling(pairs: Sequence[tuple[Prediction, Prediction]], count: int) -> list[int]:
    """Which rows of the predictions are worth a look, in their order: half of them, if there are so many, where int8
    says something else than fp32, those of the largest difference first; the rest spread over the split.
    """
    differ = [k for k, (fp32, int8) in enumerate(pairs) if fp32.top[0] != int8.top[0]]
    differ.sort(key=lambda k: -abs(pairs[k][0].probabilities[0] - pairs[k][1].probabilities[0]))
    chosen = set(differ[: max(count // 2, 1)])
    agree = [k for k in range(len(pairs)) if k not in set(differ)]
    more = min(count - len(chosen), len(agree))
    return sorted(chosen | {agree[k * len(agree) // more] for k in range(more)})
