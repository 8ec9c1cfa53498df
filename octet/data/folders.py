"""Images in files: a folder for each class, an annotation file as mmcls reads it, or a folder without labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError
from octet.data.image_files import read

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageFiles:
    """Image files under `root`. names: their paths in it. labels: int64 of shape (n,), all 0 where not `labelled`.
    classes: names by label.
    """

    def __init__(
        self, root: Path, names: Sequence[str], labels: Sequence[int] | None, classes: Sequence[str], color_type: str
    ):
        self.root, self.names, self.classes, self.color_type = root, names, tuple(classes), color_type
        self.labelled = labels is not None
        self.labels = np.array(labels, np.int64) if self.labelled else np.zeros(len(names), np.int64)

    def __getstate__(self) -> dict:
        return vars(self) | {"root": self.root.absolute()}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        if not self.root.is_dir():
            raise OctetError(f"{self.root}: no such folder")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> np.ndarray:
        """An image: uint8 RGB of shape (H, W, 3), or as color_type says. Raises Unreadable."""
        return read(self.root / self.names[index], self.color_type)

    def name(self, index: int) -> str:
        return self.names[index]


def class_folders(root: Path, classes: Sequence[str], color_type: str) -> ImageFiles:
    """A folder for each class. Their names are the classes' or, where they are not, their sorted order gives the labels
    (ImageNet's n01440764, …, as mmcls has it); then there are as many as classes.
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
        found = _images(root / folder)
        names += [f"{folder}/{name}" for name in found]
        labels += [label[folder]] * len(found)
    if not names:
        raise OctetError(f"{root}: no image in its class folders; expected files ending in {', '.join(ENDINGS)}")
    return ImageFiles(root, names, labels, classes, color_type)


def annotated(roots: Sequence[Path], file: Path, classes: Sequence[str], color_type: str) -> ImageFiles:
    """An annotation file: a line for each image, its path in one of `roots` and its label, with a space between them."""
    names, labels = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal() or int(label) >= len(classes):
            raise OctetError(
                f"{file}: line {number} is {line!r}; expected an image's path, a space, and a label from 0 to {len(classes) - 1}"
            )
        names.append(name)
        labels.append(int(label))
    if not names:
        raise OctetError(f"{file}: has no line; expected one for each image")
    root = next((root for root in roots if (root / names[0]).is_file()), roots[0])
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise OctetError(
            f"{file}: {len(missing):,} of the {len(names):,} images that it names are not in {root}: {_some(missing)}"
        )
    return ImageFiles(root, names, labels, classes, color_type)


def unlabelled(root: Path, classes: Sequence[str], color_type: str) -> ImageFiles:
    """All images in a folder and below, in an order without meaning, so that the first few are a sample."""
    names = sorted(_images(root), key=lambda name: hashlib.sha256(name.encode()).digest())
    if not names:
        raise OctetError(f"{root}: no image in it; expected files ending in {', '.join(ENDINGS)}")
    return ImageFiles(root, names, None, classes, color_type)


def inside(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted, but for hidden ones."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[str]:
    """The paths of all images in a folder and below, sorted."""
    found = []
    for path, folders, files in os.walk(folder):
        folders.sort()
        here = Path(path).relative_to(folder)
        found += [(here / name).as_posix() for name in files if name.lower().endswith(ENDINGS) and name[0] != "."]
    return sorted(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", …" if len(names) > 3 else "")
