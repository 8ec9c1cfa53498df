"""int8 in all engines that a model names, one column an engine, and which of them to pick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.text import table
from octet.evaluate import engines
from octet.evaluate.engines import EngineFigures
from octet.evaluate.pairs import read_pairs
from octet.summary.summary import Summary, latency


@dataclass(frozen=True)
class Column:
    """One engine's int8.

    Args:
        engine: Its name.
        figures: What it loses beside ncnn's fp32.
        fps: Images a second, batch 1, by the number of threads; empty where it is not timed here.
    """

    engine: str
    figures: EngineFigures
    fps: dict[int, float]


def columns(folder: ModelFolder, names: Sequence[str]) -> list[Column]:
    """The engines of a model, ncnn first; none where it names no other.

    Args:
        folder: The model's files.
        names: Its engines beside ncnn, as its entry has them.

    Raises:
        OctetError: A file is missing or damaged.
    """
    others = engines.load(folder.engine_figures, names, folder.name)
    if not others:
        return []
    pairs, size = read_pairs(folder), Summary.load(folder.summary).int8_bytes
    figures = {"ncnn": EngineFigures.of(pairs, size), **others}
    if len({of.top1_drop_pt is None for of in figures.values()}) > 1:
        raise OctetError(
            f"{folder.engine_figures}: not of the same images as ncnn's; 'make quantize MODEL={folder.name}' makes it anew"
        )
    _, by_threads = latency(folder.latency)
    return [
        Column(
            name,
            of,
            {
                threads: fps[key]
                for threads, fps in sorted(by_threads.items())
                if (key := "int8" if name == "ncnn" else name) in fps
            },
        )
        for name, of in figures.items()
    ]


def engines_table(folder: ModelFolder, names: Sequence[str], max_drop_pt: float) -> str:
    """What `make quantize` prints of the engines; empty where a model names none but ncnn.

    Args:
        folder: The model's files.
        names: Its engines beside ncnn, as its entry has them.
        max_drop_pt: How many points int8 may lose, as its entry has it.
    """
    shown = columns(folder, names)
    if not shown:
        return ""
    head, rows = cells(shown)
    head[0] = f"{folder.name}, int8"
    return "\n".join([table(rows, headers=head, align="l" + "r" * len(shown)), *picks(shown, max_drop_pt)])


def cells(shown: list[Column]) -> tuple[list[str], list[list[str]]]:
    """The table's headers, the first of which is empty, and its rows."""
    rows = [["agrees with fp32", *(f"{c.figures.agreement_pct:.2f} %" for c in shown)]]
    if shown[0].figures.top1_drop_pt is not None:
        rows.insert(0, ["top-1 drop, points", *(_drop(c.figures) for c in shown)])
    rows.append(["KL, top 5, 10\u207b\u2075 nats", *(f"{1e5 * c.figures.kl_top5_nats:.1f}" for c in shown)])
    for threads in shown[0].fps:
        name = f"FPS, {threads} thread{'s' * (threads > 1)}"
        rows.append([name, *(f"{c.fps[threads]:.1f}" if threads in c.fps else "not run" for c in shown)])
    rows.append(["size", *(f"{c.figures.bytes / 1e6:.1f} MB" for c in shown)])
    return ["", *(c.engine for c in shown)], rows


def _drop(figures: EngineFigures) -> str:
    error = "" if figures.top1_drop_se_pt is None else f" ± {figures.top1_drop_se_pt:.2f}"
    return f"{figures.top1_drop_pt:+.2f}{error}"


def picks(shown: list[Column], max_drop_pt: float) -> list[str]:
    """Which engine is the fastest of those that lose little enough, and which the closest to fp32."""
    closest = min(shown, key=lambda column: column.figures.kl_top5_nats)
    fine = [column for column in shown if column.figures.loss_pt <= max_drop_pt and column.fps]
    lines = [f"Closest to fp32: {closest.engine}."]
    if not fine:
        return [*lines, f"None that is timed here loses {max_drop_pt:g} points or less."]
    fastest = max(fine, key=lambda column: column.fps[min(column.fps)])
    return [f"Fastest on this machine with one thread, within {max_drop_pt:g} points: {fastest.engine}.", *lines]
