"""Figures of matplotlib as SVG that takes its colours from the page, so that it reads in light and in dark."""

from __future__ import annotations

import io
import math
import re
import warnings
from html import escape
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What a figure is drawn with stands for what the page's style sheet says: currentColor, or one of its variables.
INK, FP32, INT8, LINE, GOOD, BAD = "#010101", "#010102", "#010103", "#010104", "#010105", "#010106"
_PAGE = {
    INK: "currentColor",
    FP32: "var(--fp32)",
    INT8: "var(--int8)",
    LINE: "var(--line)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "octet",
    "text.parse_math": False,  # a class may be called « $5 or $10 »
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.edgecolor": LINE,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
SCALE = 1.3  # CSS pixels a point: 9 points are 11.7 pixels


styled = matplotlib.style.context(_STYLE)  # a decorator for what draws in the report's style


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure and its axes. Width and height in inches: 4 fill a phone's screen."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots()


def pair(width: float, height: float) -> tuple[Figure, Axes, Axes]:
    """A figure with two axes beside each other, which share the vertical one."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    return drawn, left, right


def svg(drawn: Figure, label: str) -> str:
    """The figure as an <svg> element, the same text from the same figure.

    Args:
        drawn: What `figure` or `pair` made.
        label: What it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has it
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    width, height = (72 * float(inches) for inches in drawn.get_size_inches())
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{SCALE * width:.0f}px" role="img" '
        f'aria-label="{escape(label)}">'
    )
    text = head + text[text.index(">") + 1 :]
    text = text.replace("xlink:href", "href")
    for colour, variable in _PAGE.items():
        text = text.replace(colour, variable)
    return re.sub(r"font-family: [^;\"]*;? ?", "", text)


def power(value: float, _: int | None = None) -> str:
    """A power of ten as one text.

    >>> power(1e-5)
    '10⁻⁵'
    """
    return "10" + str(round(math.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
