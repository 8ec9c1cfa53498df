"""A split of a data set, whatever its layout on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from octet.core.errors import OctetError
from octet.data import cifar, folders

_FOLDERS = {"train": ("train", "calibration"), "test": ("test", "val", "validation")}


class Dataset(Protocol):
    """labels: int64 of shape (n,), all 0 where not `labelled`; classes: names by label."""

    labels: np.ndarray
    classes: tuple[str, ...]
    labelled: bool

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """An image: uint8 RGB of shape (H, W, 3). Raises Unreadable."""

    def name(self, index: int) -> str:
        """Where it is: the same image has the same name in every run and on every machine."""


def open_split(folder: str | Path, split: str, classes: Sequence[str], color_type: str = "color") -> Dataset:
    """The split, 'train' or 'test', of the data set in a folder: which layout it is, what lies there tells.

    - CIFAR-10 or CIFAR-100, binary or python version, unpacked or the official archive
    - train/, and test/ or val/, with a folder for each class
    - the same with images anywhere in them, and an annotation file meta/train.txt, meta/test.txt or meta/val.txt (or
      without meta/) of lines « path label »
    - for training, which then can only calibrate, a folder train/ or calibration/ of images without labels

    classes: the model's class names; labels count in their order. color_type: how files are read, of preprocess.json.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OctetError(
            f"{folder}: no such folder; 'dvc repro' draws data/digits32, other data sets have to be put there"
        )
    if cifar.find(folder):
        data = cifar.Cifar(folder, split)
        if len(data.classes) != len(classes):
            raise OctetError(
                f"{folder}: has {len(data.classes)} classes, the model {len(classes)}; take the data that it is for"
            )
        return data
    for name in _FOLDERS[split]:
        root = folder / name
        for file in (folder / "meta" / f"{name}.txt", folder / f"{name}.txt"):
            if file.is_file():
                return folders.annotated([root, folder], file, classes, color_type)
        if root.is_dir() and folders.inside(root):
            return folders.class_folders(root, classes, color_type)
    for name in _FOLDERS["train"] if split == "train" else ():
        if (folder / name).is_dir():
            return folders.unlabelled(folder / name, classes, color_type)
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    raise OctetError(
        f"{folder}: no data for the {split} split; expected CIFAR-10 or CIFAR-100, or a folder {' or '.join(_FOLDERS[split])} with "
        f"a folder for each class in it or with an annotation file meta/{_FOLDERS[split][-1]}.txt"
        f"{', or without labels' if split == 'train' else ''}; found {found or 'nothing'}"
    )


def indices_of(data: Dataset, names: Sequence[str]) -> list[int]:
    """The indices of the images of those names. Raises OctetError where there is no such image."""
    known = {data.name(k): k for k in range(len(data))}
    for name in names:
        if name not in known:
            raise OctetError(
                f"{name}: no such image in the data set, which has changed since it was evaluated; run 'make quantize'"
            )
    return [known[name] for name in names]
