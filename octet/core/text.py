"""Words and tables on a terminal and in Markdown: what is too long is shortened, and columns line up."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese character takes two, a combining accent none."""
    return sum(_columns(character) for character in text)


def shorten(name: str, most: int) -> str:
    """The name in at most so many columns of a terminal, with « … » for the end that is left out.

    >>> shorten("n02123045 tabby cat", 10)
    'n02123045…'
    >>> shorten("虎斑猫的照片", 8)
    '虎斑猫…'
    """
    if columns(name) <= most:
        return name
    kept, left = [], most - 1
    for character in name:
        left -= _columns(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def table(rows: Iterable[Sequence[str]], headers: Sequence[str] = (), align: str = "", markdown: bool = False) -> str:
    """Rows of texts as a table, without a newline at its end.

    >>> print(table([["top-1", "95.72 %"], ["size", "44.7 MB"]], ["", "fp32"]))
              fp32
    -----  -------
    top-1  95.72 %
    size   44.7 MB

    Args:
        rows: the cells, as many in each row; numbers as the texts that are to be shown.
        headers: one for each column; none: a table without a head.
        align: « l » or « r » for each column; empty: the first is left-aligned, the others right-aligned.
        markdown: a table of Markdown instead of one for a terminal.
    """
    import tabulate  # here, since on a board, where the tuner runs, there may be nothing but ncnn and numpy

    tabulate.MIN_PADDING = 0  # else a head that is wider than its column makes it two columns wider still

    cells = [list(row) for row in rows]
    count = max(map(len, [*cells, headers]), default=0)
    if count == 0:
        return ""
    lines = tabulate.tabulate(
        cells,
        headers,
        tablefmt="pipe" if markdown else "simple" if headers else "plain",
        disable_numparse=True,
        colalign=[{"l": "left", "r": "right"}[letter] for letter in align or "l" + "r" * (count - 1)],
    )
    return "\n".join(line.rstrip() for line in lines.splitlines())


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
