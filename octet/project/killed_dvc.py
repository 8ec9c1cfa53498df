"""What a DVC leaves that was killed while it wrote a file of its own: DVC itself then refuses to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

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
    """Can DVC read this dvc.lock? DVC's own reader alone says no."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import EncodingError
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError, load

    if _is_whole_to_libyaml(path):
        return True
    try:
        load(str(path), COMPILED_LOCKFILE_SCHEMA)
    except (YAMLSyntaxError, YAMLValidationError, EncodingError):
        return False
    return True


def _is_whole_to_libyaml(path: Path) -> bool:
    """Is it for PyYAML in C, which takes 1 s for a MB where DVC's reader takes 10? Its values may differ from DVC's."""
    import yaml  # type: ignore[import-untyped]
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        reader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        COMPILED_LOCKFILE_SCHEMA(yaml.load(read_bytes(path, "DVC"), reader))
    except (yaml.YAMLError, ValueError, Invalid):
        return False
    return True


def _free(lock: Path) -> bool:
    """Does no process hold the lock?"""
    if not lock.is_file():
        return True
    with lock.open("rb") as file:
        return try_lock(file.fileno())
