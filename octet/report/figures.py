"""The report's figures, each from the rows of one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Rectangle

from octet.report.svg import BAD, FP32, GOOD, INK, INT8, LINE, figure, svg

Rows = Sequence[dict[str, str]]  # of a CSV file
CLASSES = 30  # shown at most; of more, those that tell most
COLOURS = {"fp32": FP32, "int8": INT8}
_WIDTH = 4.0  # inches


def classes(rows: Rows) -> str:
    """F1 of every class, fp32 beside int8; of many classes those that differ most."""
    names, values = _by_class(rows)
    shown = np.sort(np.argsort(-np.abs(values[1] - values[0]), kind="stable")[:CLASSES])
    made, axis = figure(_WIDTH, 0.55 + 0.21 * len(shown))
    places, (fp32, int8) = np.arange(len(shown)), values[:, shown]
    axis.hlines(places, fp32, int8, color=LINE, linewidth=2)
    axis.plot(fp32, places, "o", color=FP32, markersize=6, label="fp32")
    axis.plot(int8, places, "o", color=INT8, markersize=4, label="int8")
    axis.set_yticks(places, [short(names[k]) for k in shown])
    axis.invert_yaxis()
    axis.set_xlabel("F1, %")
    axis.grid(axis="x")
    axis.tick_params(length=0)
    return svg(made, "F1 by class, fp32 and int8")


def confusion(rows: Rows, key: str, names: Sequence[str]) -> str:
    """One model's confusion matrix. The colour is that of the mistakes: what is right stands beside, in grey."""
    names, counts = _matrix(rows, key, names)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    return _heat(names, counts, wrong / max(wrong.max(), 1), COLOURS[key], True, f"confusion matrix of {key}")


def confusion_change(rows: Rows, names: Sequence[str]) -> str:
    """int8's matrix less fp32's: green is better, more on the diagonal or less beside it."""
    names, change = _matrix(rows, "change", names)
    better = np.where(np.eye(len(names), dtype=bool), change, -change)
    shade = np.abs(change) / max(np.abs(change).max(), 1)
    return _heat(names, change, shade, np.where(better >= 0, GOOD, BAD), False, "int8's confusions less fp32's", "+d")


def latency(rows: Rows, threads: int) -> str:
    """Every timed run with so many threads, fp32 and int8, and their medians."""
    made, axis = figure(_WIDTH, 1.45)
    for place, key in enumerate(("fp32", "int8")):
        kind = (str(threads), key)
        times = np.array([float(r["latency_ms"]) for r in rows if (r["threads"], r["precision"]) == kind])
        axis.vlines(times, place - 0.2, place + 0.3, color=COLOURS[key], linewidth=1, alpha=0.3)
        median = float(np.median(times))
        axis.vlines(median, place - 0.27, place + 0.37, color=COLOURS[key], linewidth=2.5)
        axis.text(median, place - 0.29, f"{median:.2f}", ha="center", va="bottom", fontsize=8, color=INK)
    most = max(np.percentile([float(r["latency_ms"]) for r in rows if r["threads"] == str(threads)], 98), 1e-9)
    axis.set_xlim(0, 1.08 * most)
    axis.set_ylim(1.45, -0.7)
    axis.set_yticks([0, 1], ["fp32", "int8"])
    axis.set_xlabel("ms an image")
    axis.tick_params(axis="y", length=0)
    return svg(made, f"latency of every timed run, {threads} threads")


def activations(rows: Rows, fp32_layers: Sequence[str]) -> list[tuple[str, str]]:
    """For every layer its name and the histogram of what it reads, with the threshold beyond which int8 clips; without
    one for the layers in fp32.
    """
    layers: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        layers.setdefault(row["layer"], []).append(row)
    return [
        (f"{name} (fp32)", _activation(name, bins, False))
        if name in fp32_layers
        else (name, _activation(name, bins, True))
        for name, bins in layers.items()
    ]


def layers(rows: Sequence[dict]) -> str:
    """The error of every layer in the network's order: its output's SQNR, and what it alone does to the probabilities.
    rows: analyze.json's; the three layers with the largest KL divergence stand out.
    """
    count = len(rows)
    made, (noise, shift) = figure(_WIDTH, 0.55 + 0.19 * count, ncols=2, sharey=True)
    noise_db, kl = (np.array([row[key] for row in rows]) for key in ("sqnr_db", "kl_alone"))
    worst = np.isin(np.arange(count), np.argsort(-kl, kind="stable")[:3])
    for part, colour, alpha in ((~worst, INT8, 0.5), (worst, BAD, 1)):
        places = np.flatnonzero(part)
        noise.barh(places, noise_db[part], 0.7, color=colour, alpha=alpha)
        shift.plot(kl[part], places, "o", color=colour, alpha=alpha, markersize=5)
    shift.set_xscale("log")
    noise.set_yticks(range(count), [short(row["layer"], 18) for row in rows])
    noise.set_ylim(count - 0.4, -0.6)
    for axis, label in ((noise, "SQNR, dB"), (shift, "KL divergence, nats")):
        axis.set_xlabel(label)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
    return svg(made, "error of every layer")


def _activation(name: str, bins: Rows, clips: bool) -> str:
    begin, share = (np.array([float(row[key]) for row in bins]) for key in ("value", "share_pct"))
    width = begin[1] - begin[0] if len(begin) > 1 else 1.0
    threshold = float(bins[0]["threshold"]) if clips else np.inf
    made, axis = figure(2.2, 1.15)
    kept = begin < threshold
    for part, colour in ((kept, FP32), (~kept, BAD)):
        axis.bar(begin[part], share[part], width, align="edge", color=colour, linewidth=0)
    if clips:
        axis.axvline(threshold, color=INT8, linewidth=1.5)
    axis.set_yscale("log")
    axis.set_xlim(0, max(begin[-1] + width, 1.03 * threshold if clips else 0))
    low = share[share > 0].min(initial=100)
    axis.set_ylim(10 ** np.floor(np.log10(low)) / 2, 200)
    axis.set_yticks([10.0**k for k in range(int(np.floor(np.log10(low))), 3, 2)])
    axis.minorticks_off()
    return svg(made, f"what {name} reads" + ", and its threshold" * clips)


def _by_class(rows: Rows) -> tuple[list[str], np.ndarray]:
    """The classes, and F1 of fp32 and int8, of shape (2, classes)."""
    names = list(dict.fromkeys(row["class"] for row in rows))
    return names, np.array([[float(r["f1_pct"]) for r in rows if r["model"] == key] for key in COLOURS])


def _matrix(rows: Rows, key: str, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The classes, and how often each (the row) was taken for each (the column); of many classes those that are most
    often part of a mistake.
    """
    index = {name: k for k, name in enumerate(names)}
    counts, wrong = np.zeros((len(index), len(index)), int), np.zeros(len(index), int)
    for row in rows:
        k, n = index[row["actual"]], index[row["predicted"]]
        counts[k, n] = int(row[key])
        if k != n:
            wrong[[k, n]] += int(row["fp32"]) + int(row["int8"])
    shown = np.sort(np.argsort(-wrong, kind="stable")[:CLASSES])
    return [names[k] for k in shown], counts[np.ix_(shown, shown)]


def _heat(names: list[str], counts, shade, colour, diagonal: bool, label: str, form: str = "d") -> str:
    """A matrix of cells: their colour, how strong it is, from 0 to 1, and their numbers where there is room. diagonal:
    is it grey?
    """
    count = len(names)
    made, axis = figure(_WIDTH, _WIDTH - 0.2)
    colours = np.broadcast_to(colour, counts.shape)
    for row, column in np.ndindex(counts.shape):
        grey = diagonal and row == column
        alpha = 0.25 if grey else 0.7 * float(shade[row, column]) ** 0.7  # numbers stay legible on it
        if alpha > 0.02:
            fill = LINE if grey else colours[row, column]
            axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=fill, alpha=alpha, linewidth=0))
        if count <= 12 and counts[row, column]:
            axis.text(column, row, format(counts[row, column], form), ha="center", va="center", fontsize=7.5, color=INK)
    axis.set_xlim(-0.5, count - 0.5)
    axis.set_ylim(count - 0.5, -0.5)
    size = 8 if count <= 12 else 6
    upright = count * max(len(short(name, 12)) for name in names) > 40
    axis.set_xticks(range(count), [short(name, 12) for name in names], rotation=90 * upright, fontsize=size)
    axis.set_yticks(range(count), [short(name, 16) for name in names], fontsize=size)
    axis.tick_params(length=0)
    axis.set_xlabel("predicted")
    axis.set_ylabel("actual")
    return svg(made, label)


def short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
