"""Figures of matplotlib as SVG that takes its colours from the page, so that it reads in light and in dark."""

from __future__ import annotations

import io
import re
from html import escape

import matplotlib
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
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "octet",
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


def figure(width: float, height: float, **subplots) -> tuple[Figure, object]:
    """A figure of so many inches in the report's style, and its axes. 4 inches fill a phone's screen."""
    with matplotlib.rc_context(_STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        return made, made.subplots(**subplots)


def svg(made: Figure, label: str) -> str:
    """The figure as an <svg> element. label: what it shows, for those who cannot see it."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        made.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    width, height = (float(value) for value in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups())
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{SCALE * width:.0f}px" role="img" '
        f'aria-label="{escape(label)}">'
    )
    text = head + text[text.index(">") + 1 :]
    text = text.replace("xlink:href", "href")
    for colour, variable in _PAGE.items():
        text = text.replace(colour, variable)
    return re.sub(r"font-family: [^;\"]*;? ?", "", text)
