"""A split of a data set, whatever its layout on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from octet.core.errors import OctetError
from octet.core.params import FILE
from octet.data import folders
from octet.data.arrays import Labels, Pixels
from octet.data.cifar import Cifar
from octet.data.cifar_layouts import find
from octet.data.config_split import UNTOLD, ConfigSplit
from octet.data.folders import Annotations, ImageFiles
from octet.data.listing import folders_in
from octet.data.source import Source, labels_remark

_FOLDERS = {"train": ("train", "calibration"), "test": ("test", "val", "validation")}


class Dataset(Protocol):
    """One split.

    Attributes:
        labels: Of shape (n,), all 0 where not `labelled`.
        classes: Their names, by label.
        labelled: Are the labels known?
        source: Where all this comes from.
    """

    labels: Labels
    classes: tuple[str, ...]
    labelled: bool
    source: Source

    def __len__(self) -> int: ...

    def image(self, index: int) -> Pixels:
        """An image. Raises Unreadable."""

    def name(self, index: int) -> str:
        """Where it is: the same image has the same name in every run and on every machine."""


def open_split(
    folder: str | Path,
    split: str,
    classes: Sequence[str],
    color_type: str = "color",
    config: ConfigSplit | None = None,
) -> Dataset:
    """The split of the data set in a folder.

    What the model's entry names has to be there. What the mmcls config names is read as mmcls reads it, where it lies there.
    Otherwise what lies there tells which layout it has:

    - CIFAR-10 or CIFAR-100, binary or python version, unpacked or the official archive
    - train/, and test/ or val/, with a folder for each class, labelled by the folders' sorted order, or by the classes' names
    - the same with images anywhere in them, and an annotation file meta/train.txt, meta/test.txt or meta/val.txt (or
      without meta/) of lines « path label »; one for test in which every label is 0 is passed over, as ImageNet's is
    - where there is none of these, a folder of images without labels: train/ or calibration/, test/ or val/

    >>> import cv2, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as name:
    ...     for label in ("cat", "dog"):
    ...         folder = Path(name) / "test" / label
    ...         folder.mkdir(parents=True)
    ...         _ = cv2.imwrite(str(folder / "1.png"), np.zeros((4, 6, 3), np.uint8))
    ...     test = open_split(name, "test", ["cat", "dog"])
    ...     test.name(0), test.labels.tolist(), test.image(0).shape
    ('cat/1.png', [0, 1], (4, 6, 3))

    Args:
        folder: The data set's.
        split: 'train' or 'test'.
        classes: The model's class names; labels count in their order. Of a model without classes (), and labels are not read.
        color_type: How files are read, as in preprocess.json.
        config: The split as the model's entry or the mmcls config has it.

    Raises:
        OctetError: There is no such split, or it does not fit the classes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OctetError(
            f"{folder}: no such folder; 'dvc repro' draws data/digits32, other data sets have to be put there"
        )
    dataset: Dataset
    if config and config.key:
        dataset = _as_entry(folder, split, classes, color_type, config)
    elif not classes:
        return _images_alone(folder, split, color_type)
    elif config and config.lies_in(folder):
        dataset = _as_config(folder, split, classes, color_type, config)
    else:
        if config and config.reads != "files":  # of files what the config names is not here: these are others
            _check_all_are_taken(config, split)
        is_cifar = find(folder)
        dataset = (
            _cifar(folder, split, classes, config)
            if is_cifar
            else _as_it_lies(folder, split, classes, color_type, config)
        )
    if dataset.labelled and classes:
        dataset.source.remarks.extend(labels_remark(dataset.labels.tolist(), classes, split))
    return dataset


def _images_alone(folder: Path, split: str, color_type: str) -> Dataset:
    """All images of a split, whatever their labels."""
    if find(folder):
        return Cifar(folder, split)
    for name in _FOLDERS[split]:
        if (folder / name).is_dir():
            return folders.unlabelled(folder / name, (), color_type, folder)
    raise _no_split(folder, split, [])


def _as_entry(folder: Path, split: str, classes: Sequence[str], color_type: str, config: ConfigSplit) -> ImageFiles:
    """What the model's entry names; an error says which key does."""
    root, annotations = folder / config.folder, config.annotation_file(folder)
    if not root.is_dir():
        names = ", ".join(sorted(path.name for path in root.parent.iterdir())[:8]) if root.parent.is_dir() else ""
        found = f"; {root.parent} has {names}" if names else ""
        raise OctetError(f"{FILE}: {config.key}.folder: {root}: no such folder{found}. Put it there, or name another")
    if annotations is not None and not annotations.is_file():
        raise OctetError(
            f"{FILE}: {config.key}.annotations: {annotations}: no such file. Put it there, name another, or leave it out where "
            f"{root} has a folder for each class"
        )
    try:
        if classes:
            return _as_config(folder, split, classes, color_type, config)
        if annotations is None:
            return folders.unlabelled(root, classes, color_type, folder)
    except OctetError as error:
        raise OctetError(f"{FILE}: {config.key}: {error}") from None
    raise OctetError(
        f"{FILE}: {config.key}.annotations: the model gives no class scores and needs no labels; leave it out"
    )


def _as_config(folder: Path, split: str, classes: Sequence[str], color_type: str, config: ConfigSplit) -> ImageFiles:
    """What the config names."""
    _check_all_are_taken(config, split)
    root = folder / config.folder
    annotations = config.annotation_file(folder)
    if annotations is None and not folders_in(root):
        return folders.unlabelled(root, classes, color_type, folder)
    if annotations is not None:
        return Annotations.read(annotations, classes).images([root], classes, color_type, folder)
    files = [file for name in _FOLDERS[split] for file in _annotation_files(folder, name) if file.is_file()]
    why = f"{config.key} has no annotations" if config.key else f"the config's data.{split} has no ann_file"
    remarks = [f"{files[0]}: not read, since {why}"] if files else []
    return _with(remarks, folders.class_folders(root, classes, color_type, config, folder))


def _check_all_are_taken(config: ConfigSplit, split: str) -> None:
    """Raises OctetError where the config takes some of a split's images, or some of them more often than others."""
    if config.picked_by:
        raise OctetError(
            f"{config.picked_by}: it does not take each image there once, as Octet would; images that it leaves out may be "
            f"those that the model was trained on. List the images of the {split} split in an annotation file, or put them into a "
            f"folder of their own, and name it in 'splits.{split}' of the model's entry; or take a config without it"
        )


def _annotation_files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / "meta" / f"{name}.txt", folder / f"{name}.txt"


def _cifar(folder: Path, split: str, classes: Sequence[str], config: ConfigSplit | None) -> Cifar:
    cifar = Cifar(folder, split if config is None or config.test_mode else "train")
    if len(cifar.classes) != len(classes):
        raise OctetError(
            f"{folder}: has {len(cifar.classes)} classes, the model {len(classes)}; take the data that it is for"
        )
    if config and not config.test_mode and split == "test":
        cifar.source.remarks.append("the config's data.test.test_mode is False: these are the training images")
    return cifar


def _as_it_lies(
    folder: Path, split: str, classes: Sequence[str], color_type: str, config: ConfigSplit | None
) -> ImageFiles:
    """What lies there tells which layout it has."""
    remarks, passed_over = [], False
    if config and config.reads == "files":
        named = " and ".join(filter(None, (config.folder, config.annotations)))
        remarks.append(f"what the config names, {named}, is not in {folder}; taken is what lies there")
    if config and config.reads == "unknown":
        remarks.append(
            f"how the config's data set, {config.type}, labels images is not known; taken is what lies there"
        )
    for name in _FOLDERS[split]:
        root = folder / name
        for file in _annotation_files(folder, name):
            if not file.is_file():
                continue
            lines = Annotations.read(file, classes)
            if split == "test" and len(classes) > 1 and lines.without_labels:
                remarks.append(f"{file}: passed over, as every label in it is 0, like ImageNet's, which has no labels")
                passed_over = True
                continue
            return _with(remarks, lines.images([root, folder], classes, color_type, folder))
        if root.is_dir() and folders_in(root):
            return _with(remarks, folders.class_folders(root, classes, color_type, config or UNTOLD, folder))
    for name in () if passed_over else _FOLDERS[split]:
        if (folder / name).is_dir():
            return _with(remarks, folders.unlabelled(folder / name, classes, color_type, folder))
    raise _no_split(folder, split, remarks)


def _with(remarks: Sequence[str], dataset: ImageFiles) -> ImageFiles:
    dataset.source.remarks[:0] = remarks
    return dataset


def _no_split(folder: Path, split: str, remarks: Sequence[str]) -> OctetError:
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    return OctetError(
        f"{folder}: no data for the {split} split; expected CIFAR-10 or CIFAR-100, or a folder {' or '.join(_FOLDERS[split])} with "
        f"a folder for each class in it, with an annotation file meta/{_FOLDERS[split][-1]}.txt, or of images without labels; "
        f"found {names or 'nothing'}"
        f"{''.join(f'. {remark}' for remark in remarks)}. 'splits' in the model's entry names other folders"
    )


def indices_of(dataset: Dataset, names: Sequence[str]) -> list[int]:
    """The indices of the images of those names. Raises OctetError where there is no such image."""
    index = {dataset.name(k): k for k in range(len(dataset))}
    for name in names:
        if name not in index:
            raise OctetError(
                f"{name}: no such image in the data set, which has changed since it was evaluated; run 'make quantize'"
            )
    return [index[name] for name in names]
