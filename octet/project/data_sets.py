"""Data sets that can be fetched: CIFAR-10 and CIFAR-100, by their folder's name in data/."""

from __future__ import annotations

import tarfile
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import write_bytes
from octet.data.cifar import Cifar
from octet.data.cifar_layouts import BINARY10, BINARY100, PYTHON10, PYTHON100, URL, Layout, check_md5, find
from octet.project.download import download

FETCHED = {"cifar10": (BINARY10, PYTHON10), "cifar100": (BINARY100, PYTHON100)}  # the first is what is fetched


def fetch(name: str, folder: Path) -> str:
    """Makes sure that a data set is in a folder.

    What lies there in any of CIFAR's layouts is accepted as it is. Otherwise an official archive in the folder or
    beside it is checked and unpacked, or the binary version's is fetched.

    Args:
        name: One of FETCHED.
        folder: Where it belongs.

    Returns:
        How it came there, in words.

    Raises:
        OctetError: It cannot be fetched, or an archive is damaged.
    """
    there = find(folder)
    if there and all((there[1] / file).is_file() for file in there[0].all_files):
        sizes = [len(Cifar(folder, split)) for split in ("train", "test")]
        return f"{there[0].title} was there: {sizes[0]:,} training and {sizes[1]:,} test images"
    for place in (folder, folder.parent):
        for layout in FETCHED[name]:
            archive = place / layout.archive
            if archive.is_file():
                _unpack(archive, layout, folder)
                return f"unpacked {archive}"
    layout = FETCHED[name][0]
    archive = folder.parent / layout.archive
    try:
        download(URL + layout.archive, archive, "md5", layout.md5)
    except OctetError as error:
        raise OctetError(f"{error}, or any layout of {name} into {folder}") from None
    _unpack(archive, layout, folder)
    archive.unlink()
    return f"fetched {URL}{layout.archive}"


def _unpack(archive: Path, layout: Layout, folder: Path) -> None:
    """Takes the files that the layout names out of the archive, and nothing else."""
    check_md5(archive, layout)
    wanted = {f"{layout.folder}/{name}": name for name in layout.all_files}
    with tarfile.open(archive) as file:
        for member in file:
            content = file.extractfile(member) if member.isfile() and member.name in wanted else None
            if content:
                write_bytes(folder / wanted[member.name], content.read())
