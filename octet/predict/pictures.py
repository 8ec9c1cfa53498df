"""Which pictures are looked at: files and folders, or a few of the split that was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from octet.errors import OctetError
from octet.evaluate import Prediction

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 RGB of shape (H, W, 3). label: '' where it is not known."""

    name: str
    pixels: np.ndarray
    label: str = ""


def files(paths: Sequence[str]) -> list[Path]:
    """The files named, and of each folder the pictures in it, sorted."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
            if not inside:
                raise OctetError(f"{path}: no picture in this folder; expected files ending in {', '.join(ENDINGS)}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise OctetError(f"{path}: no such file or folder; IMAGE names pictures, or folders with pictures")
    return found


def read(path: Path) -> Picture:
    """Reads a picture file as mmcls does (mmcv.imread): three channels of 8 bits, turned as its EXIF entry says."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if pixels is None:
        raise OctetError(
            f"{path}: cannot be read as a picture ({path.stat().st_size:,} bytes); expected an undamaged JPEG, PNG, BMP, "
            "WebP, TIFF or PPM file"
        )
    return Picture(str(path), np.ascontiguousarray(pixels[..., ::-1]))


def fit(picture: Picture, size: Sequence[int]) -> Picture:
    """The picture cut in its middle and scaled to [height, width], where it has another size."""
    height, width = picture.pixels.shape[:2]
    if [height, width] == list(size):
        return picture
    scale = min(height / size[0], width / size[1])
    high, wide = round(scale * size[0]), round(scale * size[1])
    top, left = (height - high) // 2, (width - wide) // 2
    cut = picture.pixels[top : top + high, left : left + wide]
    kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    name = f"{picture.name} ({width}x{height}, cut and scaled to {size[1]}x{size[0]})"
    return Picture(name, cv2.resize(cut, (size[1], size[0]), interpolation=kind), picture.label)


def telling(pairs: Sequence[tuple[Prediction, Prediction]], count: int) -> list[int]:
    """Which rows of the predictions are worth a look, in their order: half of them, if there are so many, where int8
    says something else than fp32, those of the largest difference first; the rest spread over the split."""
    differ = [k for k, (fp32, int8) in enumerate(pairs) if fp32.top[0] != int8.top[0]]
    differ.sort(key=lambda k: -abs(pairs[k][0].probabilities[0] - pairs[k][1].probabilities[0]))
    chosen = set(differ[: max(count // 2, 1)])
    agree = [k for k in range(len(pairs)) if k not in set(differ)]
    more = min(count - len(chosen), len(agree))
    return sorted(chosen | {agree[k * len(agree) // more] for k in range(more)})
