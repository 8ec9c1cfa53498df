"""What happens to an image before the network sees it, where no config says it: `preprocess` in an entry of params.yaml.

It is a preset's name, the path of a YAML file, or the mapping itself. octet/export/own_preprocess.py makes a Preprocess of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from octet.core import yaml
from octet.core.errors import OctetError, nearest
from octet.core.fields import Form, Section, ask, conflict, show
from octet.core.places import CONFIGS, is_outside
from octet.core.text_lines import read_lines

ENDINGS = (".yaml", ".yml")
LARGEST_EDGE = 10_000  # of a network's input, in pixels
_LARGEST_OF_1 = 2  # more than mean or std of values from 0 to 1 can be: 1 and 0.5, or both 1
Edge = Annotated[int, Field(ge=1, le=LARGEST_EDGE)]
Pair = Annotated[tuple[Edge, Edge], Field(strict=False)]
Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]


@dataclass(frozen=True)
class OrLines:
    """Lets the path of a text file, from the folder of the file that names it, stand for its lines."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._lines, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}

    @staticmethod
    def _lines(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str) or not value:
            return value
        path = (info.context or {}).get("folder", Path()) / value
        lines = read_lines(path, "the names of the classes, one a line")
        while lines and not lines[-1].strip():
            lines.pop()
        if "" in lines:
            raise OctetError(f"{path}: line {lines.index('') + 1} is empty; expected the name of a class on each line")
        return lines


class Preprocessing(Section):
    """What happens to an image? In this order: resize, crop, then (value - mean) / std for each channel."""

    size: Annotated[Pair | None, Form("[height, width] in pixels, or null")] = ask(
        "Which height and width has the network's input?", [224, 224], default=None
    )
    """null: those that the model itself says; where it leaves them open, they are needed here."""
    resize: Annotated[Edge | Pair | None, Form("a number of pixels, [height, width], or null")] = ask(
        "To which size is an image resized first?", None, default=None
    )
    """One number: the short edge, and the other follows. [height, width]: both. null: to what 'crop' says, or to the network's
    size. What is larger than that then is cut to its middle."""
    crop: float | None = ask("Which share of the resized image is kept?", 0.875, default=None, gt=0, le=1)
    """timm's crop_pct: the image keeps its ratio and is resized so that it just covers the network's size divided by it (of a
    square network, its short edge has that size); then its middle is cut out. null: 'resize' says it."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "area", "box", "hamming"] = ask(
        "By which filter is it resized?", "bilinear", default="bilinear"
    )
    """`area` is cv2's; `box` and `hamming` are pillow's."""
    backend: Literal["pillow", "cv2"] = ask("By which library?", "pillow", default="pillow", validate_default=True)
    """torchvision and timm resize by pillow, whose filters take all pixels into account; OpenMMLab and PaddlePaddle by cv2."""
    channel_order: Literal["RGB", "BGR", "GREY"] = ask("In which order are the channels?", "RGB")
    """`GREY`: the input has one channel."""
    range: Literal[255, 1] = ask("What is white, where mean and std are subtracted and divided by?", 255, default=255)
    """255: values are grey levels; 1: they are divided by 255 first, as torchvision's ToTensor does. Where mean and std are of the
    other one, that is an error."""
    mean: Annotated[Numbers, Form("a list of numbers, one a channel")] = ask(
        "What is subtracted?", [123.675, 116.28, 103.53]
    )
    """One number a channel, in the order of the channels."""
    std: Annotated[Numbers, Form("a list of numbers, one a channel")] = ask(
        "By what is it divided?", [58.395, 57.12, 57.375]
    )
    """One number a channel, in the order of the channels."""
    layout: Literal["NCHW", "NHWC"] | None = ask(
        "In which order are the axes of the network's input?", "NCHW", default=None
    )
    """null: where the model has 1 or 3 channels says it."""
    classes: Annotated[Names | None, Form("a list of texts, the path of a text file, or null"), OrLines()] = ask(
        "What are the classes called?", ["cat", "dog"], default=None
    )
    """In the order of the network's outputs. A text file in `configs/models` has one a line; its path is from the folder of the
    file that names it. null: by their numbers."""

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, values: Any) -> Any:
        """One mean or std counts for all channels."""
        if not isinstance(values, dict):
            return values
        count = 1 if values.get("channel_order") == "GREY" else 3
        alone = {key: [values[key]] * count for key in ("mean", "std") if type(values.get(key)) in (int, float)}
        return values | alone

    @field_validator("mean", "std")
    @classmethod
    def _one_a_channel(cls, numbers: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        order = info.data.get("channel_order", "RGB")
        count = 1 if order == "GREY" else 3
        if len(numbers) != count:
            raise conflict(f"has {len(numbers)} numbers; expected {count}, one a channel ({order})")
        if info.field_name == "std":
            if min(map(abs, numbers)) < 1e-6:
                raise conflict(f"{show(list(numbers))}: nothing is divided by 0")
            _check_unit(numbers, info.data.get("mean", ()), info.data.get("range"))
        return numbers

    @field_validator("crop")
    @classmethod
    def _instead_of_resize(cls, crop: float | None, info: ValidationInfo) -> float | None:
        if crop is not None and info.data.get("resize") is not None:
            raise conflict("is given beside 'resize'. Keep one of them")
        return crop

    @field_validator("backend")
    @classmethod
    def _has_the_filter(cls, backend: str, info: ValidationInfo) -> str:
        only = {"area": "cv2", "box": "pillow", "hamming": "pillow"}.get(info.data.get("interpolation", ""), backend)
        if only != backend:
            raise conflict(f"{info.data['interpolation']} is a filter of {only}; found {show(backend)}")
        return backend


def _check_unit(std: tuple[float, ...], mean: tuple[float, ...], white: int | None) -> None:
    """Raises PydanticCustomError where mean and std are of other values than 'range' says: from 0 to 1, or to 255."""
    shown = f"mean {show(list(mean))} and std {show(list(std))}"
    offset, sizes = max(map(abs, mean), default=0), [abs(number) for number in std]
    small = max(sizes) < 1 or (max(sizes) == 1 and (min(sizes) < 1 or 0 < offset < 1))
    if white == 255 and small:
        raise conflict(f"{shown} are of values from 0 to 1. Set 'range: 1', or multiply mean and std by 255")
    if white == 1 and max(offset, *sizes) > _LARGEST_OF_1:
        raise conflict(
            f"{shown} are of grey levels, and 'range: 1' means values from 0 to 1. Leave 'range' out, or divide them by 255"
        )


PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {
        "crop": 0.875,
        "channel_order": "RGB",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
    },
    "none": {"channel_order": "RGB", "mean": [0.0] * 3, "std": [1.0] * 3},
}
KNOWN = f"a preset ({', '.join(PRESETS)}), a YAML file in {CONFIGS}, or a mapping"


@dataclass(frozen=True)
class PresetOrFile:
    """Lets a preset's name or a file's path stand for the mapping."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"enum": sorted(PRESETS)}, {"type": "string"}, handler(schema)]}

    @staticmethod
    def _mapping(value: Any, info: ValidationInfo) -> Any:
        folder = (info.context or {}).get("folder", Path())
        if isinstance(value, str):
            if value not in PRESETS and is_outside(value, folder):
                raise conflict(f"{value}: lies outside {CONFIGS}, where DVC sees that a file changes; move it there")
            return mapping(value, folder, folder)
        if value is not None and not isinstance(value, dict | Preprocessing):
            raise conflict(f"expected {KNOWN}, found {show(value)}")
        if isinstance(value, dict):
            _check_classes(value, folder, folder)
        return value


def mapping(value: str, folder: Path, project: Path | None = None) -> Any:
    """What a preset or a file says. A file's own mistakes are an OctetError that names it.

    Args:
        value: A preset's name or a path.
        folder: In which the path begins.
        project: Where DVC has to see that a file which it names changes; None: it has not.
    """
    from octet.core.check import checked  # which reads sections, this one too

    if value in PRESETS:
        return PRESETS[value]
    if not value.endswith(ENDINGS):
        raise conflict(f"unknown preset {show(value)}. {nearest(value, PRESETS)} Or name a YAML file")
    path = folder / value
    document = yaml.read(path, f"it is what 'preprocess' names; expected {KNOWN}")
    if project is not None and isinstance(document.values, dict):
        _check_classes(document.values, path.parent, project)
    return checked(Preprocessing, path, document.values, document.duplicates)


def _check_classes(values: dict[str, Any], folder: Path, project: Path) -> None:
    """Raises PydanticCustomError where the class names are in a file outside configs/models of the project."""
    file = values.get("classes")
    if isinstance(file, str) and is_outside((folder / file).absolute(), project):
        raise conflict(f"classes: {file}: lies outside {CONFIGS}, where DVC sees that a file changes; move it there")


def read_preprocessing(value: str) -> Preprocessing:
    """What a preset or a file says.

    Raises:
        OctetError: There is no such preset or file, or something is wrong in it.
    """
    try:
        return Preprocessing.model_validate(mapping(value, Path()))
    except PydanticCustomError as error:
        raise OctetError(f"preprocess: {error}") from None
