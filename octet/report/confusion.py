"""Confusion matrices: fp32's, int8's, and how the two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Rectangle

from octet.core.text import columns, shorten
from octet.report.figures import CLASSES, COLOURS, WIDTH, Rows
from octet.report.svg import BAD, GOOD, INK, LINE, figure, styled, svg

_FEW = 12  # so many classes leave room for numbers


@dataclass(frozen=True)
class Matrix:
    """counts[k, n]: how often class k was taken for class n; int of shape (classes, classes)."""

    names: list[str]
    counts: npt.NDArray[np.int64]


def confusion(rows: Rows, key: str, names: Sequence[str]) -> str:
    """One model's confusion matrix. The colour is that of the mistakes: what is right stands beside, in grey.

    Args:
        rows: Of confusion.csv.
        key: « fp32 » or « int8 ».
        names: The classes.
    """
    matrix = _matrix(rows, key, names)
    wrong = matrix.counts.copy()
    np.fill_diagonal(wrong, 0)
    colours = np.full(matrix.counts.shape, COLOURS[key])
    np.fill_diagonal(colours, LINE)
    strength = 0.7 * (wrong / max(wrong.max(), 1)) ** 0.7
    np.fill_diagonal(strength, 0.25)
    return _draw(matrix, colours, strength, f"confusion matrix of {key}", "d")


def confusion_change(rows: Rows, names: Sequence[str]) -> str:
    """int8's matrix less fp32's: green is better, more on the diagonal or less beside it. Arguments as above."""
    matrix = _matrix(rows, "change", names)
    change = matrix.counts
    better = np.where(np.eye(len(change), dtype=bool), change, -change)
    strength = 0.7 * (np.abs(change) / max(np.abs(change).max(), 1)) ** 0.7
    return _draw(matrix, np.where(better >= 0, GOOD, BAD), strength, "int8's confusions less fp32's", "+d")


def _matrix(rows: Rows, key: str, names: Sequence[str]) -> Matrix:
    """How often each class was taken for each; of many classes those that are most often part of a mistake."""
    wrong = Counter[str]()
    for row in rows:
        if row["actual"] != row["predicted"]:
            wrong.update({row[side]: int(row["fp32"]) + int(row["int8"]) for side in ("actual", "predicted")})
    most = set(sorted(names, key=lambda name: -wrong[name])[:CLASSES])
    shown = [name for name in names if name in most]
    place = {name: k for k, name in enumerate(shown)}
    counts = np.zeros((len(shown), len(shown)), np.int64)  # of all classes it would be of 75 GB where there are 100,000
    for row in rows:
        if row["actual"] in place and row["predicted"] in place:
            counts[place[row["actual"]], place[row["predicted"]]] = int(row[key])
    return Matrix(shown, counts)


@styled
def _draw(
    matrix: Matrix, colours: npt.NDArray[np.str_], strength: npt.NDArray[np.float64], label: str, form: str
) -> str:
    """The cells in their colours, from 0, invisible, to 1, and with their numbers where there is room."""
    names, count = matrix.names, len(matrix.names)
    drawn, axes = figure(WIDTH, WIDTH - 0.2)
    for row, column in np.ndindex(matrix.counts.shape):
        if (alpha := float(strength[row, column])) > 0.02:
            corner = column - 0.5, row - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=str(colours[row, column]), alpha=alpha, linewidth=0))
        if count <= _FEW and (value := int(matrix.counts[row, column])):
            axes.text(column, row, format(value, form), ha="center", va="center", fontsize=7.5, color=INK)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    size, wide = 8 if count <= _FEW else 6, [shorten(name, 12) for name in names]
    upright = count * max(map(columns, wide)) > 40
    axes.set_xticks(range(count), wide, rotation=90 * upright, fontsize=size)
    axes.set_yticks(range(count), [shorten(name, 16) for name in names], fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    return svg(drawn, label)
