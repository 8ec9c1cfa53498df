"""Files that appear whole or not at all, and JSON that is the same bytes for the same content."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from octet.core.errors import OctetError, reason

T = TypeVar("T")
_PARTIAL = re.compile(r"\.(.+)\.partial")  # a temporary name


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes data under a temporary name in the same folder, then renames: a killed process leaves no half file.

    Raises:
        OctetError: The system does not let it be written, as where the disk is full. Nothing is left behind.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_new(partial) as file:
            file.write(data)
        partial.replace(path)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def open_new(path: Path) -> BinaryIO:
    """A new file to write into; a file or link that lies there is removed, never followed."""
    path.unlink(missing_ok=True)
    return cast(BinaryIO, path.open("xb"))


def not_written(path: Path, error: OSError) -> OctetError:
    """The error that says which file could not be written, and why; of a temporary file or folder, what it was to become."""
    final = Path(*(match[1] if (match := _PARTIAL.fullmatch(part)) else part for part in path.parts))
    return OctetError(f"{final}: cannot be written: {reason(error)}")


def checksum(path: str | Path, algorithm: str) -> str:
    """A file's checksum in hex digits, by an algorithm of hashlib, as 'md5'."""
    digest = hashlib.new(algorithm)
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """As write_bytes, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, content: Any) -> None:
    """Sorted keys, two spaces, a final newline; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def require(paths: Iterable[Path], made_by: str) -> None:
    """Raises OctetError for the first of the files that is missing; made_by says what makes it."""
    for path in paths:
        if not path.is_file():
            raise OctetError(f"{path}: no such file; {made_by}")


def read_bytes(path: str | Path, made_by: str) -> bytes:
    """The bytes of a file.

    Args:
        path: The file.
        made_by: What makes it, as « the stage export makes it », for the error where it is missing.

    Raises:
        OctetError: There is no such file, or it is a folder, a pipe or another that is read without end.
    """
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OctetError(f"{path}: expected a file, found a pipe, socket or device; {made_by}")
        return Path(path).read_bytes()
    except (FileNotFoundError, ValueError):  # no file has a name with U+0000 or half a character
        raise OctetError(f"{path}: no such file; {made_by}") from None
    except IsADirectoryError:
        raise OctetError(f"{path}: expected a file, found a folder; {made_by}") from None


def read_json(path: str | Path, made_by: str) -> Any:
    """The content of a JSON file. Arguments as for read_bytes.

    Raises:
        OctetError: It is missing or no JSON; NaN, infinity and what overflows to it are none.
    """
    data = read_bytes(path, made_by)
    try:
        return json.loads(data, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise OctetError(f"{path}: not valid JSON ({error}); {made_by}") from None


def read_dataclass(kind: type[T], path: str | Path, made_by: str) -> T:
    """The object whose fields a JSON file holds, and whose types they have.

    Raises:
        OctetError: The file is missing, or has other keys or types; made_by says what makes it, as for read_bytes.
    """
    return as_dataclass(kind, read_json(path, made_by), path, made_by)


def as_dataclass(kind: type[T], content: Any, path: str | Path, made_by: str) -> T:
    """The object whose fields a JSON file, or a part of it, holds, and whose types they have.

    Args:
        kind: A dataclass.
        content: As json reads it.
        path: The file, for errors.
        made_by: What makes it, for errors.

    Raises:
        OctetError: It has other keys or types.
    """
    from pydantic import TypeAdapter, ValidationError  # here, since on a board, where the tuner runs, there is none

    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(content, dict) or not content.keys() <= set(names):
        raise OctetError(f"{path}: expected the keys {', '.join(names)}; {made_by}")
    try:
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise OctetError(
            f"{path}: expected the keys {', '.join(names)}; at {place}: {first['msg'][:200].lower()}; {made_by}"
        ) from None


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a head, one line a row.

    >>> print(csv_text(["class", "n"], [["a, b", 3]]), end="")
    class,n
    "a, b",3
    """
    text = io.StringIO()
    usual = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (columns, *rows):
        any_return = any("\r" in str(cell) for cell in row)  # which Python's csv quotes from 3.13 on only
        (quoted if any_return else usual).writerow(row)
    return text.getvalue()


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside path that takes path's place when the block ends well, and is gone when not.

    It has one name, so that what a killed process left behind goes with the next run; a link there is not followed.

    Raises:
        OctetError: The system does not let it be written, or what the block writes into it.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        partial.mkdir()
        yield partial
        _remove(path)
        partial.replace(path)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        with suppress(OSError):
            _remove(partial)


def _remove(path: Path) -> None:
    """A folder with all that is in it, a file or a link, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def decimals(value: float, digits: int) -> float:
    """A finite figure of so many decimals, for a tracked file; one that rounds to 0 has no sign.

    >>> decimals(1.2345, 2), decimals(-1e-12, 9)
    (1.23, 0.0)
    """
    if not math.isfinite(value):
        raise ValueError(f"a figure is {value}")
    return round(float(value), digits) + 0.0  # of -0.0 it makes 0.0


def figure(value: float) -> float:
    """A finite figure of six significant digits, for a tracked file.

    >>> figure(1234567.8)
    1234570.0
    """
    if not math.isfinite(value):
        raise ValueError(f"a figure is {value}")
    return float(f"{value:.5e}")
