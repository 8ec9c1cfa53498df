"""Images in files: a folder for each class, an annotation file as mmcls reads it, or a folder without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octet.core.errors import OctetError
from octet.core.places import is_file
from octet.core.text_lines import read_lines
from octet.data.arrays import Labels, Pixels
from octet.data.config_split import EXTENSIONS, UNTOLD, ConfigSplit
from octet.data.image_files import read
from octet.data.listing import Listing, check_no_link, folders_in, timm_order
from octet.data.source import Source, misplaced, naming_remark, some

UNLABELLED_EXTENSIONS = (*EXTENSIONS, ".tiff", ".webp")  # where there is no label, there is no figure of mmcls's


class ImageFiles:
    """Image files: a Dataset. Pickled as where they lie, and refused where the folder is not there.

    Args:
        root: The folder that they lie in.
        names: Their paths in it.
        labels: A class for each; None where they are not known.
        classes: Their names, by label.
        color_type: How files are read, as in preprocess.json.
        source: Where all this comes from.
        folders: The class folders, by label, where these give the labels.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: Sequence[int] | None,
        classes: Sequence[str],
        color_type: str,
        source: Source,
        folders: Sequence[str] = (),
    ):
        self.root, self.names, self.classes, self.color_type = root, names, tuple(classes), color_type
        self.source, self.labelled, self.folders = source, labels is not None, tuple(folders)
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


def class_folders(
    root: Path,
    classes: Sequence[str],
    color_type: str,
    config: ConfigSplit = UNTOLD,
    data: Path | None = None,
) -> ImageFiles:
    """A folder for each class; their sorted order gives the labels, whatever they are called, as mmcls has it.

    Where config has `by_name`, and the folders are called as the classes are, the names give them.

    Args:
        root: The folder that they are in.
        classes: The model's class names.
        color_type: As for ImageFiles.
        config: How the split is read.
        data: The data set's folder; None: root.

    Raises:
        OctetError: There are not as many folders as classes, it is not clear which label one has, they hold no image, or a
            folder is a link.
    """
    data = data or root
    folders = folders_in(root)
    for place in (root, *(root / name for name in folders)):
        check_no_link(place, data)
    by_name = config.by_name and sorted(folders) == sorted(classes)
    remarks = [] if by_name else naming_remark(folders, classes)
    if by_name and folders != list(classes):
        remarks.append(
            "class folders are labelled by the names in 'classes' of 'preprocess', not by their sorted order"
        )
    if len(folders) != len(classes):
        if config.has_names or len(folders) > len(classes):
            raise OctetError(f"{root}: {_unequal(folders, classes)}")
        remarks.insert(0, f"{root}: {_unequal(folders, classes)}")
    if not by_name:
        _check_order(root, folders, classes, config)
    label_of = {name: label for label, name in enumerate(classes if by_name else folders)}
    listing, names, labels = Listing(config.extensions), list[str](), list[int]()
    for folder in folders:
        images = listing.images(root / folder)
        names += [f"{folder}/{name}" for name in images]
        labels += [label_of[folder]] * len(images)
    if not names:
        raise OctetError(
            f"{root}: no image in its class folders; expected files ending in {', '.join(config.extensions)}"
        )
    remarks += _left_out(root, names, listing)
    how = "class folders by their names" if by_name else "class folders in sorted order"
    source = Source(_inside(root, data), f"{how}, {len(folders)}", remarks)
    return ImageFiles(root, names, labels, classes, color_type, source, sorted(label_of, key=label_of.__getitem__))


def _left_out(root: Path, names: Sequence[str], listing: Listing) -> list[str]:
    """What of class folders counts or does not where a user may think otherwise, in remarks."""
    remarks = []
    if listing.others:
        endings = ", ".join(listing.extensions)
        remarks.append(f"{root}: {listing.others:,} files are no images to mmcls and left out; images end in {endings}")
    hidden = [name for name in names if "/." in name or name.startswith(".")]
    if hidden:
        remarks.append(f"{root}: {len(hidden):,} images are in hidden folders and count, as in mmcls: {some(hidden)}")
    beside = listing.beside(root)
    if beside:
        where = "in none of its class folders and left out, as in mmcls"
        remarks.append(f"{root}: {len(beside):,} images are {where}: {some(beside)}")
    return remarks


def _check_order(root: Path, folders: Sequence[str], classes: Sequence[str], config: ConfigSplit) -> None:
    """Raises OctetError where the sorted order of the class folders need not be that of the network's outputs."""
    if config.by_name and misplaced(folders, classes):
        strangers = [folder for folder in folders if folder not in set(classes)]
        raise OctetError(
            f"{root}: folders are called as classes are, in another order and not all to the letter: no class is called "
            f"{some(strangers)}. Call each folder as its class is called in 'classes' of 'preprocess'"
        )
    other = timm_order(folders)
    if config.timm and (unlike := [k for k, name in enumerate(folders) if name != other[k]]):
        label = unlike[0]
        raise OctetError(
            f"{root}: which class folder is which output? Of a network that timm trained, label {label} is "
            f"{other[label]!r}, since timm's own order is {some(other)}; of one that was trained by torchvision's ImageFolder it "
            f"is {folders[label]!r}, since the sorted order is {some(folders)}. The weights do not tell. Write the names of the "
            "folders in the order of the outputs, as 'classes: [name, …]' or 'classes: file.txt' with one a line, into what "
            "'preprocess' in the model's entry names: the file that 'make quantize TIMM=' writes has both orders, as comments"
        )


def _unequal(folders: Sequence[str], classes: Sequence[str]) -> str:
    """What is wrong where there are other numbers of class folders and classes."""
    strangers = [name for name in folders if name not in classes]
    lacking = [name for name in classes if name not in folders]
    hidden = [name for name in folders if name.startswith(".")]
    parts = [
        f"{len(folders)} class folders, the model has {len(classes)} classes; expected one for each, since mmcls labels them "
        "by their sorted order",
        f"No class is called {some(strangers)}" if strangers else "",
        f"no folder is called {some(lacking)}" if lacking else "",
        f"hidden folders count, as in mmcls: take {some(hidden)} away" if hidden else "",
    ]
    return "; ".join(filter(None, parts))


def _inside(path: Path, data: Path) -> str:
    return path.relative_to(data).as_posix() if path.is_relative_to(data) else path.name


@dataclass(frozen=True)
class Annotations:
    """An annotation file: a line for each image, its path and its label, with a space between them.

    Args:
        file: The file.
        names: The images' paths.
        labels: Their labels.
        remarks: What a user should know of the file.
    """

    file: Path
    names: list[str]
    labels: list[int]
    remarks: list[str]

    @classmethod
    def read(cls, file: Path, classes: Sequence[str]) -> Annotations:
        """Reads it as mmcls does: the label is what follows the line's last space.

        Raises:
            OctetError: A line is not so, or a label is none of the classes.
        """
        names, labels, remarks = list[str](), list[int](), list[str]()
        lines = read_lines(file, "a line for each image, its path, a space and its label", remarks.append)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            name, _, label = line.strip().rpartition(" ")
            if not name or not label.isdecimal() or len(label) > 9 or int(label) >= len(classes):
                raise OctetError(
                    f"{file}: line {number} is {line!r}; expected an image's path, a space, and a label from 0 to "
                    f"{len(classes) - 1}"
                )
            names.append(name)
            labels.append(int(label))
        if not names:
            raise OctetError(f"{file}: has no line; expected one for each image")
        return cls(file, names, labels, remarks)

    @property
    def without_labels(self) -> bool:
        """Has every line the label 0, as the file has that names ImageNet's test images, whose labels are not known?"""
        return len(self.labels) > 1 and not any(self.labels)

    def images(self, roots: Sequence[Path], classes: Sequence[str], color_type: str, data: Path) -> ImageFiles:
        """The images.

        Args:
            roots: The folders in one of which the paths are.
            classes: The model's class names.
            color_type: As for ImageFiles.
            data: The data set's folder.

        Raises:
            OctetError: An image is not there or outside the data set's folder, or a folder is a link.
        """
        names = self.names
        root = next((root for root in roots if is_file(root / names[0])), roots[0])
        missing = [name for name in names if not is_file(root / name)]
        if missing:
            raise OctetError(
                f"{self.file}: {len(missing):,} of the {len(names):,} images that it names are not in {root}: {some(missing)}"
            )
        for folder in sorted({self.file.parent, *((root / name).parent for name in names)}):
            check_no_link(folder, data)
            if not folder.resolve().is_relative_to(data.resolve()):
                raise OctetError(
                    f"{self.file}: names images in {folder}, outside {data}, where DVC does not see that they change; put them "
                    "there"
                )
        source = Source(
            _inside(self.file, data), f"annotation file of the images in {_inside(root, data)}", [*self.remarks]
        )
        return ImageFiles(root, names, self.labels, classes, color_type, source)


def unlabelled(root: Path, classes: Sequence[str], color_type: str, data: Path) -> ImageFiles:
    """All images in a folder and below, in an order without meaning, so that the first few are a sample.

    Args:
        root: The folder.
        classes: The model's class names.
        color_type: As for ImageFiles.
        data: The data set's folder.

    Raises:
        OctetError: There is no image in it, or a folder is a link.
    """
    check_no_link(root, data)
    listing = Listing(UNLABELLED_EXTENSIONS)
    names = sorted(listing.images(root), key=lambda name: hashlib.sha256(name.encode()).digest())
    if not names:
        raise OctetError(f"{root}: no image in it; expected files ending in {', '.join(UNLABELLED_EXTENSIONS)}")
    return ImageFiles(root, names, None, classes, color_type, Source(root.name, "images without labels"))
