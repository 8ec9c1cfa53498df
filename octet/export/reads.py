"""Which files Python opens while a config is read and its network is built: class lists, modules, what modules read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.places import CONFIGS, config_files, is_outside

_recording: list[set[Path]] = []
_hooked: list[bool] = []


@contextmanager
def recorded() -> Iterator[set[Path]]:
    """The files that are opened for reading meanwhile, and are still there afterwards.

    Those of Python's environment, of Octet, and compiled modules are left out.

    >>> with recorded() as files:
    ...     _ = Path("params.yaml").read_text()
    >>> [file.name for file in files]
    ['params.yaml']
    """
    if not _hooked:
        sys.addaudithook(_note)  # there is no way to take it away again
        _hooked.append(True)
    opened = set[Path]()
    _recording.append(opened)
    try:
        yield opened
    finally:
        _recording.remove(opened)
        opened.intersection_update({file for file in opened if file.is_file() and not _is_known(file)})


def check_tracked(files: set[Path], config: str, strings: set[str]) -> None:
    """Checks that DVC sees when a file changes that a config reads.

    Args:
        files: What was opened.
        config: The config that the entry names.
        strings: The texts in the config.

    Raises:
        OctetError: There is one in the project, or named in the config, that lies outside configs/models, or is not found to
            belong to the config.
    """
    if is_outside(config) or not Path(config).is_file():
        return
    named = {absolute(text) for text in strings}
    strangers = [
        file
        for file in sorted(files)
        if (file.is_relative_to(Path.cwd()) or file in named) and is_outside(file)  # else it is of the system
    ]
    if strangers:
        short = [file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file for file in strangers]
        raise OctetError(
            f"{config}: reads {', '.join(map(str, short))}, outside {CONFIGS}, where DVC does not see that it changes; move it to "
            f"{Path(config).with_suffix('')}/ and name it there"
        )
    known = {path.resolve() for path in config_files(config)}
    unnamed = [
        file for file in sorted(files) if file.is_relative_to(CONFIGS.absolute()) and file.resolve() not in known
    ]
    if unnamed:
        raise OctetError(
            f"{config}: reads {', '.join(str(file.relative_to(Path.cwd())) for file in unnamed)}, whose name stands neither in the "
            "config nor in what it reads, so DVC does not see for this model that it changes; write the whole name there"
        )


def absolute(text: str) -> Path:
    """The path that a text is, from the root and without « .. »."""
    return Path(
        os.path.normpath(Path(text).expanduser().absolute() if text.startswith("~/") else Path(text).absolute())
    )


def texts(value: Any) -> set[str]:
    """All texts in a config's values."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*map(texts, value.values()))
    return set().union(*map(texts, value)) if isinstance(value, (list, tuple)) else set()


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _recording or event != "open" or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    mode, flags = arguments[1], arguments[2]
    if "r" in mode if isinstance(mode, str) else isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR):
        file = absolute(os.fsdecode(arguments[0]))
        for opened in _recording:
            opened.add(file)


def _is_known(file: Path) -> bool:
    octet = Path(__file__).parents[1]
    places = (sys.prefix, sys.base_prefix, octet, octet.parent / "stages", "/proc", "/sys", "/dev", "/etc")
    return file.suffix == ".pyc" or any(file.is_relative_to(place) for place in places)
