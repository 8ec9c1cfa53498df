"""Files as they come to a reader in the worst case: any bytes, any text, and a valid file with pieces of it changed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from octet.core.errors import OctetError

# What a number, a name or a value may be replaced with: limits of integers and floats, what is no number, what is no text.
WORDS = [
    *"0 -1 1 2 -233 255 2147483648 -9999999999999999999999 1e400 1e-400 1e39 1e-50 0.5 -0.0 nan -inf NaN Infinity".split(),  # noqa: SIM905
    *"null true [] {} ' \" # = , : é 虎 a/../../b 1,2 2,1 !!int &a *a 0x 1_0 ٣".split(),  # noqa: SIM905
    *["", "- 1", "\0", "\ud800", "1" * 5000, "9" * 40, "x" * 300],
]
_WORD = re.compile(rb"[^\s=,:|/\[\]{}\"']+")


def examples(count: int) -> settings:
    """How many examples a test takes: with OCTET_FUZZ=20 set, 20 times as many, and others in every run."""
    more = int(os.environ.get("OCTET_FUZZ", "1"))
    return settings(max_examples=more * count, derandomize=more == 1)


def encoded(text: str) -> bytes:
    """A text's bytes, halves of surrogate pairs among them."""
    return text.encode(errors="surrogatepass")


@st.composite
def damaged(draw: Callable[..., Any], whole: bytes) -> bytes:
    """The file with one to four edits of all the kinds that a slip of a hand, a disk or a network makes."""
    data = whole
    for edit in draw(
        st.lists(st.sampled_from([_word, _word, _word, _swap, _line, _piece, _piece]), min_size=1, max_size=4)
    ):
        data = edit(draw, data)
    return data


def contents(*whole: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, any text, and damaged copies of the valid files."""
    anything = [st.binary(max_size=200), st.text(max_size=200).map(encoded)]
    return st.one_of(*(damaged(file) for file in whole), *(damaged(file) for file in whole), *anything)


def result_or_octet_error(read: Callable[[], Any]) -> Any:
    """What a reader gives; None where it raises OctetError with a message. All else is a fault and goes on its way."""
    try:
        return read()
    except OctetError as error:
        message = str(error)
    assert message.strip(), "an error says what is wrong"
    return None


def _piece(draw: Callable[..., Any], data: bytes) -> bytes:
    """Some bytes taken out, put in, overwritten or repeated, or all behind them cut off."""
    start = draw(st.integers(0, len(data)))
    end = min(len(data), start + draw(st.integers(0, 40)))
    new = draw(st.sampled_from([b"", data[start:end] * 2]) | st.binary(max_size=8))
    return data[:start] + new + data[draw(st.sampled_from([start, end, start + len(new), len(data)])) :]


def _line(draw: Callable[..., Any], data: bytes) -> bytes:
    """A line taken out or repeated."""
    lines = data.splitlines(keepends=True) or [b""]
    k = draw(st.integers(0, len(lines) - 1))
    return b"".join([*lines[:k], *lines[k : k + 1] * draw(st.sampled_from([0, 2])), *lines[k + 1 :]])


def _word(draw: Callable[..., Any], data: bytes) -> bytes:
    """A word replaced."""
    words = list(_WORD.finditer(data))
    if not words:
        return data
    word = words[draw(st.integers(0, len(words) - 1))]
    return data[: word.start()] + encoded(draw(st.sampled_from(WORDS))) + data[word.end() :]


def _swap(draw: Callable[..., Any], data: bytes) -> bytes:
    """A word overwritten by another of the file."""
    words = list(_WORD.finditer(data))
    if not words:
        return data
    word, other = (words[draw(st.integers(0, len(words) - 1))] for _ in range(2))
    return data[: word.start()] + other[0] + data[word.end() :]
