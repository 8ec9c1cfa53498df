"""What happens to an image before the network sees it, as export derived it from the config: preprocess.json.

Calibration, evaluation and the shipped model all read this one file, so they cannot disagree. The arithmetic is that
of mmcls 0.25 and mmcv 1.7, by the same libraries, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from octet.core.errors import OctetError, Unreadable
from octet.core.files import read_json, write_json
from octet.data.arrays import Input, Pixels
from octet.data.image_files import FLAGS

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
_EDGES = (None, "short", "long", "height", "width")
_CHANNELS = {"RGB": 3, "BGR": 3, "GREY": 1}
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
            None: both are set.
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
        if self.edge:
            h, w = image.shape[:2]
            edges = {"short": min(h, w), "long": max(h, w), "height": h, "width": w}
            if edges[self.edge] == self.height:
                return image
            if self.edge == "width" or (self.edge == "short" and w < h) or (self.edge == "long" and w > h):
                height, width = int(self.height * h / w), self.height
            else:
                height, width = self.height, int(self.height * w / h)
            if not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
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


_STEPS = {kind.__name__: kind for kind in (Resize, CenterCrop, CropAndResize)}
Step = Resize | CenterCrop | CropAndResize


@dataclass(frozen=True)
class Preprocess:
    """All that happens to an image: its fields are the keys of preprocess.json.

    >>> steps = Preprocess("BGR", mean=[0.0] * 3, std=[2.0] * 3, size=[1, 1], classes=["cat", "dog"])
    >>> steps(np.array([[[10, 20, 30]]], np.uint8)).ravel().tolist()
    [15.0, 10.0, 5.0]

    Args:
        channel_order: Of the network's input: 'RGB', 'BGR' or 'GREY'.
        mean: Of each channel in that order, in grey levels.
        std: Of each channel in that order, in grey levels.
        size: [height, width] of the network's input, in pixels.
        classes: The class names, in the order of the logits.
        color_type: How an image's file is read: a key of image_files.FLAGS.
        geometry: Resizing and cropping, in order.
        to_float32: Do they compute in fp32?
        to_half: Is the result rounded to fp16?
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
        """How many the network's input has."""
        return _CHANNELS[self.channel_order]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the network's input: (channels, height, width)."""
        height, width = self.size
        return self.channels, height, width

    def __call__(self, image: Pixels) -> Input:
        """An image, RGB or grey, as the network's input, contiguous.

        Normalization as mmcv.imnormalize: (x - mean) * (1 / std), constants in fp64 of what they are in fp32.

        Raises:
            Unreadable: It is so narrow that resizing makes nothing of it, or far too much.
            OctetError: It has other channels than the network's input, or becomes another size.
        """
        channels = image.shape[2] if image.ndim == 3 else 1
        if channels != self.channels:
            raise OctetError(
                f"an image has {channels} channels, the network's input {self.channels} ({self.channel_order})"
            )
        x: Raster = image.astype(np.float32) if self.to_float32 else image
        for step in self.geometry:
            x = step(x)
        if list(x.shape[:2]) != self.size:
            raise OctetError(
                f"an image of {image.shape[1]}x{image.shape[0]} pixels becomes {x.shape[1]}x{x.shape[0]}; the network's input "
                f"is {self.size[1]}x{self.size[0]}"
            )
        x = x[..., ::-1] if self.channel_order == "BGR" else x
        y: Input = np.array(x, np.float32, order="C")  # a copy: what follows writes into it
        cv2.subtract(y, np.array(self.mean, np.float32).astype(np.float64).reshape(1, -1), y)
        cv2.multiply(y, 1 / np.array(self.std, np.float32).astype(np.float64).reshape(1, -1), y)
        y = np.ascontiguousarray(y.reshape(*y.shape[:2], -1).transpose(2, 0, 1))
        return y.astype(np.float16).astype(np.float32) if self.to_half else y

    def noise(self, count: int) -> Pixels:
        """Images of noise of the input's size, always the same: of shape (count, H, W, 3), or grey (count, H, W)."""
        shape = (count, *self.size, 3) if self.channels == 3 else (count, *self.size)
        return np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, dtype=np.uint8)


def save(preprocess: Preprocess, path: str | Path) -> None:
    """Writes preprocess.json."""
    geometry = [{"step": type(step).__name__, **asdict(step)} for step in preprocess.geometry]
    write_json(path, asdict(preprocess) | {"geometry": geometry})


def load(path: str | Path) -> Preprocess:
    """Reads preprocess.json.

    Raises:
        OctetError: It is missing, or has other keys or values than export writes.
    """
    content = read_json(path, "the stage export makes it")
    try:
        geometry = [_STEPS[step.pop("step")](**step) for step in content.pop("geometry")]
        found = Preprocess(**content, geometry=geometry)
    except (AttributeError, KeyError, TypeError):
        fields = ", ".join(Preprocess.__dataclass_fields__)
        raise OctetError(f"{path}: expected the keys {fields}; run the stage export again") from None
    for key, fits in _fitting(found).items():
        if not fits:
            raise OctetError(f"{path}: {key}: not a value that the stage export writes; run it again")
    return found


def _fitting(steps: Preprocess) -> dict[str, bool]:
    """Whether the value of each key can be what export derived from a config."""
    count = _CHANNELS.get(steps.channel_order, 0) if isinstance(steps.channel_order, str) else 0
    return {
        "channel_order": count > 0,
        "mean": _numbers(steps.mean, count),
        "std": _numbers(steps.std, count) and all(abs(value) > 1e-6 for value in steps.std),
        "size": isinstance(steps.size, list) and len(steps.size) == 2 and all(map(_pixels, steps.size)),
        "classes": isinstance(steps.classes, list)
        and all(isinstance(name, str) and _one_line(name) for name in steps.classes),
        "color_type": isinstance(steps.color_type, str) and steps.color_type in FLAGS,
        "to_float32": isinstance(steps.to_float32, bool),
        "to_half": isinstance(steps.to_half, bool),
        "geometry": all(_runs(step, steps.to_float32) for step in steps.geometry),
    }


def _runs(step: Step, to_float32: bool) -> bool:
    if isinstance(step, CenterCrop):
        return _pixels(step.height) and _pixels(step.width)
    known = _INTERPOLATIONS.get(step.backend, {}) if isinstance(step.backend, str) else {}
    if (
        not isinstance(step.interpolation, str)
        or step.interpolation not in known
        or (to_float32 and step.backend == "pillow")
    ):
        return False
    if isinstance(step, CropAndResize):
        return _pixels(step.size) and type(step.padding) is int and 0 <= step.padding <= _LARGEST
    return step.edge in _EDGES and _pixels(step.height) and (bool(step.edge) or _pixels(step.width))


def _pixels(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LARGEST


def _numbers(values: Any, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(type(value) in (int, float) and abs(value) < 1e6 for value in values)


def _one_line(name: str) -> bool:
    return not {"\n", "\r", "\0"} & set(name)


def _resize(image: Raster, height: int, width: int, interpolation: str, backend: str) -> Raster:
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
