"""The image files in a folder, listed as mmcls lists them (mmcv.fileio.HardDiskBackend.list_dir_or_file)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from octet.core.errors import OctetError

Identity = tuple[int, int]


class Listing:
    """Image files by their endings, those behind links included.

    Hidden files are left out and hidden folders are not, as mmcls has it.

    Args:
        extensions: The endings, in small letters.

    Attributes:
        links: The links to folders that were followed.
        others: How many files ended otherwise.
    """

    def __init__(self, extensions: Sequence[str]):
        self.extensions = tuple(extensions)
        self.links: list[Path] = []
        self.others = 0

    def images(self, folder: Path) -> list[str]:
        """The paths of all images in a folder and below, sorted.

        Raises:
            OctetError: A link leads back to a folder that it is in.
        """
        paths: list[str] = []
        self._collect(folder, "", (_identity(folder),), paths)
        return sorted(paths)

    def _collect(self, folder: Path, prefix: str, above: tuple[Identity, ...], paths: list[str]) -> None:
        for entry in os.scandir(folder):
            if not entry.is_dir():
                if entry.name.lower().endswith(self.extensions) and not entry.name.startswith("."):
                    paths.append(prefix + entry.name)
                else:
                    self.others += not entry.name.startswith(".")
                continue
            here = Path(entry.path)
            if entry.is_symlink():
                self.links.append(here)
            if (identity := _identity(here)) in above:
                raise OctetError(f"{here}: leads back to a folder that it is in; take the link away")
            self._collect(here, f"{prefix}{entry.name}/", (*above, identity), paths)


def folders_in(root: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones included, sorted."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir())


def _identity(folder: Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino
