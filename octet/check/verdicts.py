"""make check: does int8 keep what params.yaml allows, in ncnn, in the model's other engines and on devices?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from octet.core.folder import ModelFolder
from octet.core.params import Check, Model
from octet.device.check import shortfalls
from octet.evaluate import engines
from octet.evaluate.engines import EngineFigures
from octet.project.provenance import check_current, check_unchanged
from octet.project.splits import check_links
from octet.summary.summary import Summary

_ADVICE = "'make best' searches settings that keep a budget; or list the layers that cost most ('make report') under keep_fp32"


class Problem(Enum):
    """Why a check fails, in the order in which the error names them."""

    SQNR = "the SQNR is under min_sqnr_db"
    DROP = "the drop is over max_drop_pt"
    DEVICE = "less than 'check' in params.yaml asks of a device"


@dataclass(frozen=True)
class Verdict:
    """What is said of one model, engine or device.

    Args:
        where: The model, and the engine or device where it is not ncnn on this machine.
        lines: In words, each with the model's name before it.
        problem: Why the check fails; None: it does not.
    """

    where: str
    lines: list[str]
    problem: Problem | None


def figure_files(name: str, entry: Model) -> list[Path]:
    """The files of figures that say how good a model is."""
    folder = ModelFolder(name)
    return [folder.summary, *([folder.engine_figures] if entry.onnx_engines else [])]


def summary_of(name: str) -> Summary:
    """A model's figures, fp32 beside int8. Raises OctetError where they are missing or damaged."""
    return Summary.load(ModelFolder(name).summary, f"'make quantize MODEL={name}' makes it")


def verdicts(name: str, entry: Model, check: Check) -> Iterator[Verdict]:
    """Sets a model's figures beside what its entry and `check` ask: of devices, of ncnn here, of its other engines.

    Raises:
        OctetError: Figures are missing or damaged, or not of the files and settings that the project has now.
    """
    folder = ModelFolder(name)
    check_links(entry.data)
    measured = summary_of(name)
    of_engines = engines.load(folder.engine_figures, entry.onnx_engines, name)
    check_current(name, figure_files(name, entry))
    check_unchanged(name)
    on_devices = shortfalls(folder, check)
    yield Verdict(name, [f"{name}: {line}" for line in on_devices.lines], None)
    for device in on_devices.short:
        yield Verdict(f"{name} on {device}", [], Problem.DEVICE)
    yield _in_ncnn(name, measured, entry)
    if measured.sqnr_db is None:  # else there are no classes that other engines could be judged by
        for engine, figures in of_engines.items():
            yield _in_engine(name, engine, figures, entry.max_drop_pt)


def problems(given: Iterable[Verdict]) -> str:
    """All problems of a check in one sentence, with what to do; nothing where there are none.

    >>> problems([Verdict("net", ["net: fine"], None), Verdict("net on phone", [], Problem.DEVICE)])
    "net on phone: less than 'check' in params.yaml asks of a device"
    """
    where = {problem: [one.where for one in given if one.problem is problem] for problem in Problem}
    sentences = [f"{', '.join(names)}: {problem.value}" for problem, names in where.items() if names]
    return "; ".join([*sentences, *([_ADVICE] if where[Problem.SQNR] or where[Problem.DROP] else [])])


def _in_ncnn(name: str, measured: Summary, entry: Model) -> Verdict:
    if measured.sqnr_db is not None:
        too_little = measured.sqnr_db < entry.min_sqnr_db
        asked = f"it has to be at least {entry.min_sqnr_db:.1f}: {'too little' if too_little else 'fine'}"
        return Verdict(name, [f"{name}: int8 {measured.loss()}, {asked}"], Problem.SQNR if too_little else None)
    return _of_loss(name, f"{name}: int8 {measured.loss()}", measured, entry.max_drop_pt)


def _in_engine(name: str, engine: str, figures: EngineFigures, most: float) -> Verdict:
    words = (
        f"disagrees with fp32 on {figures.loss_pt:.2f} % of images without labels"
        if figures.top1_drop_pt is None
        else f"loses {figures.loss_pt:+.2f} points of top-1"
    )
    return _of_loss(f"{name} in {engine}", f"{name}: int8 in {engine} {words}", figures, most)


def _of_loss(where: str, words: str, of: Summary | EngineFigures, most: float) -> Verdict:
    counts = " (max_drop_pt counts disagreement here)" if of.top1_drop_pt is None else ""
    too_much = of.loss_pt > most
    line = f"{words}, allowed are {most:.2f}{counts}: {'too much' if too_much else 'fine'}"
    return Verdict(where, [line], Problem.DROP if too_much else None)
