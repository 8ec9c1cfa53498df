"""Which images are looked at: files and folders, or a few of the split that was evaluated."""

from __future__ import annotations

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
    """The files named, and of each folder the images in it, sorted."""
    chosen: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
            if not inside:
                raise OctetError(f"{path}: no image in this folder; expected files ending in {', '.join(ENDINGS)}")
            chosen += inside
        elif path.exists():
            chosen.append(path)  # what is no regular file, `read` refuses
        else:
            raise OctetError(f"{path}: no such file or folder; IMAGE names images, or folders with images")
    return chosen


def load(path: Path, steps: Preprocess) -> NamedImage:
    """An image file, read as mmcls would. A network whose data set holds arrays of one size resizes nothing itself:
    for it the image is cut in its middle and scaled, and its name says so.
    """
    color_type = steps.color_type if steps.channels == 3 else "grayscale"
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
