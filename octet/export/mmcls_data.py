"""An mmcls config's data sets: their class names, and where they lie and how mmcls reads them."""

from __future__ import annotations

import inspect
import os.path
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.text_lines import read_lines
from octet.data.config_split import EXTENSIONS, ConfigSplit, common_folder
from octet.export.mmcls_model import CIFAR10, DATASETS, MNIST, Config, CustomDataset, MultiLabelDataset
from octet.export.mmcls_package import registered
from octet.export.wrappers import SEVERAL, unwrapped


def dataset_classes(data: Config, name: str) -> list[str]:
    """The class names of a config's data set: its own `classes`, or those that mmcls's data set of this type has.

    Its own are names, or a file with one a line, as mmcls reads it; empty lines at its end are no names.

    Args:
        data: The config's data.test.
        name: The config's file, for errors.

    Raises:
        OctetError: They are neither, or there is no such file.
    """
    classes = data.get("classes")
    if isinstance(classes, str):
        lines = read_lines(Path(classes).expanduser(), "the names that the config's data.test.classes has, one a line")
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            raise OctetError(
                f"{classes}: has no class names; expected those that the config's data.test.classes has, one a line"
            )
        return lines
    if classes is not None and not _are(classes, str, int):
        raise OctetError(
            f"{name}: data.test.classes: expected a list of names, or a file with one a line, found {classes!r:.80}"
        )
    return list(classes or getattr(registered(DATASETS, data.type), "CLASSES", None) or [])


def config_splits(config: Config, name: str) -> dict[str, ConfigSplit]:
    """What the config's data.train and data.test say of where images and labels are, if it is more than CIFAR's place.

    Places are in the folder in which all lies that the config names.

    Args:
        config: The config.
        name: Its file, for errors.

    Raises:
        OctetError: A data set has several labels an image.
    """
    parts = {split: unwrapped(config.data.get(split), f"{name}: data.{split}") for split in ("train", "test")}
    places = [
        part[key] for part, _ in parts.values() for key in ("data_prefix", "ann_file") if _is_place(part.get(key))
    ]
    try:
        root = common_folder(places) if places else "."
    except OctetError:  # absolute and other paths: of no one folder
        return {}
    splits = dict[str, ConfigSplit | None]()
    for split, (part, picked_by) in parts.items():
        if part.get("type", SEVERAL) != SEVERAL:
            # Calibration may read training images that training did not take; judging may not.
            picked_by = part.get("picked_by") or picked_by if split == "test" else ""
            splits[split] = _split(part, root, f"{name}: data.{split}", picked_by)
    return {split: place for split, place in splits.items() if place}


def _is_place(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _split(part: dict[str, Any], root: str, where: str, picked_by: str) -> ConfigSplit | None:
    kind = registered(DATASETS, part["type"])
    if kind is None:  # such as mmpretrain's Food101, or its BaseDataset of a JSON file
        return ConfigSplit(str(part["type"]), "unknown", picked_by=picked_by)
    if issubclass(kind, MultiLabelDataset):
        raise OctetError(
            f"{where}: {part['type']} gives an image several labels; Octet judges classifiers that choose one class of several"
        )
    if issubclass(kind, (CIFAR10, MNIST)):
        told = bool(part.get("test_mode", True))
        return (
            None if told and not picked_by else ConfigSplit(part["type"], "arrays", test_mode=told, picked_by=picked_by)
        )
    has_names = bool(part.get("classes") or getattr(kind, "CLASSES", None))
    if not _reads_as_custom(kind) or not _is_place(part.get("data_prefix")):
        return ConfigSplit(part["type"], "unknown", has_names=has_names, picked_by=picked_by)
    annotations = part.get("ann_file")
    return ConfigSplit(
        part["type"],
        "files",
        os.path.relpath(str(part["data_prefix"]), root),
        os.path.relpath(str(annotations), root) if _is_place(annotations) else None,
        _extensions(kind, part, where),
        has_names,
        annotations_optional=bool(part.get("ann_file_optional")),
        picked_by=picked_by,
    )


def _reads_as_custom(kind: type) -> bool:
    """Does it find images and labels as CustomDataset does?"""
    methods = ("load_annotations", "_find_samples", "is_valid_file", "get_gt_labels")
    return issubclass(kind, CustomDataset) and all(getattr(kind, m) is getattr(CustomDataset, m) for m in methods)


def _are(values: object, *kinds: type) -> bool:
    """Is it a list, and all in it of these kinds?"""
    return isinstance(values, list | tuple) and all(isinstance(value, kinds) for value in values)


def _extensions(kind: type, part: dict[str, Any], where: str) -> list[str]:
    """The endings of images, in small letters, sorted."""
    if "extensions" in part:
        if not _are(list(part["extensions"]) if isinstance(part["extensions"], set) else part["extensions"], str):
            raise OctetError(
                f"{where}.extensions: expected a list of endings as '.png', found {part['extensions']!r:.80}"
            )
        return sorted({ending.lower() for ending in part["extensions"]})
    default = inspect.signature(kind).parameters.get("extensions")
    endings = default.default if default and default.default is not inspect.Parameter.empty else None
    return sorted({ending.lower() for ending in endings or getattr(kind, "IMG_EXTENSIONS", None) or EXTENSIONS})
