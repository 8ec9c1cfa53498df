"""Images in files: a folder for each class, an annotation file as mmcls reads it, or a folder without labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octet.core.errors import OctetError
from octet.data.arrays import Labels, Pixels
from octet.data.image_files import read

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageFiles:
    """Image files: a Dataset. Pickled as where they lie, and refused where the folder is not there.

    Args:
        root: The folder that they lie in.
        names: Their paths in it.
        labels: A class for each; None where they are not known.
        classes: Their names, by label.
        color_type: How files are read, as in preprocess.json.
    """

    def __init__(
        self, root: Path, names: Sequence[str], labels: Sequence[int] | None, classes: Sequence[str], color_type: str
    ):
        self.root, self.names, self.classes, self.color_type = root, names, tuple(classes), color_type
        self.labelled = labels is not None
        self.labels: Labels = np.zeros(len(names), np.int64) if labels is None else np.array(labels, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"root": self.root.absolute()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if not self.root.is_dir():
            raise OctetError(f"{self.root}: no such folder")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Pixels:
        """An image, of the channels that color_type gives. Raises Unreadable."""
        return read(self.root / self.names[index], self.color_type)

    def name(self, index: int) -> str:
        """Its path in the folder."""
        return self.names[index]


def class_folders(root: Path, classes: Sequence[str], color_type: str) -> ImageFiles:
    """A folder for each class.

    Their names are the classes' or, where they are not, their sorted order gives the labels (ImageNet's n01440764, …,
    as mmcls has it); then there are as many as classes.

    Args:
        root: The folder that they are in.
        classes: The model's class names.
        color_type: As for ImageFiles.

    Raises:
        OctetError: The folders are not the classes, or hold no image.
    """
    folders = inside(root)
    if set(folders) <= set(classes):
        label = {name: list(classes).index(name) for name in folders}
    elif len(folders) == len(classes):
        label = {name: k for k, name in enumerate(folders)}
    else:
        strangers = [name for name in folders if name not in classes]
        raise OctetError(
            f"{root}: {len(folders)} class folders, the model has {len(classes)} classes; expected one for each, or folders "
            f"with the names of some. No class is called {_some(strangers)}; classes are {_some(classes)}"
        )
    names, labels = [], []
    for folder in folders:
        images = _images(root / folder)
        names += [f"{folder}/{name}" for name in images]
        labels += [label[folder]] * len(images)
    if not names:
        raise OctetError(f"{root}: no image in its class folders; expected files ending in {', '.join(ENDINGS)}")
    return ImageFiles(root, names, labels, classes, color_type)


def annotated(roots: Sequence[Path], file: Path, classes: Sequence[str], color_type: str) -> ImageFiles:
    """An annotation file: a line for each image, its path and its label, with a space between them.

    Args:
        roots: The folders in one of which the paths are.
        file: The annotation file.
        classes: The model's class names.
        color_type: As for ImageFiles.

    Raises:
        OctetError: A line is not so, or an image is not there.
    """
    names, labels = [], []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal() or len(label) > 9 or int(label) >= len(classes):
            raise OctetError(
                f"{file}: line {number} is {line!r}; expected an image's path, a space, and a label from 0 to {len(classes) - 1}"
            )
        names.append(name)
        labels.append(int(label))
    if not names:
        raise OctetError(f"{file}: has no line; expected one for each image")
    root = next((root for root in roots if _is_file(root / names[0])), roots[0])
    missing = [name for name in names if not _is_file(root / name)]
    if missing:
        raise OctetError(
            f"{file}: {len(missing):,} of the {len(names):,} images that it names are not in {root}: {_some(missing)}"
        )
    return ImageFiles(root, names, labels, classes, color_type)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise OctetError(f"{file}: not UTF-8 ({error}); expected a line for each image") from None


def unlabelled(root: Path, classes: Sequence[str], color_type: str) -> ImageFiles:
    """All images in a folder and below, in an order without meaning, so that the first few are a sample.

    Args:
        root: The folder.
        classes: The model's class names.
        color_type: As for ImageFiles.

    Raises:
        OctetError: There is no image in it.
    """
    names = sorted(_images(root), key=lambda name: hashlib.sha256(name.encode()).digest())
    if not names:
        raise OctetError(f"{root}: no image in it; expected files ending in {', '.join(ENDINGS)}")
    return ImageFiles(root, names, None, classes, color_type)


def inside(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted, but for hidden ones."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[str]:
    """The paths of all images in a folder and below, sorted."""
    images: list[str] = []
    for path, _, files in os.walk(folder):
        here = Path(path).relative_to(folder)
        images += [(here / name).as_posix() for name in files if name.lower().endswith(ENDINGS) and name[0] != "."]
    return sorted(images)


def _is_file(path: Path) -> bool:
    """Is there such a file? There is none, either, whose name the operating system does not take."""
    try:
        return path.is_file()
    except OSError:
        return False


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", …" if len(names) > 3 else "")
