"""What happens to an image before the network sees it, as export derived it from the config: preprocess.json.

The config's test pipeline decides; octet/export/mmcls_pipeline.py reads it, once.
Calibration, evaluation and the shipped model all read this one file, so they cannot disagree. The arithmetic is that
of mmcls 0.25 and mmcv 1.7, by the same libraries, and gives the same bits; geometry.py resizes and crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from octet.core.errors import OctetError
from octet.core.files import read_json, write_json
from octet.core.outputs import Output
from octet.data.arrays import Input, Pixels
from octet.data.class_names import problem
from octet.data.config_split import ConfigSplit, from_json, to_json
from octet.data.geometry import STEPS, Raster, Step, can_run, is_pixels
from octet.data.image_files import FLAGS

_CHANNELS = {"RGB": 3, "BGR": 3, "GREY": 1}


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
        splits: Where the config's images lie, by split ('train', 'test').
        outputs: What the network gives where it gives no class scores; then it has no classes, and images no labels.
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
    splits: dict[str, ConfigSplit] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)

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

    @property
    def sizes(self) -> list[int]:
        """How many values each output of the network has; class scores are one output."""
        return [output.size for output in self.outputs] or [len(self.classes)]

    def needs_classes(self, what: str) -> None:
        """Checks that the network gives class scores, for what can do nothing else.

        Args:
            what: What asks.

        Raises:
            OctetError: It gives other outputs.
        """
        if self.outputs:
            names = ", ".join(output.name for output in self.outputs)
            raise OctetError(f"{what}: is for class scores, and this model gives other outputs ({names})")

    def noise(self, count: int) -> Pixels:
        """Images of noise of the input's size, always the same: of shape (count, H, W, 3), or grey (count, H, W)."""
        shape = (count, *self.size, 3) if self.channels == 3 else (count, *self.size)
        return np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, dtype=np.uint8)


def save(preprocess: Preprocess, path: str | Path) -> None:
    """Writes preprocess.json."""
    geometry = [{"step": type(step).__name__, **asdict(step)} for step in preprocess.geometry]
    content = asdict(preprocess) | {"geometry": geometry}
    del content["splits"]
    if preprocess.splits:
        content["splits"] = to_json(preprocess.splits)
    if not preprocess.outputs:
        del content["outputs"]
    write_json(path, content)


def load(path: str | Path) -> Preprocess:
    """Reads preprocess.json.

    Raises:
        OctetError: It is missing, or has other keys or values than export writes.
    """
    content = read_json(path, "the stage export makes it")
    try:
        geometry = [STEPS[step.pop("step")](**step) for step in content.pop("geometry")]
        splits = from_json(content.pop("splits", {}))
        outputs = [Output(**output) for output in content.pop("outputs", [])]
        steps = Preprocess(**content, geometry=geometry, splits=splits, outputs=outputs)
    except (AttributeError, KeyError, TypeError):
        fields = ", ".join(Preprocess.__dataclass_fields__)
        raise OctetError(f"{path}: expected the keys {fields}; run the stage export again") from None
    for key, fits in _fitting(steps).items():
        if not fits:
            raise OctetError(f"{path}: {key}: not a value that the stage export writes; run it again")
    return steps


def _fitting(steps: Preprocess) -> dict[str, bool]:
    """Whether the value of each key can be what export derived from a config."""
    count = _CHANNELS.get(steps.channel_order, 0) if isinstance(steps.channel_order, str) else 0
    return {
        "channel_order": count > 0,
        "mean": _numbers(steps.mean, count),
        "std": _numbers(steps.std, count) and all(abs(value) > 1e-6 for value in steps.std),
        "size": isinstance(steps.size, list) and len(steps.size) == 2 and all(map(is_pixels, steps.size)),
        "classes": isinstance(steps.classes, list)
        and all(isinstance(name, str) and not problem(name) for name in steps.classes),
        "color_type": isinstance(steps.color_type, str) and steps.color_type in FLAGS,
        "to_float32": isinstance(steps.to_float32, bool),
        "to_half": isinstance(steps.to_half, bool),
        "outputs": not steps.outputs or (steps.classes == [] and all(map(_is_output, steps.outputs))),
        "geometry": all(can_run(step, steps.to_float32) for step in steps.geometry),
    }


def _is_output(output: Output) -> bool:
    if not isinstance(output.name, str) or problem(output.name) or not isinstance(output.shape, list):
        return False
    return all(type(size) is int and size > 0 for size in output.shape)


def _numbers(values: Any, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(type(value) in (int, float) and abs(value) < 1e6 for value in values)
