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


def unpacked(folder: Path, python: Path, release: str = VERSION) -> Path:
    """The folder with ncnn's source.

    Args:
        folder: Where the package lies, or is put, and where it is unpacked.
        python: An interpreter whose pip knows the package index.
        release: Of ncnn. The file of the locked one has to be the very file; that of another one, what the index says it is.

    Raises:
        OctetError: It is not there and cannot be fetched: then with which file to put where.
    """
    archive, source = folder / f"ncnn-{release}.tar.gz", folder / f"ncnn-{release}"
    if source.is_dir():
        return source
    if not archive.exists():
        link, _, fragment = _address(archive, python, release).partition("#")
        _fetch(link, archive, SHA256 if release == VERSION else _sha256(fragment))
    if release == VERSION and checksum(archive, "sha256") != SHA256:
        raise OctetError(f"{archive}: its sha256 is not {SHA256}; remove it, and it will be fetched again")
    partial = folder / f"ncnn-{release}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        if not (partial / source.name / "src" / "net.cpp").is_file():
            raise OctetError(f"{archive}: the source package of this release has no C++ in it; take a later release")
        (partial / source.name).rename(source)
    except (tarfile.TarError, OSError, EOFError):
        raise OctetError(f"{archive}: is not ncnn's source package, or damaged; remove it") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return source


def _sha256(fragment: str) -> str:
    """The checksum that a link of the index ends with; empty where it has none."""
    match = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
    return match[1] if match else ""


def _address(archive: Path, python: Path, release: str) -> str:
    """Where the index that pip is set to has the file, by what `pip index` says that it saw."""
    command = [str(python), "-m", "pip", "index", "versions", "-vv", "--no-binary", "ncnn", "ncnn"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    links: list[str] = re.findall(r"(?:https?|file)://\S+", process.stdout + process.stderr)
    address = next((link for link in links if urlsplit(link).path.endswith(f"/{archive.name}")), None)
    if address is None:
        raise OctetError(
            f"{archive.name}, ncnn's source package, is not in the package index that pip is set to, or that cannot be reached. "
            f"Put the file there by hand: {archive}" + f" (its sha256 is {SHA256})" * (release == VERSION)
        )
    return address


def _fetch(address: str, archive: Path, sha256: str) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    if address.startswith("file:"):
        shutil.copyfile(unquote(urlsplit(address).path), archive)
    else:
        download(address, archive, "sha256", sha256)
