"""Text files with one line for each image or class, as mmcls reads them (mmcv.list_from_file), but for a BOM."""

from __future__ import annotations

import io
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import read_bytes


def read_lines(file: str | Path, what: str) -> list[str]:
    """The lines of a text file, without their ends; a byte order mark at its start is skipped.

    Args:
        file: The file.
        what: What is expected in it, for errors.

    Raises:
        OctetError: There is no such file, or it is not UTF-8.
    """
    data = read_bytes(file, f"expected {what}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OctetError(f"{file}: not UTF-8 ({error}); expected {what}; save it as UTF-8") from None
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]
