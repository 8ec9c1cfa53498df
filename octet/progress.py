"""Progress on a terminal, silence in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "img") -> Iterator[T]:
    """Yields the items with a bar on standard error where that is a terminal, else without one."""
    return iter(
        tqdm(items, desc=what, total=total, unit=unit, leave=False, disable=not sys.stderr.isatty(), dynamic_ncols=True)
    )
