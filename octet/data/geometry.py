"""Resizing and cropping as mmcls 0.25 and mmcv 1.7 do it, by the same libraries, to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from octet.core.errors import Unreadable

Raster = npt.NDArray[np.uint8 | np.float32]  # of shape (H, W, 3) or (H, W), on its way to a network

cv2.setNumThreads(1)  # images are spread over threads; one image is computed by one
_CV2 = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
_PILLOW = {
    name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")
}
_INTERPOLATIONS: dict[str, Mapping[str, object]] = {"cv2": _CV2, "pillow": _PILLOW}
_EDGES = (None, "short", "long", "height", "width", "cover")
_LARGEST = 10_000  # pixels of an edge


@dataclass(frozen=True)
class Resize:
    """To another size.

    >>> Resize(10, 10, "short", "bilinear", "cv2")(np.zeros((20, 40, 3), np.uint8)).shape
    (10, 20, 3)

    Args:
        height: Of the result, in pixels.
        width: Of the result, in pixels.
        edge: Which edge becomes `height` pixels long, while the other follows: 'short', 'long', 'height' or 'width';
            None: both are set. 'cover': the least size of the image's ratio with at least `height` x `width` pixels.
        interpolation: The filter's name.
        backend: 'cv2' or 'pillow', whose filters differ.
    """

    height: int
    width: int
    edge: str | None
    interpolation: str
    backend: str

    def __call__(self, image: Raster) -> Raster:
        """The image of the other size."""
        height, width = self.height, self.width
        h, w = image.shape[:2]
        if self.edge == "cover":  # as timm's ResizeKeepRatio computes it, to the bit
            ratio = min(h / height, w / width)
            height, width = round(h / ratio), round(w / ratio)
        elif self.edge:
            edges = {"short": min(h, w), "long": max(h, w), "height": h, "width": w}
            if edges[self.edge] == self.height:
                return image
            if self.edge == "width" or (self.edge == "short" and w < h) or (self.edge == "long" and w > h):
                height, width = int(self.height * h / w), self.height
            else:
                height, width = self.height, int(self.height * w / h)
        if self.edge and not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
            raise Unreadable(f"an image of {w}x{h} pixels, so narrow that it would be resized to {width}x{height}")
        return _resize(image, height, width, self.interpolation, self.backend)


@dataclass(frozen=True)
class CenterCrop:
    """The middle `height` x `width` pixels; of a smaller image, what there is of them."""

    height: int
    width: int

    def __call__(self, image: Raster) -> Raster:
        """The middle of the image."""
        return _crop(image, self.height, self.width)


@dataclass(frozen=True)
class CropAndResize:
    """EfficientNet's: the middle size / (size + padding) of the short edge, resized to `size` x `size` pixels."""

    size: int
    padding: int
    interpolation: str
    backend: str

    def __call__(self, image: Raster) -> Raster:
        """The middle of the image, resized."""
        edge = self.size / (self.size + self.padding) * min(image.shape[:2])
        return _resize(_crop(image, edge, edge), self.size, self.size, self.interpolation, self.backend)


STEPS = {kind.__name__: kind for kind in (Resize, CenterCrop, CropAndResize)}
Step = Resize | CenterCrop | CropAndResize


def can_run(step: Step, to_float32: bool) -> bool:
    """Whether a step has values that export writes. to_float32: does it get fp32 images?"""
    if isinstance(step, CenterCrop):
        return is_pixels(step.height) and is_pixels(step.width)
    known = _INTERPOLATIONS.get(step.backend, {}) if isinstance(step.backend, str) else {}
    if (
        not isinstance(step.interpolation, str)
        or step.interpolation not in known
        or (to_float32 and step.backend == "pillow")
    ):
        return False
    if isinstance(step, CropAndResize):
        return is_pixels(step.size) and type(step.padding) is int and 0 <= step.padding <= _LARGEST
    both = step.edge in (None, "cover")
    return step.edge in _EDGES and is_pixels(step.height) and (not both or is_pixels(step.width))


def is_pixels(value: object) -> bool:
    """Whether a value is a number of pixels that an edge can have."""
    return type(value) is int and 0 < value <= _LARGEST


def _resize(image: Raster, height: int, width: int, interpolation: str, backend: str) -> Raster:
    if 0 in image.shape:
        raise Unreadable("an image of which cropping leaves nothing to resize")
    if backend == "pillow":
        return np.asarray(Image.fromarray(image).resize((width, height), _PILLOW[interpolation]))
    resized: Any = cv2.resize(image, (width, height), interpolation=_CV2[interpolation])
    raster: Raster = resized
    return raster


def _crop(image: Raster, height: float, width: float) -> Raster:
    """The middle of an image; a fraction of a pixel is cut off as mmcls cuts it off."""
    h, w = image.shape[:2]
    top, left = max(0, round((h - height) / 2)), max(0, round((w - width) / 2))
    bottom, right = int(min(h, top + height) - 1), int(min(w, left + width) - 1)
    return image[top : bottom + 1, left : right + 1]
