"""The image files in a folder, listed as mmcls lists them (mmcv.fileio.HardDiskBackend.list_dir_or_file)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from octet.core.errors import OctetError


class Listing:
    """Image files by their endings, those that are links to files included.

    Hidden files are left out and hidden folders are not, as mmcls has it.

    Args:
        extensions: The endings, in small letters.

    Attributes:
        others: How many files ended otherwise.
    """

    def __init__(self, extensions: Sequence[str]):
        self.extensions = tuple(extensions)
        self.others = 0

    def images(self, folder: Path) -> list[str]:
        """The paths of all images in a folder and below, sorted.

        Raises:
            OctetError: A folder in it is a link, or a name is not UTF-8.
        """
        paths: list[str] = []
        self._collect(folder, "", paths)
        return _checked(folder, sorted(paths))

    def beside(self, folder: Path) -> list[str]:
        """The names of the images in a folder itself, not below, sorted. Raises OctetError where one is not UTF-8."""
        return _checked(folder, sorted(e.name for e in os.scandir(folder) if not e.is_dir() and self._is_image(e.name)))

    def _is_image(self, name: str) -> bool:
        return name.lower().endswith(self.extensions) and not name.startswith(".")

    def _collect(self, folder: Path, prefix: str, paths: list[str]) -> None:
        for entry in os.scandir(folder):
            if not entry.is_dir():
                if self._is_image(entry.name):
                    paths.append(prefix + entry.name)
                else:
                    self.others += not entry.name.startswith(".")
                continue
            if entry.is_symlink():
                raise _is_link(Path(entry.path))
            self._collect(Path(entry.path), f"{prefix}{entry.name}/", paths)


def folders_in(root: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones included, sorted.

    Raises:
        OctetError: A name is not UTF-8.
    """
    return _checked(root, sorted(entry.name for entry in os.scandir(root) if entry.is_dir()))


def timm_order(names: Sequence[str]) -> list[str]:
    """The names of class folders in timm's own order (natural_key in timm/utils/misc.py): digits count as numbers, capitals as
    small letters. Of two that are the same so timm has any order; here it is not the sorted one.

    >>> timm_order(["10", "2", "Bee", "ant"])
    ['2', '10', 'ant', 'Bee']
    """

    def key(name: str) -> list[int | str]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]

    return sorted(sorted(names, reverse=True), key=key)


def check_no_link(place: Path, data: Path) -> None:
    """Checks that DVC sees when something changes in a data set: it follows a link to the whole, and links to files.

    Args:
        place: A file or folder in it.
        data: The data set's folder.

    Raises:
        OctetError: A folder between the two, or the place itself, is a link to a folder.
    """
    parts = place.relative_to(data).parts if place.is_relative_to(data) else ()
    for depth in range(1, len(parts) + 1):
        path = data.joinpath(*parts[:depth])
        if path.is_symlink() and path.is_dir():
            raise _is_link(path)


def _checked(folder: Path, names: list[str]) -> list[str]:
    """The names, which predictions and reports have as they are, if each is UTF-8."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise OctetError(
                f"{folder}: the name {os.fsencode(name)!r} is not UTF-8, so no file of Octet's can have it; rename it"
            ) from None
    return names


def _is_link(path: Path) -> OctetError:
    return OctetError(
        f"{path}: a link to a folder, and DVC does not see that something behind it changes. Put the folder itself there, as "
        "'cp -rL' copies it, or make the data set's folder as a whole the link"
    )
