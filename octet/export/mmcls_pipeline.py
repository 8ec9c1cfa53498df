"""From an mmcls config to what Octet does with an image: a Preprocess."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.data.geometry import CenterCrop, CropAndResize, Raster, Resize, Step, can_run
from octet.data.image_files import FLAGS
from octet.data.preprocess import Preprocess
from octet.export.mmcls_data import config_splits, dataset_classes
from octet.export.mmcls_model import DATASETS, Config, transforms
from octet.export.mmcls_package import registered
from octet.export.own_modules import user_code
from octet.export.wrappers import SEVERAL, unwrapped

# mmcls's data sets that hold arrays, not files: the shape of an image, RGB or grey.
ARRAYS = {"CIFAR10": (32, 32, 3), "CIFAR100": (32, 32, 3), "MNIST": (28, 28), "FashionMNIST": (28, 28)}
_SHAPES = ((1501, 1999, 3), (2003, 1489, 3))


def derive(config: Config, name: str, classes: Sequence[str] | None = None) -> Preprocess:
    """Reads the pre-processing from the config's test pipeline and from what its data set loads.

    An array data set gives RGB, a loader of files BGR (mmcv's imread); Normalize with to_rgb swaps either. What comes
    out always starts from RGB.

    >>> from octet.export.mmcls_model import read_config
    >>> steps = derive(read_config("lenet/lenet5_mnist.py"), "lenet5_mnist.py")
    >>> steps.channel_order, steps.size, steps.mean
    ('GREY', [32, 32], [33.46])

    Args:
        config: As read_config gives it.
        name: The config's, for the errors.
        classes: The class names; None: those of the config's data set.

    Raises:
        OctetError: There is a step that Octet does not know, or the input's size would differ from image to image.
    """
    with user_code(f"{name}: has a value of a wrong kind"):
        return _derive(config, name, classes)


def _derive(config: Config, name: str, classes: Sequence[str] | None) -> Preprocess:
    where = f"{name}: {config.get('pipeline_key', 'data.test.pipeline')}"
    kind: Any = None
    names: list[Any] = []
    with suppress(AttributeError, TypeError):
        data: Any = unwrapped(config.data.test, f"{name}: data.test")[0]
        if data.get("type") == SEVERAL:
            raise OctetError(f"{where}: {SEVERAL} has several data sets, with a pipeline each; expected one data set")
        kind, names = data.get("type"), [step.type for step in data.pipeline]
    if not all(isinstance(word, str) for word in (kind, *names)):
        raise OctetError(
            f"{name}: has no data.test with type and pipeline; expected an mmcls config with a test pipeline"
        )
    array = ARRAYS.get(kind)
    if array and not _is_mmcls(registered(DATASETS, kind)):
        raise OctetError(
            f"{name}: data.test.type {kind!r} is one of your own, in the place of mmcls's; call it otherwise"
        )
    _check_steps(kind, names, where)
    derived = _Derived("BGR" if array is None else "RGB" if len(array) == 3 else "GREY")
    if derived.channel_order == "GREY":
        derived.color_type = "grayscale"  # of the image files that stand for the arrays
    for what, step in zip(names, transforms(data.pipeline, where), strict=True):
        if not _is_mmcls(type(step)):
            raise OctetError(
                f"{where}: the step '{what}' is one of your own, in the place of mmcls's; Octet knows mmcls's alone"
            )
        if derived.normalized and what in ("LoadImageFromFile", "Resize", "CenterCrop", "Normalize"):
            raise OctetError(f"{where}: {what} after Normalize; Octet normalizes once, and last")
        _STEPS[what](derived, step, where)
    derived.complete(where)
    labels = classes or dataset_classes(data, name)
    return Preprocess(
        derived.channel_order,
        derived.mean,
        derived.std,
        _size(derived.geometry, array, where),
        [str(label) for label in labels],
        derived.color_type,
        derived.geometry,
        derived.to_float32,
        derived.to_half,
        config_splits(config, name),
    )


@dataclass
class _Derived:
    """What the steps seen so far say: the fields of Preprocess."""

    channel_order: str
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    normalized: bool = False
    color_type: str = "color"
    geometry: list[Step] = field(default_factory=list)
    to_float32: bool = False
    to_half: bool = False

    def complete(self, where: str) -> None:
        """Fills in what no step said, and refuses what does not go together."""
        if self.to_float32 and any(getattr(step, "backend", "") == "pillow" for step in self.geometry):
            raise OctetError(f"{where}: pillow resizes no fp32 images; take to_float32 away, or set backend='cv2'")
        channels = 1 if self.channel_order == "GREY" else 3
        if not self.normalized:
            self.mean, self.std = [0.0] * channels, [1.0] * channels
        for step in self.geometry:
            if not can_run(step, self.to_float32):
                raise OctetError(f"{where}: {step}: a value that cannot be, or is too large")
        if not len(self.mean) == len(self.std) == channels:
            raise OctetError(
                f"{where}: Normalize has mean {self.mean}; expected {channels}, one a channel ({self.channel_order})"
            )
        if not all(map(math.isfinite, self.mean)) or not all(math.isfinite(x) and abs(x) > 1e-6 for x in self.std):
            raise OctetError(
                f"{where}: Normalize has mean {self.mean} and std {self.std}; expected numbers, and no 0 in std"
            )


def _load(derived: _Derived, step: Any, where: str) -> None:
    if not isinstance(step.color_type, str) or step.color_type not in FLAGS:
        raise OctetError(f"{where}: color_type is {step.color_type!r}; expected one of {', '.join(FLAGS)}")
    derived.color_type, derived.to_float32 = step.color_type, step.to_float32
    derived.channel_order = "GREY" if step.color_type.startswith("grayscale") else "BGR"


def _resize(derived: _Derived, step: Any, _: str) -> None:
    edge = step.adaptive_side if step.adaptive_resize else None
    derived.geometry.append(Resize(step.size[0], step.size[1], edge, step.interpolation, step.backend))


def _center_crop(derived: _Derived, step: Any, _: str) -> None:
    crop: Step = CenterCrop(*step.crop_size)
    if step.efficientnet_style:
        crop = CropAndResize(step.crop_size[0], step.crop_padding, step.interpolation, step.backend)
    derived.geometry.append(crop)


def _normalize(derived: _Derived, step: Any, where: str) -> None:
    if not np.ndim(step.mean) == np.ndim(step.std) == 1:
        raise OctetError(
            f"{where}: Normalize has mean {step.mean} and std {step.std}; expected a list each, one number a channel"
        )
    derived.mean, derived.std, derived.normalized = _decimals(step.mean), _decimals(step.std), True
    if step.to_rgb and derived.channel_order != "GREY":
        derived.channel_order = derived.channel_order[::-1]


def _to_half(derived: _Derived, _: Any, __: str) -> None:
    derived.to_half = True


def _nothing(_: _Derived, __: Any, ___: str) -> None:
    """The step only brings the result into another form."""


_STEPS: dict[str, Callable[[_Derived, Any, str], None]] = {
    "LoadImageFromFile": _load,
    "Resize": _resize,
    "CenterCrop": _center_crop,
    "Normalize": _normalize,
    "ImageToTensor": _nothing,
    "ToHalf": _to_half,
    "Collect": _nothing,
}


def _is_mmcls(kind: type) -> bool:
    """Is a class mmcls's own, and none that a module of the user's has put in its place?"""
    return kind.__module__.partition(".")[0] == "mmcls"


def _check_steps(kind: str, names: Sequence[str], where: str) -> None:
    """Raises OctetError for a step that Octet does not know, and where the images are not loaded once."""
    unknown = [name for name in names if name not in _STEPS]
    if unknown:
        raise OctetError(f"{where}: Octet does not know the step '{unknown[0]}'; it knows {', '.join(_STEPS)}")
    in_memory = kind in ARRAYS
    if in_memory == (list(names[:1]) == ["LoadImageFromFile"]):
        wanted = (
            "has images in memory, so there is nothing to load" if in_memory else "has to begin with LoadImageFromFile"
        )
        raise OctetError(
            f"{where}: data.test.type is {kind!r}, whose pipeline {wanted}; images in memory: {', '.join(ARRAYS)}"
        )


def _size(geometry: Sequence[Step], array: tuple[int, ...] | None, where: str) -> list[int]:
    """[height, width] of what is left of an image of the array data set, or of two large images of unlike shape."""
    sizes = set()
    for shape in [array] if array else _SHAPES:
        blank: Raster = np.zeros(shape, np.uint8)
        for step in geometry:
            blank = step(blank)
        sizes.add(blank.shape[:2])
    if len(sizes) > 1:
        raise OctetError(
            f"{where}: the network's input would have another size for every image; expected a Resize or CenterCrop that "
            "fixes both height and width"
        )
    return list(sizes.pop())


def _decimals(values: npt.NDArray[np.float32]) -> list[float]:
    """fp32 numbers as the shortest decimals that give them: 123.675, not 123.67500305."""
    return [float(str(value)) for value in values]
