"""Names that are too long, and tables whose columns line up."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from octet.core.text import columns, shorten, table, wrap

pytestmark = pytest.mark.unit


def test_a_name_that_fits_stays_as_it_is():
    assert shorten("cat", 3) == "cat"
    assert shorten("cats", 3) == "ca…"
    assert shorten("虎斑猫", 6) == "虎斑猫"
    assert shorten("虎斑猫", 5) == "虎斑…"
    assert shorten("虎斑猫", 4) == "虎…"  # half a character more would fit
    assert columns("é") == columns("e\u0301") == 1


@given(st.text(max_size=30), st.integers(1, 20))
def test_a_shortened_name_fits_and_begins_as_the_name_does(name, most):
    short = shorten(name, most)
    assert columns(short) <= most
    assert name.startswith(short.removesuffix("…")) or short == name


@given(st.text(max_size=60), st.integers(2, 20), st.integers(1, 4))
@example("0 0 0", 2, 1)
def test_a_wrapped_text_fits(text, most, count):
    lines = wrap(text, most, count)
    assert len(lines) <= count
    assert all(columns(line) <= most for line in lines)
    if not any(line.endswith("…") for line in lines):
        assert "".join(lines).replace(" ", "") == "".join(text.split())


def test_a_table_for_a_terminal():
    text = table([["cat", "1.5", "yes"], ["虎斑猫", "12.25", "no"]], ["", "SQNR", "why"], align="lrl")
    assert text.splitlines() == [
        "         SQNR  why",
        "------  -----  ---",
        "cat       1.5  yes",
        "虎斑猫  12.25  no",
    ]
    assert table([["ncnn", "1"], ["torch", "22"]]).splitlines() == ["ncnn    1", "torch  22"]
    assert table([]) == ""


def test_a_table_in_markdown():
    text = table([["Octet", "1.50 %"], ["a longer name", ""]], ["engine", "top-1"], markdown=True)
    assert text.splitlines() == ["| engine | top-1 |", "|---|---:|", "| Octet | 1.50 % |", "| a longer name | |"]


def test_cells_that_look_like_numbers_are_shown_as_they_are():
    assert table([["a", "1e5"], ["b", "007"]], ["", "n"]).splitlines()[-2:] == ["a  1e5", "b  007"]
