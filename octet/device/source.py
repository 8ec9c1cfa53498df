"""ncnn's source package from the package index: found, fetched once, checked, unpacked.

pip refuses it by name, because its version is the day on which it is built; the file itself is all right.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from octet.core.errors import OctetError
from octet.core.files import checksum
from octet.project.download import download

VERSION = "1.0.20261020"  # as in requirements.lock
SHA256 = "ad8cdd63e9755cfa8e23b9b6d9ce46156077d80298a89e7c3ba325ffccfca200"


def unpacked(folder: Path, python: Path) -> Path:
    """The folder with ncnn's source.

    Args:
        folder: Where the package lies, or is put, and where it is unpacked.
        python: An interpreter whose pip knows the package index.

    Raises:
        OctetError: It is not there and cannot be fetched: then with which file to put where.
    """
    archive = folder / f"ncnn-{VERSION}.tar.gz"
    source = folder / f"ncnn-{VERSION}"
    if source.is_dir():
        return source
    if not archive.exists():
        _fetch(_address(archive, python), archive)
    if checksum(archive, "sha256") != SHA256:
        raise OctetError(f"{archive}: its sha256 is not {SHA256}; remove it, and it will be fetched again")
    partial = folder / f"ncnn-{VERSION}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="data")
    (partial / source.name).rename(source)
    shutil.rmtree(partial)
    return source


def _address(archive: Path, python: Path) -> str:
    """Where the index that pip is set to has the file, by what `pip index` says that it saw."""
    command = [str(python), "-m", "pip", "index", "versions", "-vv", "--no-binary", "ncnn", "ncnn"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    links: list[str] = re.findall(r"(?:https?|file)://\S+", process.stdout + process.stderr)
    address = next((link for link in links if urlsplit(link).path.endswith(f"/{archive.name}")), None)
    if address is None:
        raise OctetError(
            f"{archive.name}, ncnn's source package, is not in the package index that pip is set to, or that cannot be reached. "
            f"Put the file there by hand: {archive} (its sha256 is {SHA256})"
        )
    return address.partition("#")[0]


def _fetch(address: str, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    if address.startswith("file:"):
        shutil.copyfile(unquote(urlsplit(address).path), archive)
    else:
        download(address, archive, "sha256", SHA256)
