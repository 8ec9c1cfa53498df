"""An mmcls config's test pipeline and loader, read as what Octet does with an image: a Preprocess."""

from __future__ import annotations

import numpy as np

from octet.core.errors import OctetError
from octet.data.image_files import FLAGS
from octet.data.preprocess import CenterCrop, CropAndResize, Preprocess, Resize, Step
from octet.export.mmcls_model import Config, dataset_classes, transforms

# mmcls's data sets that hold arrays, not files: the shape of an image, RGB or grey.
ARRAYS = {"CIFAR10": (32, 32, 3), "CIFAR100": (32, 32, 3), "MNIST": (28, 28), "FashionMNIST": (28, 28)}
_KNOWN = ("LoadImageFromFile", "Resize", "CenterCrop", "Normalize", "ImageToTensor", "ToHalf", "Collect")
_SHAPES = ((1501, 1999, 3), (2003, 1489, 3))


def derive(config: Config, name: str, classes: list | tuple | None = None) -> Preprocess:
    """Reads the pre-processing from the config's test pipeline and from what its data set loads.

    An array data set gives RGB, a loader of files BGR (mmcv's imread); Normalize with to_rgb swaps either. What comes
    out always starts from RGB. Raises OctetError for a step that Octet does not know, and where the input's size would
    differ from image to image.
    """
    where = f"{name}: data.test.pipeline"
    try:
        data = config.data.test
        kind, names = data.type, [step.type for step in data.pipeline]
    except AttributeError:
        raise OctetError(
            f"{name}: has no data.test with type and pipeline; expected an mmcls config with a test pipeline"
        ) from None
    unknown = [what for what in names if what not in _KNOWN]
    if unknown:
        raise OctetError(f"{where}: Octet does not know the step '{unknown[0]}'; it knows {', '.join(_KNOWN)}")
    array = ARRAYS.get(kind)
    if (array is None) != (names[:1] == ["LoadImageFromFile"]):
        wanted = "has images in memory, so there is nothing to load" if array else "has to begin with LoadImageFromFile"
        raise OctetError(
            f"{where}: data.test.type is {kind!r}, whose pipeline {wanted}; images in memory: {', '.join(ARRAYS)}"
        )
    order = "BGR" if array is None else "RGB" if len(array) == 3 else "GREY"
    values: dict = {}
    geometry: list[Step] = []
    for what, step in zip(names, transforms(data.pipeline, where), strict=True):
        if "mean" in values and what in ("LoadImageFromFile", "Resize", "CenterCrop", "Normalize"):
            raise OctetError(f"{where}: {what} after Normalize; Octet normalizes once, and last")
        if what == "LoadImageFromFile":
            if step.color_type not in FLAGS:
                raise OctetError(f"{where}: color_type is {step.color_type!r}; expected one of {', '.join(FLAGS)}")
            values |= {"color_type": step.color_type, "to_float32": step.to_float32}
            order = "GREY" if step.color_type.startswith("grayscale") else "BGR"
        elif what in ("Resize", "CenterCrop"):
            geometry.append(_geometry(step))
        elif what == "Normalize":
            values |= {"mean": _numbers(step.mean), "std": _numbers(step.std)}
            order = order[::-1] if step.to_rgb and order != "GREY" else order
        elif what == "ToHalf":
            values["to_half"] = True
    if values.get("to_float32") and any(getattr(step, "backend", "") == "pillow" for step in geometry):
        raise OctetError(f"{where}: pillow resizes no fp32 images; take to_float32 away, or set backend='cv2'")
    channels = 1 if order == "GREY" else 3
    values = {"mean": [0.0] * channels, "std": [1.0] * channels} | values
    if not len(values["mean"]) == len(values["std"]) == channels:
        raise OctetError(f"{where}: Normalize has mean {values['mean']}; expected {channels}, one a channel ({order})")
    labels = classes or dataset_classes(data)
    size = _size(geometry, array, where)
    return Preprocess(order, size=size, classes=[str(c) for c in labels], geometry=geometry, **values)


def _geometry(step) -> Step:
    """The resizing or cropping of an mmcls transform."""
    if type(step).__name__ == "Resize":
        edge = step.adaptive_side if step.adaptive_resize else None
        return Resize(step.size[0], step.size[1], edge, step.interpolation, step.backend)
    if step.efficientnet_style:
        return CropAndResize(step.crop_size[0], step.crop_padding, step.interpolation, step.backend)
    return CenterCrop(*step.crop_size)


def _size(geometry: list[Step], array: tuple | None, where: str) -> list[int]:
    """[height, width] of what is left of an image of the array data set, or of two large images of unlike shape."""
    sizes = set()
    for shape in [array] if array else _SHAPES:
        blank = np.zeros(shape, np.uint8)
        for step in geometry:
            blank = step(blank)
        sizes.add(blank.shape[:2])
    if len(sizes) > 1:
        raise OctetError(
            f"{where}: the network's input would have another size for every image; expected a Resize or CenterCrop that "
            "fixes both height and width"
        )
    return list(sizes.pop())


def _numbers(values: np.ndarray) -> list[float]:
    """fp32 numbers as the shortest decimals that give them: 123.675, not 123.67500305."""
    return [float(str(value)) for value in values]
