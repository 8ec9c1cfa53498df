"""make bench-best: is what make best finds as fast as the best of many random settings that keep the same budget?

For each model and budget: make best for MINUTES, then random settings of the same space, measured in the same way on the same
hold-out images. Prints one row for each; nothing is written but reports/MODEL/bench-best, and no params.yaml changes. DVC remembers
experiments, so run it in a fresh clone: there, make best cannot profit from what was measured before.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from octet.best import experiments
from octet.best.candidates import Budget, Candidate, Space, keeps
from octet.best.front import choose
from octet.best.record import Measurement
from octet.best.search import Search, Task
from octet.core import params
from octet.core.errors import run
from octet.core.folder import ModelFolder
from octet.core.text import table
from octet.data import preprocess
from octet.data.images import split_images
from octet.ncnn.machine import machine

RANDOM = 40
BUDGETS = {"resnet18_digits32": (2e-5, 4e-5, 8e-5), "mobilenetv2_digits32": (1e-4, 1.5e-4, 3e-4)}  # nats
FOREVER = 24 * 3600.0


def settings(space: Space, budget: Budget, count: int) -> list[Candidate]:
    """Different random settings, the same in every run."""
    every = [
        Candidate(*values)
        for values in itertools.product(
            space.targets,
            ("mse", *space.methods),
            ("absmax", "mse"),
            ("nearest", "gptq"),
            (False, True),
            (None, budget),
        )
    ]
    return random.Random(0).sample(every, min(count, len(every)))


def compare(model: str, budget: Budget, minutes: float, images: int, count: int) -> list[str]:
    """A row of the table: what make best finds, and the fastest of the random settings that keep the budget."""
    entry = params.model(params.load(), model)
    experiments.check_git(model, entry)
    folder = Path("reports") / model / "bench-best"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        start = time.monotonic()
        steps = preprocess.load(ModelFolder(model).preprocess)
        hold_out = split_images(entry.data, "train", steps, images, "--images")
        search = Search(Task(model, entry, budget, 60 * minutes, hold_out), Path(scratch), folder / "best.json")
        search.run()
        took = time.monotonic() - start
        found = search.measured()
        chosen = choose(found, budget).candidate
        others = Search(Task(model, entry, budget, FOREVER, hold_out), Path(scratch), folder / "random.json")
        for number, one in enumerate(settings(search.space(), budget, count), 1):
            print(f"{model}, {budget}: {number} of {count}: {one}", file=sys.stderr)
            others.measure(one)
    kept = {one: result for one, result in others.measured().items() if keeps(result, budget)}
    fastest = max(kept, key=lambda one: kept[one].speedup or 0, default=None)
    return [
        model,
        str(budget),
        *_cells(chosen, found, budget),
        f"{took:.0f} s",
        str(len(found)),
        *_cells(fastest, kept, budget),
        f"{len(kept)} of {count}",
    ]


def _cells(one: Candidate | None, measured: dict[Candidate, Measurement], budget: Budget) -> list[str]:
    if one is None:
        return ["none", "", ""]
    return [str(one), f"{measured[one].speedup:.3f}", f"{measured[one].upper(budget.metric):.2e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=BUDGETS, help="default: all")
    parser.add_argument("--kl", action="append", type=float, help="budgets in nats (default: three for each model)")
    parser.add_argument("--minutes", type=float, default=10, help="for make best (default: 10)")
    parser.add_argument("--images", type=int, default=1000, help="hold-out images (default: 1000)")
    parser.add_argument("--random", type=int, default=RANDOM, help=f"random settings (default: {RANDOM})")
    args = parser.parse_args()
    rows = [
        compare(model, Budget("kl", most), args.minutes, args.images, args.random)
        for model in args.model or BUDGETS
        for most in args.kl or BUDGETS[model]
    ]
    headers = ["model", "budget", "make best", "speed-up", "KL at most", "took", "measured"]
    headers += ["fastest of random settings", "speed-up", "KL at most", "keep it"]
    print(table(rows, headers, markdown=True))
    about = machine()
    print(f"\n{about['cores']} cores of {about['cpu']}, ncnn {about['ncnn']}, {args.images} hold-out images")


if __name__ == "__main__":
    run(main)
