"""make bench-best: is what make best finds as fast as the fastest of many random settings that keep the same budget?

Three steps for each model, in copies of the project in which nothing was searched before (tests.bench.best_copies):

- search: make best itself, for each budget in a copy of its own.
- random: settings drawn from the same space, in one copy. Each is measured once without mixed precision, for all budgets. Those
  with it are measured once more for each budget that they do not keep without; where they do, no layer has to stay in fp32.
- duel: what make best chose beside the fastest of the random settings that keep the budget, in turn in one process.
  Two models of the same kernels (octet.best.speed.kernels) are as fast by definition.

What is finished lies in --folder and is not done again.
"""

from __future__ import annotations

import argparse
import itertools
import random
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
from octet.best.candidates import Budget, Candidate, Space, keeps
from octet.best.front import choose
from octet.best.record import Measurement
from octet.best.search import Search, Task
from octet.best.speed import Stopwatch
from octet.core import params, registry
from octet.core.errors import run
from octet.core.files import read_dataclass, write_json
from octet.core.folder import ModelFolder, NcnnFiles
from octet.core.text import table
from octet.data import preprocess
from octet.data.images import split_images
from octet.ncnn.machine import machine
from tests.bench.best_copies import SHARED, base, copy, inside, is_there
from tests.bench.loop import ROOT
from tests.bench.pairs import Ratio

BUDGETS = {  # nats: one that the defaults just do not keep, one that they keep, one that lets other kernels in
    "mobilenetv2_digits32": (2e-5, 4e-5, 8e-5),
    "resnet18_digits32": (2e-5, 4e-5, 8e-5),
    "resnet18_cifar10_jpeg": (2e-5, 4e-5, 8e-5),
}
STEPS = ("search", "random", "duel")
RIVALS, LOADS = 3, 20  # of the random settings, by different kernels; of both models in a duel
FOREVER = 24 * 3600.0


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
        print(clone.run(sys.executable, "-m", "octet", "best", *words.split()), flush=True)
        write_json(self.file(budget), asdict(Row(time.monotonic() - start, {})))

    def random(self, budgets: list[Budget]) -> None:
        """Measures the random settings that are not measured yet."""
        copy(base(self.model, self.folder), self.folder / "random")
        with self.searched("random") as search:
            for budget in (None, *budgets):
                for number, (one, is_mixed) in enumerate(settings(search.space(), self.count), 1):
                    measured = search.measured()
                    if budget and not (is_mixed and not keeps(measured[one], budget)):
                        continue
                    if (candidate := replace(one, budget=budget)) not in measured:
                        print(f"{self.model}, {number} of {self.count}: {candidate}", file=sys.stderr, flush=True)
                        search.measure(candidate)

    def duel(self, budget: Budget) -> None:
        """Times what make best chose beside the fastest random settings that keep the budget."""
        with self.searched(self.file(budget).stem) as search:
            measured = search.measured()
            if (chosen := choose(measured, budget).candidate) is None:
                return
            scratch = Path(tempfile.mkdtemp())
            int8 = experiments.fetch(self.model, search.experiment(chosen), chosen.engine, scratch).int8
        duels = {}
        with self.searched("random") as others:
            for rival, result in self.rivals(others, budget).items():
                if result.kernels == measured[chosen].kernels:
                    duels[str(rival)] = Ratio(1.0, 0.0)
                    continue
                there = experiments.fetch(self.model, others.experiment(rival), rival.engine, scratch / "random")
                duels[str(rival)] = self.ratio(int8, there.int8, scratch)
        shutil.rmtree(scratch)
        write_json(self.file(budget), asdict(replace(read_dataclass(Row, self.file(budget), ""), duels=duels)))

    def ratio(self, chosen: NcnnFiles, rival: NcnnFiles, scratch: Path) -> Ratio:
        """The time of a random setting's model by that of the chosen one."""
        rounds = Stopwatch(ModelFolder(self.model), None, scratch).bench({}).rounds(rival, chosen)
        medians = np.array([np.median(rounds(load % 2 == 1), axis=0) for load in range(LOADS)])
        ratios = medians[:, 0] / medians[:, 1]
        return Ratio(float(ratios.mean()), float(ratios.std(ddof=1) / LOADS**0.5))

    def kept(self, search: Search, budget: Budget) -> dict[Candidate, Measurement]:
        """The random settings that keep a budget, the fastest first."""
        measured, kept = search.measured(), []
        for one, is_mixed in settings(search.space(), self.count):
            candidate = replace(one, budget=budget if is_mixed and not keeps(measured[one], budget) else None)
            kept += [measured[candidate]] * keeps(measured[candidate], budget)
        return {one.candidate: one for one in sorted(kept, key=lambda one: -(one.speedup or 0))}

    def rivals(self, search: Search, budget: Budget) -> dict[Candidate, Measurement]:
        """The fastest of them, one of each kernels."""
        by_kernels: dict[str, Measurement] = {}
        for result in self.kept(search, budget).values():
            by_kernels.setdefault(result.kernels, result)
        return {one.candidate: one for one in itertools.islice(by_kernels.values(), RIVALS)}

    @contextmanager
    def searched(self, name: str) -> Iterator[Search]:
        """The search of a copy, which is the current folder for as long."""
        with inside(self.folder / name), tempfile.TemporaryDirectory() as scratch:
            entry = params.model(params.load(), self.model)
            steps = preprocess.load(ModelFolder(self.model).preprocess)
            images = split_images(entry.data, "train", steps, self.n_images, "--images")
            task = Task(self.model, entry, Budget("kl", 1.0), FOREVER, images)
            yield Search(task, Path(scratch), Path("reports") / self.model / "best.json")

    def cells(self, budget: Budget) -> list[str]:
        """The row in words."""
        row = read_dataclass(Row, self.file(budget), "")
        with self.searched(self.file(budget).stem) as search:
            measured = search.measured()
            chosen = choose(measured, budget).candidate
        with self.searched("random") as others:
            kept = self.kept(others, budget)
        return [
            self.model,
            f"{1e5 * budget.most:g}",
            *_cells(chosen, measured),
            f"{row.seconds:.0f} s",
            str(len(measured)),
            *_cells(next(iter(kept), None), kept),
            f"{len(kept)} of {self.count}",
            "<br>".join(f"{rival}: {ratio}" for rival, ratio in row.duels.items()),
        ]


def settings(space: Space, count: int) -> list[tuple[Candidate, bool]]:
    """Different random settings and whether mixed precision is among them, the same in every run."""
    every = [
        (Candidate(*values), is_mixed)
        for *values, is_mixed in itertools.product(
            space.targets, ("mse", *space.methods), ("absmax", "mse"), ("nearest", "gptq"), (False, True), (False, True)
        )
    ]
    fitting = [pair for pair in every if not (pair[0].equalize and _equalize_is_not_for(pair[0].method))]
    return random.Random(0).sample(fitting, min(count, len(fitting)))


def _equalize_is_not_for(method: str) -> bool:
    return "equalize" in registry.calibrator_needs(method).not_with


def _cells(one: Candidate | None, measured: dict[Candidate, Measurement]) -> list[str]:
    if one is None:
        return ["none", "", ""]
    return [str(one), f"{measured[one].speedup:.3f}", f"{1e5 * measured[one].upper('kl'):.2f}"]


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
