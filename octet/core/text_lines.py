"""Text files with one line for each image or class, as mmcls reads them (mmcv.list_from_file), but for a BOM."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import read_bytes


def warn(remark: str) -> None:
    """Says on standard error what a user should know."""
    print(f"warning: {remark}", file=sys.stderr, flush=True)


def read_lines(file: str | Path, what: str, say: Callable[[str], object] = warn) -> list[str]:
    """The lines of a text file, without their ends; a byte order mark at its start is skipped, and said.

    Args:
        file: The file.
        what: What is expected in it, for errors.
        say: Takes what a user should know.

    Raises:
        OctetError: There is no such file, or it is not UTF-8.
    """
    data = read_bytes(file, f"expected {what}")
    say_mark(file, data, say)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OctetError(f"{file}: not UTF-8 ({error}); expected {what}; save it as UTF-8") from None
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def say_mark(file: str | Path, data: bytes, say: Callable[[str], object]) -> None:
    """Says that a text file begins with a byte order mark. Arguments as for read_lines; data: the file's bytes."""
    if data.startswith(codecs.BOM_UTF8):
        say(
            f"{file}: begins with a byte order mark, which is left out; other programs, mmcls among them, take it as part of the "
            "first name. Save the file as UTF-8 without it"
        )
