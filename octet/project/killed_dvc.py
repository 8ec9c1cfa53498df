"""What a DVC leaves that was killed while it wrote a file of its own: DVC itself then refuses to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from octet.core import yaml
from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.project.lock import try_lock

_TMP = Path(".dvc/tmp")
_RWLOCK = _TMP / "rwlock"
_GUARDS = (
    _TMP / "lock",
    _TMP / "rwlock.lock",
)  # DVC holds the first while it writes a dvc.lock, the second for _RWLOCK


def remove_damaged() -> list[str]:
    """Removes DVC's files that are cut off, where no DVC is at work on them; one line a file that says so.

    Nothing is lost with them: finished stages come from DVC's cache, by its record of runs. A `dvc.lock` that git left
    with both sides of a merge is not removed.
    """
    if not all(map(_free, _GUARDS)):
        return []
    damaged = list(_damaged())
    for path in damaged:
        path.unlink()
    return [f"{path}: removed; a DVC that was killed had written a part of it" for path in damaged]


def _damaged() -> Iterator[Path]:
    if _RWLOCK.is_file():
        try:
            json.loads(read_bytes(_RWLOCK, "DVC"))
        except ValueError:
            yield _RWLOCK
    for path in sorted([*Path().glob("dvc.lock"), *Path().glob("*/dvc.lock")]):
        if b"<<<<<<<" not in read_bytes(path, "DVC") and not _is_whole(path):
            yield path


def _is_whole(path: Path) -> bool:
    """Can DVC read this dvc.lock?"""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.read(path, "DVC").values)
    except (OctetError, Invalid):
        return False
    return True


def _free(lock: Path) -> bool:
    """Does no process hold the lock?"""
    if not lock.is_file():
        return True
    with lock.open("rb") as file:
        return try_lock(file.fileno())
