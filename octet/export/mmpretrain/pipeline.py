"""mmpretrain's test pipeline and data_preprocessor as the pipeline of mmcls 0.x.

Sizes are (width, height) in mmcv 2 and (height, width) in mmcls. Normalizing is a step in mmcls; mmpretrain does it on
the whole batch, in fp32 (its ClsDataPreprocessor), so the last bit of a normalized pixel may differ.

Source: mmpretrain/datasets/transforms, mmcv/transforms (2.x), mmpretrain/models/utils/data_preprocessor.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from octet.core.errors import OctetError

Step = dict[str, Any]
_PREPROCESSORS = ("ClsDataPreprocessor", "ImgDataPreprocessor")
_ENDS: list[Step] = [
    {"type": "ImageToTensor", "keys": ["img"]},
    {"type": "Collect", "keys": ["img"], "meta_keys": ()},
]


def pipeline_of(steps: Sequence[Step], preprocessor: Step, where: str, preprocessor_key: str) -> list[Step]:
    """The pipeline as mmcls 0.x has it.

    >>> steps = [{"type": "ResizeEdge", "scale": 256}, {"type": "CenterCrop", "crop_size": 224}, {"type": "PackInputs"}]
    >>> pipeline_of(steps, {"mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": True}, "my.py: test", "my.py: data_preprocessor")[:2]
    [{'type': 'Resize', 'size': (256, -1), 'adaptive_side': 'short'}, {'type': 'CenterCrop', 'crop_size': (224, 224)}]

    Args:
        steps: mmpretrain's.
        preprocessor: The config's data_preprocessor.
        where: The data set's place in the config, for errors.
        preprocessor_key: The preprocessor's place, for errors.

    Raises:
        OctetError: There is a step or an option that Octet does not know.
    """
    written: list[Step] = []
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind not in _STEPS:
            raise OctetError(
                f"{where}.pipeline: Octet does not know the step {kind or step!r}; it knows {', '.join(_STEPS)}"
            )
        written += _STEPS[kind](step, f"{where}.pipeline: {kind}")
    normalize = _normalize(preprocessor, preprocessor_key)
    if normalize and any(step["type"] == "Normalize" for step in written):
        raise OctetError(
            f"{where}.pipeline: has Normalize, and {preprocessor_key} normalizes too; take one of them away"
        )
    return [*written, *normalize, *_ENDS]


def _load(step: Step, where: str) -> list[Step]:
    if step.get("imdecode_backend", "cv2") != "cv2":
        raise OctetError(f"{where} has imdecode_backend={step['imdecode_backend']!r}; Octet decodes by cv2")
    return [_picked(step, "to_float32", "color_type")]


def _resize_edge(step: Step, where: str) -> list[Step]:
    size = (_number(step, "scale", where), -1)
    return [{"type": "Resize", "size": size, "adaptive_side": step.get("edge", "short")} | _filter(step)]


def _resize(step: Step, where: str) -> list[Step]:
    if step.get("keep_ratio") or step.get("scale") is None:
        raise OctetError(
            f"{where} has {'keep_ratio' if step.get('keep_ratio') else 'no scale'}, which gives every image another size; expected "
            "scale=(width, height), or ResizeEdge and CenterCrop"
        )
    return [{"type": "Resize", "size": _height_width(step["scale"], f"{where}: scale")} | _filter(step)]


def _center_crop(step: Step, where: str) -> list[Step]:
    if step.get("auto_pad"):
        raise OctetError(f"{where} has auto_pad, which Octet does not know; take it away")
    return [{"type": "CenterCrop", "crop_size": _height_width(step.get("crop_size"), f"{where}: crop_size")}]


def _efficientnet_crop(step: Step, where: str) -> list[Step]:
    defaults = {"crop_padding": 32, "interpolation": "bicubic", "backend": "cv2"}
    options = {key: step.get(key, default) for key, default in defaults.items()}
    size = _number(step, "crop_size", where)
    return [{"type": "CenterCrop", "crop_size": size, "efficientnet_style": True} | options]


def _pack(step: Step, where: str) -> list[Step]:
    if step.get("input_key", "img") != "img":
        raise OctetError(f"{where} has input_key={step['input_key']!r}; expected 'img'")
    return []


def _as_it_is(step: Step, _: str) -> list[Step]:
    return [step]


_STEPS: dict[str, Callable[[Step, str], list[Step]]] = {
    "LoadImageFromFile": _load,
    "ResizeEdge": _resize_edge,
    "Resize": _resize,
    "CenterCrop": _center_crop,
    "EfficientNetCenterCrop": _efficientnet_crop,
    "Normalize": _as_it_is,
    "PackInputs": _pack,
}


def _normalize(preprocessor: Step, where: str) -> list[Step]:
    """What the data_preprocessor does, as a step of mmcls; none where it does nothing."""
    if not isinstance(preprocessor, dict):
        raise OctetError(f"{where}: expected a dictionary with mean and std, or none")
    kind = preprocessor.get("type", _PREPROCESSORS[0])
    if kind not in _PREPROCESSORS:
        raise OctetError(f"{where}.type is {kind!r}; Octet knows {' and '.join(_PREPROCESSORS)}")
    if preprocessor.get("pad_size_divisor", 1) != 1:
        raise OctetError(f"{where}.pad_size_divisor: Octet does not pad; resize to a size that needs no padding")
    swaps = any(preprocessor.get(key) for key in ("to_rgb", "bgr_to_rgb", "rgb_to_bgr"))
    mean, std = preprocessor.get("mean"), preprocessor.get("std")
    if (mean is None) != (std is None):
        raise OctetError(f"{where}: expected mean and std, or neither of them")
    if mean is None or std is None:
        return [{"type": "Normalize", "mean": [0.0] * 3, "std": [1.0] * 3, "to_rgb": True}] if swaps else []
    if not isinstance(mean, list | tuple) or not isinstance(std, list | tuple):
        raise OctetError(f"{where}: mean is {mean!r} and std {std!r}; expected a list each, of one number a channel")
    return [{"type": "Normalize", "mean": list(mean), "std": list(std), "to_rgb": swaps}]


def _picked(step: Step, *keys: str) -> Step:
    return {"type": step["type"]} | {key: step[key] for key in keys if key in step}


def _filter(step: Step) -> Step:
    return {key: step[key] for key in ("interpolation", "backend") if key in step}


def _number(step: Step, key: str, where: str) -> int:
    value = step.get(key)
    if not isinstance(value, int):
        raise OctetError(f"{where}: {key} is {value!r}; expected a number of pixels")
    return value


def _height_width(value: object, where: str) -> tuple[int, int]:
    match value:
        case int():
            return value, value
        case (int(width), int(height)):
            return height, width
    raise OctetError(f"{where} is {value!r}; expected a number of pixels, or (width, height)")
