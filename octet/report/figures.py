"""The report's figures, each from the rows of one table; confusion matrices are in octet/report/confusion.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter

from octet.analyze.analyze import LayerCost
from octet.core.folder import PRECISIONS
from octet.core.text import shorten
from octet.report.svg import BAD, FP32, INK, INT8, LINE, figure, pair, power, styled, svg

Rows = Sequence[dict[str, str]]  # of a CSV file
CLASSES = 30  # shown at most; of more, those that tell most
COLOURS = {"fp32": FP32, "int8": INT8}
WIDTH = 4.0  # inches of a figure


@styled
def classes(rows: Rows) -> str:
    """F1 of every class, fp32 beside int8; of many classes those that differ most. rows: of classes.csv."""
    names = list(dict.fromkeys(row["class"] for row in rows))
    values = np.array([[float(row["f1_pct"]) for row in rows if row["model"] == key] for key in PRECISIONS])
    shown = np.sort(np.argsort(-np.abs(values[1] - values[0]), kind="stable")[:CLASSES])
    drawn, axes = figure(WIDTH, 0.55 + 0.21 * len(shown))
    places, (fp32, int8) = np.arange(len(shown)), values[:, shown]
    axes.hlines(places, fp32, int8, color=LINE, linewidth=2)
    axes.plot(fp32, places, "o", color=FP32, markersize=6, label="fp32")
    axes.plot(int8, places, "o", color=INT8, markersize=4, label="int8")
    axes.set_yticks(places, [shorten(names[k], 22) for k in shown])
    axes.invert_yaxis()
    axes.set_xlabel("F1, %")
    axes.grid(axis="x")
    axes.tick_params(length=0)
    return svg(drawn, "F1 by class, fp32 and int8")


@styled
def latency(rows: Rows, threads: int, median_ms: Mapping[str, float]) -> str:
    """Every timed run with so many threads, fp32 and int8, and their medians.

    Args:
        rows: Of latency_samples.csv.
        threads: Which of the rows.
        median_ms: By precision, as latency.json has them.
    """
    drawn, axes = figure(WIDTH, 1.45)
    slowest = 1e-9
    for place, key in enumerate(PRECISIONS):
        kind = (str(threads), key)
        times = np.array([float(row["latency_ms"]) for row in rows if (row["threads"], row["precision"]) == kind])
        slowest = max(slowest, float(np.percentile(times, 98)))
        median = median_ms[key]
        axes.vlines(times, place - 0.2, place + 0.3, color=COLOURS[key], linewidth=1, alpha=0.3)
        axes.vlines(median, place - 0.27, place + 0.37, color=COLOURS[key], linewidth=2.5)
        axes.text(median, place - 0.29, f"{median:.2f}", ha="center", va="bottom", fontsize=8, color=INK)
    axes.set_xlim(0, 1.08 * slowest)
    axes.set_ylim(1.45, -0.7)
    axes.set_yticks([0, 1], list(PRECISIONS))
    axes.set_xlabel("ms an image")
    axes.tick_params(axis="y", length=0)
    return svg(drawn, f"latency of every timed run, {threads} thread{'s' * (threads > 1)}")


def activations(rows: Rows, fp32_layers: Collection[str]) -> list[tuple[str, str]]:
    """For every layer its name and the histogram of what it reads, with the threshold beyond which int8 clips; without
    one for the layers in fp32. rows: of activations.csv.
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


@styled
def layers(rows: Sequence[LayerCost]) -> str:
    """The error of every layer in the network's order: its output's SQNR, and what it alone does to the probabilities.
    rows: of analyze.json; the three layers with the largest KL divergence stand out, or with the least SQNR of the outputs.
    """
    count = len(rows)
    drawn, noise, shift = pair(WIDTH, 0.55 + 0.19 * count)
    noise_db, rank = np.array([row.sqnr_db for row in rows]), np.array([row.rank for row in rows])
    of_classes = all(row.kl_alone is not None for row in rows)
    kl = rank if of_classes else -rank
    worst = np.isin(np.arange(count), np.argsort(-rank, kind="stable")[:3])
    for part, colour, alpha in ((~worst, INT8, 0.5), (worst, BAD, 1)):
        places = np.flatnonzero(part)
        noise.barh(places, noise_db[part], 0.7, color=colour, alpha=alpha)
        shift.plot(kl[part], places, "o", color=colour, alpha=alpha, markersize=5)
    if of_classes:
        shift.set_xscale("log")
        shift.xaxis.set_major_formatter(FuncFormatter(power))
    noise.set_yticks(range(count), [shorten(row.layer, 18) for row in rows])
    noise.set_ylim(count - 0.4, -0.6)
    for axes, label in (
        (noise, "SQNR, dB"),
        (shift, "KL divergence, nats" if of_classes else "SQNR of the outputs, dB"),
    ):
        axes.set_xlabel(label)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    return svg(drawn, "error of every layer")


@styled
def _activation(name: str, bins: Rows, clips: bool) -> str:
    begin, share = (_column(bins, key) for key in ("value", "share_pct"))
    width = begin[1] - begin[0] if len(begin) > 1 else 1.0
    threshold = float(bins[0]["threshold"]) if clips else np.inf
    drawn, axes = figure(2.2, 1.15)
    kept = begin < threshold
    for part, colour in ((kept, FP32), (~kept, BAD)):
        axes.bar(begin[part], share[part], width, align="edge", color=colour, linewidth=0)
    if clips:
        axes.axvline(threshold, color=INT8, linewidth=1.5)
    axes.set_yscale("log")
    axes.set_xlim(0, max(begin[-1] + width, 1.03 * threshold if clips else 0))
    low = int(np.floor(np.log10(share[share > 0].min(initial=100))))
    axes.set_ylim(10.0**low / 2, 200)
    steps = range(low, 3, 2)
    axes.set_yticks([10.0**k for k in steps], [f"{10.0**k:g}" for k in steps])
    axes.minorticks_off()
    return svg(drawn, f"what {name} reads" + ", and its threshold" * clips)


def _column(rows: Rows, key: str) -> npt.NDArray[np.float64]:
    return np.array([float(row[key]) for row in rows])
