"""What happens to an image before the network sees it, as export derived it from the config: preprocess.json.

Calibration, evaluation and the shipped model all read this one file, so they cannot disagree. The arithmetic is that
of mmcls 0.25 and mmcv 1.7, by the same libraries, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from octet.core.errors import OctetError
from octet.core.files import read_json, write_json

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


@dataclass(frozen=True)
class Resize:
    """To `height` x `width` pixels; where edge is 'short', 'long', 'height' or 'width', that one becomes `height` pixels
    long and the other follows. backend: 'cv2' or 'pillow', which differ in their filters.
    """

    height: int
    width: int
    edge: str | None
    interpolation: str
    backend: str

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = self.height, self.width
        if self.edge:
            h, w = image.shape[:2]
            edges = {"short": min(h, w), "long": max(h, w), "height": h, "width": w}
            if edges[self.edge] == self.height:
                return image
            if self.edge == "width" or (self.edge == "short" and w < h) or (self.edge == "long" and w > h):
                height, width = int(self.height * h / w), self.height
            else:
                height, width = self.height, int(self.height * w / h)
        return _resize(image, height, width, self.interpolation, self.backend)


@dataclass(frozen=True)
class CenterCrop:
    """The middle `height` x `width` pixels; of a smaller image, what there is of them."""

    height: int
    width: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return _crop(image, self.height, self.width)


@dataclass(frozen=True)
class CropAndResize:
    """EfficientNet's: the middle size / (size + padding) of the short edge, resized to `size` x `size` pixels."""

    size: int
    padding: int
    interpolation: str
    backend: str

    def __call__(self, image: np.ndarray) -> np.ndarray:
        edge = self.size / (self.size + self.padding) * min(image.shape[:2])
        return _resize(_crop(image, edge, edge), self.size, self.size, self.interpolation, self.backend)


_STEPS = {kind.__name__: kind for kind in (Resize, CenterCrop, CropAndResize)}
Step = Resize | CenterCrop | CropAndResize


@dataclass(frozen=True)
class Preprocess:
    """channel_order: of the network's input, 'RGB', 'BGR' or 'GREY'; mean and std: grey levels in that order; size:
    [height, width] of the input in pixels; classes: names in the order of the logits.

    color_type: how an image's file is read, as mmcv.imread's flag. geometry: resizing and cropping, in order;
    to_float32: whether they compute in fp32. to_half: whether the result is rounded to fp16.
    """

    channel_order: str
    mean: list[float]
    std: list[float]
    size: list[int]
    classes: list[str]
    color_type: str = "color"
    geometry: Sequence[Step] = field(default_factory=list)
    to_float32: bool = False
    to_half: bool = False

    @property
    def channels(self) -> int:
        return len(self.channel_order) if self.channel_order != "GREY" else 1

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """An image, uint8 RGB of shape (H, W, 3), or grey of shape (H, W), as the network's input: fp32 of shape
        (channels, height, width), contiguous.

        Normalization as mmcv.imnormalize: (x - mean) * (1 / std), constants in fp64 of what they are in fp32.
        """
        found = image.shape[2] if image.ndim == 3 else 1
        if found != self.channels:
            raise OctetError(
                f"an image has {found} channels, the network's input {self.channels} ({self.channel_order})"
            )
        x = image.astype(np.float32) if self.to_float32 else image
        for step in self.geometry:
            x = step(x)
        if list(x.shape[:2]) != self.size:
            raise OctetError(
                f"an image of {image.shape[1]}x{image.shape[0]} pixels becomes {x.shape[1]}x{x.shape[0]}; the network's input "
                f"is {self.size[1]}x{self.size[0]}"
            )
        x = x[..., ::-1] if self.channel_order == "BGR" else x
        x = np.array(x, np.float32, order="C")  # a copy: what follows writes into it
        cv2.subtract(x, np.array(self.mean, np.float32).astype(np.float64).reshape(1, -1), x)
        cv2.multiply(x, 1 / np.array(self.std, np.float32).astype(np.float64).reshape(1, -1), x)
        x = np.ascontiguousarray(x.reshape(*x.shape[:2], -1).transpose(2, 0, 1))
        return x.astype(np.float16).astype(np.float32) if self.to_half else x

    def noise(self, count: int) -> np.ndarray:
        """Images of noise of the input's size, always the same: uint8 of shape (count, H, W, 3), grey (count, H, W)."""
        shape = (count, *self.size, 3) if self.channels == 3 else (count, *self.size)
        return np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, dtype=np.uint8)


def save(preprocess: Preprocess, path: str | Path) -> None:
    geometry = [{"step": type(step).__name__, **asdict(step)} for step in preprocess.geometry]
    write_json(path, asdict(preprocess) | {"geometry": geometry})


def load(path: str | Path) -> Preprocess:
    content = read_json(path, "the stage export makes it")
    try:
        geometry = [_STEPS[step.pop("step")](**step) for step in content.pop("geometry")]
        return Preprocess(**content, geometry=geometry)
    except (AttributeError, KeyError, TypeError):
        fields = ", ".join(Preprocess.__dataclass_fields__)
        raise OctetError(f"{path}: expected the keys {fields}; run the stage export again") from None


def _resize(image: np.ndarray, height: int, width: int, interpolation: str, backend: str) -> np.ndarray:
    if backend == "pillow":
        return np.asarray(Image.fromarray(image).resize((width, height), _PILLOW[interpolation]))
    return cv2.resize(image, (width, height), interpolation=_CV2[interpolation])


def _crop(image: np.ndarray, height: float, width: float) -> np.ndarray:
    """The middle of an image; a fraction of a pixel is cut off as mmcls cuts it off."""
    h, w = image.shape[:2]
    top, left = max(0, round((h - height) / 2)), max(0, round((w - width) / 2))
    bottom, right = int(min(h, top + height) - 1), int(min(w, left + width) - 1)
    return image[top : bottom + 1, left : right + 1]
