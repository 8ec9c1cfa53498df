"""Speed against loss: every candidate as a dot, the front as a line, the budget as another."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.ticker import FuncFormatter, NullFormatter

from octet.best.candidates import UNITS, Budget, Candidate
from octet.best.front import Measured, front
from octet.core.files import write_text
from octet.report.svg import BAD, FP32, INK, INT8, figure, power, styled, svg

_COLOURS = """<style>
svg { --ink: #1c2127; --line: #c9d0d7; --fp32: #2f6fb3; --int8: #cf6a1d; --good: #2b8a4a; --bad: #c3392b; color: #1c2127; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e7eaee; --line: #444d57; --fp32: #6ba6e8; --int8: #f2954c; --good: #5cc47f; --bad: #f0736a; color: #e7eaee; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
</style>"""  # octet/report/templates/style.css has the same


def write(measured: Measured, budget: Budget, chosen: Candidate | None, name: str, out: Path) -> None:
    """Draws what was measured into an SVG file that reads in light and in dark.

    Args:
        measured: All that was measured.
        budget: What int8 may lose.
        chosen: The candidate that is named.
        name: The model's.
        out: The file.
    """
    text = draw(measured, budget, chosen, name)
    head, _, rest = text.partition(">")
    write_text(
        out,
        f"{head.replace('<svg ', '<svg xmlns=' + chr(34) + 'http://www.w3.org/2000/svg' + chr(34) + ' ')}>{_COLOURS}{rest}\n",
    )


@styled
def draw(measured: Measured, budget: Budget, chosen: Candidate | None, name: str) -> str:
    """The plot as an <svg> element; arguments as for write."""
    drawn, axes = figure(6.5, 4)
    dots = {
        one: (result.speedup or 0, result.upper(budget.metric)) for one, result in measured.items() if result.speedup
    }
    line = [dots[one] for one in front(measured, budget.metric)]
    axes.plot(*zip(*dots.values(), strict=True), "o", color=FP32, markersize=4, alpha=0.7)
    axes.plot(*zip(*line, strict=True), "o-", color=INT8, markersize=5, linewidth=1.5)
    axes.axhline(budget.most, color=BAD, linewidth=1, linestyle="--")
    right = chosen is not None and dots[chosen][0] > sum(axes.get_xlim()) / 2
    x, side = (0, "left") if right else (1, "right")  # away from the chosen one's name, which may be as high
    axes.annotate(
        f"budget {budget}", (x, budget.most), (0, 3), ("axes fraction", "data"), "offset points", ha=side, fontsize=8
    )
    if chosen:
        axes.plot(*dots[chosen], "o", markersize=11, markerfacecolor="none", markeredgecolor=INK)
        axes.annotate(
            str(chosen),
            dots[chosen],
            (-9 if right else 9, 7),
            textcoords="offset points",
            ha="right" if right else "left",
        )
    losses = [loss for _, loss in dots.values() if loss > 0]
    if losses and budget.most > 0 and len(losses) == len(dots) and math.log10(max(losses) / min(losses)) > 1:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(power))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("times as fast as fp32, one thread")
    axes.set_ylabel(f"loss at most, {UNITS[budget.metric]}")
    axes.set_title(f"{name}: what int8 wins and loses")
    axes.grid()
    return svg(drawn, f"{name}: speed and loss of {len(dots)} int8 candidates")
