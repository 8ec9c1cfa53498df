"""Progress on a terminal, silence in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

try:
    from tqdm import tqdm
except ImportError:  # on a board where the tuner runs, there may be nothing but ncnn and numpy
    tqdm = None

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "img") -> Iterator[T]:
    """Yields the items with a bar on standard error where that is a terminal and tqdm is installed, else without."""
    return iter(items) if tqdm is None else iter(bar(what, total, unit, items))


def bar(what: str, total: int | None, unit: str = "img", items: Iterable[object] | None = None) -> tqdm:
    """The bar itself, a context manager with update(count)."""
    silent = not sys.stderr.isatty()
    return tqdm(items, desc=what, total=total, unit=unit, leave=False, disable=silent, dynamic_ncols=True)
