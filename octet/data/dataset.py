"""A split of a data set, whatever its layout on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from octet.core.errors import OctetError
from octet.data import folders
from octet.data.arrays import Labels, Pixels
from octet.data.cifar import Cifar
from octet.data.cifar_layouts import find

_FOLDERS = {"train": ("train", "calibration"), "test": ("test", "val", "validation")}


class Dataset(Protocol):
    """One split.

    Attributes:
        labels: Of shape (n,), all 0 where not `labelled`.
        classes: Their names, by label.
        labelled: Are the labels known?
    """

    labels: Labels
    classes: tuple[str, ...]
    labelled: bool

    def __len__(self) -> int: ...

    def image(self, index: int) -> Pixels:
        """An image. Raises Unreadable."""

    def name(self, index: int) -> str:
        """Where it is: the same image has the same name in every run and on every machine."""


def open_split(folder: str | Path, split: str, classes: Sequence[str], color_type: str = "color") -> Dataset:
    """The split of the data set in a folder: which layout it has, what lies there tells.

    - CIFAR-10 or CIFAR-100, binary or python version, unpacked or the official archive
    - train/, and test/ or val/, with a folder for each class
    - the same with images anywhere in them, and an annotation file meta/train.txt, meta/test.txt or meta/val.txt (or
      without meta/) of lines « path label »
    - for training, which then can only calibrate, a folder train/ or calibration/ of images without labels

    >>> import cv2, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as name:
    ...     for label in ("cat", "dog"):
    ...         folder = Path(name) / "test" / label
    ...         folder.mkdir(parents=True)
    ...         _ = cv2.imwrite(str(folder / "1.png"), np.zeros((4, 6, 3), np.uint8))
    ...     test = open_split(name, "test", ["dog", "cat"])
    ...     test.name(0), test.labels.tolist(), test.image(0).shape
    ('cat/1.png', [1, 0], (4, 6, 3))

    Args:
        folder: The data set's.
        split: 'train' or 'test'.
        classes: The model's class names; labels count in their order.
        color_type: How files are read, as in preprocess.json.

    Raises:
        OctetError: There is no such split, or it does not fit the classes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OctetError(
            f"{folder}: no such folder; 'dvc repro' draws data/digits32, other data sets have to be put there"
        )
    if find(folder):
        cifar = Cifar(folder, split)
        if len(cifar.classes) != len(classes):
            raise OctetError(
                f"{folder}: has {len(cifar.classes)} classes, the model {len(classes)}; take the data that it is for"
            )
        return cifar
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
    raise _no_split(folder, split)


def _no_split(folder: Path, split: str) -> OctetError:
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    return OctetError(
        f"{folder}: no data for the {split} split; expected CIFAR-10 or CIFAR-100, or a folder {' or '.join(_FOLDERS[split])} with "
        f"a folder for each class in it or with an annotation file meta/{_FOLDERS[split][-1]}.txt"
        f"{', or without labels' if split == 'train' else ''}; found {names or 'nothing'}"
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
