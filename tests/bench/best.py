"""make bench-best: is what make best finds as fast as the fastest of many random settings that keep the same budget?

Three steps for each model, in copies of the project in which nothing was searched before (tests.bench.best_copies):

- search: make best itself, for each budget in a copy of its own.
- random: settings drawn from the same space, in one copy. Each is measured once without mixed precision, for all budgets. Those
  with it are measured once more for each budget that they do not keep without, unless they are clearly slower already than what
  make best chose; where they keep it, no layer has to stay in fp32.
- duel: what make best chose beside the fastest of the random settings that keep the budget, in turn in one process.
  Two models of the same kernels (octet.best.kernels) are as fast by definition.

What is finished lies in --folder and is not done again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from octet.best import experiments
from octet.best.candidates import Budget
from octet.best.front import choose
from octet.best.record import Measurement, Record
from octet.best.search import Search, Task
from octet.best.speed import Stopwatch
from octet.core import params
from octet.core.errors import OctetError, run
from octet.core.files import read_dataclass, write_json
from octet.core.folder import ModelFolder, NcnnFiles
from octet.core.text import table
from octet.data import preprocess
from octet.data.images import Images, split_images
from octet.ncnn.machine import machine
from tests.bench.best_copies import SHARED, base, copy, inside, is_there
from tests.bench.best_random import KERNELS, RECORD, Drawn, draw
from tests.bench.loop import ROOT
from tests.bench.pairs import Ratio

BUDGETS = {  # nats: one that the defaults just do not keep, one that they keep, one that lets other kernels in
    "mobilenetv2_digits32": (4e-5, 1e-4, 1.5e-3),
    "resnet18_digits32": (2.5e-5, 6e-5, 4e-4),
    "resnet18_cifar10_jpeg": (2.4e-5, 6e-5, 8e-4),
}
STEPS = ("search", "random", "duel")
RIVALS, LOADS = 3, 20  # of the random settings, by different kernels; of both models in a duel


@dataclass(frozen=True)
class Row:
    """What came of a search.

    Args:
        seconds: How long make best took.
        duels: By the random setting, its time by the chosen one's, and the standard error: above 1 the chosen one is faster.
    """

    seconds: float
    duels: dict[str, Ratio]


@dataclass(frozen=True)
class Bench:
    """The comparison for one model.

    Args:
        model: Its name.
        folder: Where its copies lie.
        n_images: How many hold-out images judge it.
        count: How many random settings.
    """

    model: str
    folder: Path
    n_images: int
    count: int

    def file(self, budget: Budget) -> Path:
        """The file with a row."""
        return self.folder / f"best-{budget.most:g}.json"

    def search(self, budget: Budget, minutes: float) -> None:
        """Runs make best, unless it was run."""
        if self.file(budget).is_file():
            return
        shutil.rmtree(self.file(budget).with_suffix(""), ignore_errors=True)  # of one that was ended
        clone = copy(base(self.model, self.folder), self.file(budget).with_suffix(""))
        words = f"--model={self.model} --kl={budget.most:g} --minutes={minutes:g} --holdout={self.n_images}"
        start = time.monotonic()
        try:
            print(clone.run(sys.executable, "-m", "octet", "best", *words.split()), flush=True)
        except OctetError as error:
            if not self.found(budget):  # else nothing that was measured keeps the budget, which is a row, too
                raise
            print(error, flush=True)
        write_json(self.file(budget), asdict(Row(time.monotonic() - start, {})))

    def random(self, budgets: list[Budget]) -> None:
        """Measures the random settings that are not measured yet."""
        copy(base(self.model, self.folder), self.folder / "random")
        with self.drawn() as drawn:
            drawn.measure({budget: self.speed(budget) for budget in budgets})

    def duel(self, budget: Budget) -> None:
        """Times what make best chose beside the fastest random settings that keep the budget, one of each kernels."""
        found = self.found(budget)
        if (chosen := chosen_of(found, budget)) is None:
            return
        with tempfile.TemporaryDirectory() as name, self.drawn() as drawn:
            scratch = Path(name)
            with inside(self.file(budget).with_suffix("")):
                experiment = next(key for key, one in found.items() if one == chosen)
                int8 = experiments.fetch(self.model, experiment, chosen.candidate.engine, scratch).int8
            duels: dict[str, Ratio] = {}
            rivals = {one.kernels: one for one in reversed(drawn.kept(budget))}  # of those alike the fastest
            for kernels, rival in list(reversed(rivals.items()))[:RIVALS]:
                files = NcnnFiles.named(KERNELS / kernels, "int8")
                is_same = kernels == chosen.kernels
                duels[str(rival.candidate)] = Ratio(1.0, 0.0) if is_same else self.ratio(int8, files, scratch)
        write_json(self.file(budget), asdict(replace(read_dataclass(Row, self.file(budget), ""), duels=duels)))

    def ratio(self, chosen: NcnnFiles, rival: NcnnFiles, scratch: Path) -> Ratio:
        """The time of a random setting's model by that of the chosen one."""
        rounds = Stopwatch(ModelFolder(self.model), None, scratch).bench({}).rounds(rival, chosen)
        medians = np.array([np.median(rounds(load % 2 == 1), axis=0) for load in range(LOADS)])
        ratios = medians[:, 0] / medians[:, 1]
        return Ratio(float(ratios.mean()), float(ratios.std(ddof=1) / LOADS**0.5))

    def speed(self, budget: Budget) -> float:
        """How many times as fast as fp32 what make best chose is; 0: nothing keeps the budget."""
        chosen = chosen_of(self.found(budget), budget)
        return chosen.speedup or 0 if chosen else 0

    def found(self, budget: Budget) -> dict[str, Measurement]:
        """What make best measured, by the experiment."""
        record = Record.load(self.file(budget).with_suffix("") / "reports" / self.model / "best.json")
        speedups = next(iter(record.speedups.values()), {})
        return {name: replace(one, speedup=speedups.get(one.kernels)) for name, one in record.measurements.items()}

    @contextmanager
    def drawn(self) -> Iterator[Drawn]:
        """The random settings, whose copy is the current folder for as long."""
        with inside(self.folder / "random"), tempfile.TemporaryDirectory() as name:
            entry, scratch = params.model(params.load(), self.model), Path(name)
            space = Search(Task(self.model, entry, Budget("kl", 1.0), 0.0, self.images(entry)), scratch, RECORD).space()
            stopwatch = Stopwatch(ModelFolder(self.model), None, scratch)
            yield Drawn(self.model, self.images(entry), stopwatch, draw(space, self.count))

    def images(self, entry: params.Model) -> Images:
        """The hold-out images."""
        steps = preprocess.load(ModelFolder(self.model).preprocess)
        return split_images(entry.data, "train", steps, self.n_images, "--images")

    def cells(self, budget: Budget) -> list[str]:
        """The row in words."""
        row = read_dataclass(Row, self.file(budget), "")
        found = self.found(budget)
        with self.drawn() as drawn:
            kept, n_measured = drawn.kept(budget), drawn.n_measured()
        return [
            self.model,
            f"{1e5 * budget.most:g}",
            *_cells(chosen_of(found, budget)),
            f"{row.seconds:.0f} s",
            str(len(found)),
            *_cells(kept[0] if kept else None),
            f"{len(kept)} of {n_measured}",
            "<br>".join(f"{rival}: {ratio}" for rival, ratio in row.duels.items()),
        ]


def chosen_of(found: dict[str, Measurement], budget: Budget) -> Measurement | None:
    """What make best chose of what it measured; None: nothing keeps the budget."""
    if not found:
        return None
    measured = {one.candidate: one for one in found.values()}
    chosen = choose(measured, budget).candidate
    return measured[chosen] if chosen else None


def _cells(one: Measurement | None) -> list[str]:
    if one is None:
        return ["none", "", ""]
    return [str(one.candidate), f"{one.speedup:.3f}", f"{1e5 * one.upper('kl'):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=BUDGETS, help="default: all")
    parser.add_argument("--kl", action="append", type=float, help="budgets in nats (default: three for each model)")
    parser.add_argument("--minutes", type=float, default=10, help="for make best (default: 10)")
    parser.add_argument("--images", type=int, default=1000, help="hold-out images (default: 1000)")
    parser.add_argument("--random", type=int, default=40, help="random settings (default: 40)")
    parser.add_argument("--step", action="append", choices=STEPS, help="default: all")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-best", help="for the copies")
    args = parser.parse_args()
    rows = []
    for model in args.model or BUDGETS:
        if not is_there(model):
            print(f"{model}: left out, {SHARED} is not there")
            continue
        bench = Bench(model, args.folder.resolve() / model, args.images, args.random)
        budgets = [Budget("kl", most) for most in args.kl or BUDGETS[model]]
        steps = args.step or STEPS
        for budget in budgets if "search" in steps else ():
            bench.search(budget, args.minutes)
        if "random" in steps:
            bench.random(budgets)
        if "duel" in steps:
            for budget in budgets:
                bench.duel(budget)
            rows += [bench.cells(budget) for budget in budgets]
    headers = ["model", "budget", "make best", "speed-up", "KL at most", "took", "measured"]
    headers += ["fastest of random settings", "speed-up", "KL at most", "keep it", "its time by make best's"]
    print(table(rows, headers, markdown=True))
    about = machine()
    print(f"\n{about['cores']} cores of {about['cpu']}, ncnn {about['ncnn']}, {args.images} hold-out images, 10⁻⁵ nats")


if __name__ == "__main__":
    run(main)
