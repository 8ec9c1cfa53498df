"""Words and tables on a terminal and in Markdown: what is too long is shortened, and columns line up."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tabulate import TableFormat

Width = Callable[[str], float]


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese character takes two, a combining accent none."""
    return sum(_columns(character) for character in text)


def shorten(name: str, most: float, width: Width = columns) -> str:
    """The name in at most so many columns of a terminal, with « … » for the end that is left out.

    >>> shorten("n02123045 tabby cat", 10)
    'n02123045…'
    >>> shorten("虎斑猫的照片", 8)
    '虎斑猫…'

    Args:
        name: Any text.
        most: How wide it may be.
        width: How wide a text is, where that is not counted in columns of a terminal.
    """
    if width(name) <= most:
        return name
    ends = range(len(name) - 1, 0, -1)
    return next((short for end in ends if width(short := name[:end] + "…") <= most), "…")


def printable(text: str, most: int = 300) -> str:
    """A stranger's text for a terminal: at most so many characters, with a question mark for each that is not to be seen.

    >>> printable(f"models{chr(27)}[2J{chr(10)}x")
    'models?[2J?x'
    >>> printable("abcdef", 4)
    'abc…'
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(character if character.isprintable() else "?" for character in cut)


def wrap(text: str, most: float, lines: int, width: Width = columns) -> list[str]:
    """A text in at most so many lines of so many columns of a terminal; the last is shortened where that is not enough.

    >>> wrap("a long name.png (500x375, cut and scaled)", 16, 3)
    ['a long name.png', '(500x375, cut', 'and scaled)']
    >>> wrap("n02123045_100.JPEG", 8, 2)
    ['n0212304', '5_100.J…']

    Args:
        text: Any text.
        most: How wide a line may be.
        lines: How many lines there may be.
        width: As for shorten.
    """
    wrapped: list[str] = []
    for word in text.split():
        if wrapped and width(longer := f"{wrapped[-1]} {word}") <= most:
            wrapped[-1] = longer
        else:
            wrapped += _pieces(word, most, width)
    if len(wrapped) > lines:
        wrapped = [*wrapped[: lines - 1], shorten("".join(wrapped[lines - 1 :]), most, width)]
    return wrapped


def table(rows: Iterable[Sequence[str]], headers: Sequence[str] = (), align: str = "", markdown: bool = False) -> str:
    """Rows of texts as a table, without a newline at its end.

    >>> print(table([["top-1", "95.72 %"], ["size", "44.7 MB"]], ["", "fp32"]))
              fp32
    -----  -------
    top-1  95.72 %
    size   44.7 MB
    >>> print(table([["fp32", ""], ["int8", "0.04"]], ["", "drop"], markdown=True))
    | | drop |
    |---|---:|
    | fp32 | |
    | int8 | 0.04 |

    Args:
        rows: The cells, as many in each row; numbers as the texts that are to be shown.
        headers: One for each column; none: a table without a head.
        align: « l » or « r » for each column; empty: the first is left-aligned, the others right-aligned.
        markdown: A table of Markdown instead of one for a terminal. Its cells are not padded: a longer cell changes one line.
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
        tablefmt=_markdown() if markdown else "simple" if headers else "plain",
        disable_numparse=True,
        colalign=[{"l": "left", "r": "right"}[letter] for letter in align or "l" + "r" * (count - 1)],
    )
    return "\n".join(line.rstrip() for line in lines.splitlines())


def _markdown() -> TableFormat:
    """Tabulate's format of a table in Markdown whose cells are as wide as what is in them."""
    from tabulate import TableFormat

    def row(cells: Sequence[str], _widths: Sequence[int], _align: Sequence[str]) -> str:
        return "|" + "|".join(f" {cell.strip()} " if cell.strip() else " " for cell in cells) + "|"

    def rule(_widths: Sequence[int], align: Sequence[str]) -> str:
        return "|" + "|".join("---:" if side == "right" else "---" for side in align) + "|"

    return TableFormat(None, rule, None, None, row, row, 1, None)


def _pieces(word: str, most: float, width: Width) -> list[str]:
    """A word in pieces that fit into a line."""
    pieces = [""]
    for character in word:
        if pieces[-1] and width(pieces[-1] + character) > most:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
