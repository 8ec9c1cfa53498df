"""A network measured in a process of its own: what it gives stays in a file, and so does why it failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from octet.core.files import read_json, write_json


def measure_apart(module: str, arguments: list[str], result: Path, limit_s: int) -> None:
    """Runs a module of the project's, which writes the result; where it fails, the result says why.

    Args:
        module: Its dotted name.
        arguments: Its arguments.
        result: The file.
        limit_s: After how many seconds it is ended.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        actual = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=limit_s)
        error = (actual.stderr.strip().splitlines() or ["killed"])[-1] if actual.returncode else None
    except subprocess.TimeoutExpired:
        error = f"took more than {limit_s / 3600:.0f} hours"
    if error:
        write_json(result, {"error": error})


def is_measured(result: Path) -> bool:
    """Is there a result, and does it not say why it failed?"""
    return result.is_file() and "error" not in read_json(result, "its measuring writes it")
