"""Other releases of ncnn: their wheels from the package index that pip is set to, each unpacked in a folder of its own.

A wheel is never installed: a process of its own runs with its folder in front of Python's path (octet/device/on_release.py), so
what is in .venv stays as it is.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import ncnn

from octet.core.errors import OctetError
from octet.core.files import new_folder
from octet.core.text import printable

FOLDER = Path(".runtimes")
FIRST_YEAR = 2022  # no release before 2022-11 reads the layers' feature masks
_RELEASE = re.compile(r"(?:1\.0\.)?(20\d{6})")
_KNOWN = re.compile(r"\(from versions: (.*?)\)")


def release(text: str) -> str:
    """A release's whole name.

    >>> release("20221128"), release("1.0.20221128")
    ('1.0.20221128', '1.0.20221128')

    Raises:
        OctetError: It is none.
    """
    match = _RELEASE.fullmatch(text)
    if not match:
        raise OctetError(f"'{printable(text)}' is no release of ncnn; expected the day of one, such as 1.0.20221128")
    return f"1.0.{match[1]}"


def with_wheel() -> list[str]:
    """All releases that have a wheel for this Python and machine, the oldest first.

    Raises:
        OctetError: The package index knows none, or cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="octet-wheel-") as temporary:
        return _known(_pip_download("0", Path(temporary)).stderr)


def one_a_year(releases: Sequence[str]) -> list[str]:
    """The last release of each year, the oldest first.

    >>> one_a_year(["1.0.20210525", "1.0.20221128", "1.0.20230223", "1.0.20231027"])
    ['1.0.20221128', '1.0.20231027']
    """
    dated = sorted(name for name in releases if _RELEASE.fullmatch(name))
    last = {name.rpartition(".")[2][:4]: name for name in dated}
    return [name for year, name in last.items() if int(year) >= FIRST_YEAR]


def unpacked(name: str) -> Path | None:
    """The folder with a release's package, fetched and unpacked where it is not there yet; None for the one that is installed.

    Args:
        name: The release, as `release` gives it.

    Raises:
        OctetError: It has no wheel for this Python, or the package index cannot be reached.
    """
    if name == ncnn.__version__:
        return None
    folder = FOLDER / f"{name}-{sys.implementation.cache_tag}-{platform.machine()}"
    if folder.is_dir():
        return folder
    by_hand = sorted(FOLDER.glob(f"ncnn-{name}-*.whl"))
    with tempfile.TemporaryDirectory(prefix="octet-wheel-") as temporary:
        process = None if by_hand else _pip_download(name, Path(temporary))
        wheels = by_hand or sorted(Path(temporary).glob("ncnn-*.whl"))
        if not wheels:
            assert process
            known = ", ".join(_known(process.stderr))
            python = f"Python {platform.python_version().rpartition('.')[0]} on {platform.machine()}"
            raise OctetError(f"ncnn {name}: there is no wheel of it for {python}; there is one of {known}")
        _unpack(wheels[0], folder)
    return folder


def environment(folder: Path | None) -> dict[str, str]:
    """The environment of a process that imports the ncnn of that folder; None: the one that is installed."""
    paths = [str(path) for path in (folder and folder.resolve(), Path.cwd(), os.environ.get("PYTHONPATH")) if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _unpack(wheel: Path, folder: Path) -> None:
    try:
        with new_folder(folder) as partial, zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial)
    except zipfile.BadZipFile:
        raise OctetError(f"{wheel}: is no wheel, or damaged; remove it") from None


def _pip_download(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"ncnn=={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _known(words: str) -> list[str]:
    """The releases that pip says it knows of, where it does not find the one that it was asked for."""
    match = _KNOWN.search(words)
    known = [] if match is None else [name for name in match[1].split(", ") if _RELEASE.fullmatch(name)]
    if not known:
        last = next((line for line in reversed(words.splitlines()) if line.strip()), "pip says nothing")
        raise OctetError(
            "the package index that pip is set to has no wheel of ncnn for this Python, or cannot be reached: "
            f"{printable(last.strip())}. Try again with a network, or put the wheel that you need, ncnn-RELEASE-….whl, into "
            f"{FOLDER}/ and name it in RUNTIMES"
        )
    return sorted(known)
