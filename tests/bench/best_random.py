"""Random settings of what make best searches, measured by the stages themselves: the same files as by DVC, in less time."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from octet.best.candidates import Budget, Candidate, Space, keeps
from octet.best.judge import judge
from octet.best.record import Measurement, Record
from octet.best.speed import Stopwatch
from octet.core import registry
from octet.core.folder import ModelFolder, NcnnFiles
from octet.data.images import Images
from octet.project import entries

SLOWER = 0.95  # of another's speed: two timings of one model are seldom further apart
RECORD = Path("random.json")
KERNELS = Path("kernels")  # a folder with int8 files of each
Setting = tuple[Candidate, bool]  # without mixed precision, and whether mixed precision belongs to it
_RUN = """
import runpy, sys
_, model, *stages = sys.argv
for name, *arguments in map(str.split, stages):
    sys.argv = [name, "--model", model, *arguments]
    runpy.run_module(f"stages.{name}", run_name="__main__")
"""


def draw(space: Space, count: int) -> list[Setting]:
    """Different random settings, the same in every run, whatever the model's own target is now."""
    every = [
        (Candidate(target, method, weights, rounding, equalize), is_mixed)
        for target, method, weights, rounding, equalize, is_mixed in itertools.product(
            sorted(space.targets, reverse=True),
            ("mse", *space.methods),
            ("absmax", "mse"),
            ("nearest", "gptq"),
            (False, True),
            (False, True),
        )
    ]
    fitting = [pair for pair in every if not (pair[0].equalize and _equalize_is_not_for(pair[0].method))]
    return random.Random(0).sample(fitting, min(count, len(fitting)))


def _equalize_is_not_for(method: str) -> bool:
    return "equalize" in registry.calibrator_needs(method).not_with


@dataclass
class Drawn:
    """The random settings of a model, in a copy of the project, which has to be the current folder.

    Args:
        model: The model's name.
        images: The hold-out images that judge them.
        stopwatch: Times them.
        settings: They themselves.
        record: What was measured.
    """

    model: str
    images: Images
    stopwatch: Stopwatch
    settings: Sequence[Setting]
    record: Record = field(default_factory=lambda: Record.load(RECORD))
    _calibrated: Candidate | None = None

    def measure(self, chosen: Mapping[Budget, float]) -> None:
        """Measures what is not measured yet, first all without mixed precision, then the fastest of them with it.

        Those that are clearly slower without it than what make best chose are left out: layers in fp32 cost time.

        Args:
            chosen: By budget, how many times as fast as fp32 it is; 0: nothing was chosen.
        """
        for number, (one, _) in enumerate(self.settings, 1):
            self._once(one, f"{number} of {len(self.settings)}")
        mixed = [self.measured()[one] for one, is_mixed in self.settings if is_mixed]
        for number, plain in enumerate(sorted(mixed, key=lambda one: -(one.speedup or 0)), 1):
            for budget in sorted(chosen, key=lambda budget: -budget.most):
                if not keeps(plain, budget) and (plain.speedup or 0) > SLOWER * chosen[budget]:
                    candidate = replace(plain.candidate, budget=budget)
                    if self._once(candidate, f"{number} of {len(mixed)} with mixed precision").failure:
                        break  # what is less cannot be kept either

    def _once(self, candidate: Candidate, which: str) -> Measurement:
        if candidate not in self.measured():
            print(f"{self.model}, {which}: {candidate}", file=sys.stderr, flush=True)
            self.record.measurements[str(candidate)] = self._measure(candidate)
            self.record.save(RECORD)
        return self.measured()[candidate]

    def measured(self) -> dict[Candidate, Measurement]:
        """All that was measured."""
        return self.record.on(self.stopwatch.key, str)

    def kept(self, budget: Budget) -> list[Measurement]:
        """The settings that keep a budget, of those that are measured, the fastest first.

        Where one does without mixed precision, no layer stays in fp32.
        """
        measured = self.measured()
        kept: list[Measurement] = []
        for one, is_mixed in self.settings:
            is_planned = is_mixed and one in measured and not keeps(measured[one], budget)
            candidate = replace(one, budget=budget if is_planned else None)
            if candidate in measured and keeps(measured[candidate], budget):
                kept.append(measured[candidate])
        return sorted(kept, key=lambda one: -(one.speedup or 0))

    def n_measured(self) -> int:
        """How many of the settings are measured, at least without mixed precision."""
        measured = self.measured()
        return sum(one in measured for one, _ in self.settings)

    def _measure(self, candidate: Candidate) -> Measurement:
        limit = {"evaluate": {"split": "train", "limit": len(self.images)}}
        entries.set_settings(self.model, candidate.settings(len(self.images)) | limit)
        there = ModelFolder(self.model)
        stages = ["plan", "quantize", "evaluate --precision int8"]
        if not (candidate.budget and self._calibrated == replace(candidate, budget=None)):
            stages = ["calibrate", "round", *stages]
        if not there.predictions("fp32").is_file():
            stages.append("evaluate --precision fp32")
        if failure := self._run(stages):
            return Measurement(candidate, failure=failure)
        self._calibrated = replace(candidate, budget=None)
        judged = judge(there, "ncnn", self.images)
        speedups = self.record.speedups.setdefault(self.stopwatch.key, {})
        if judged.kernels not in speedups:
            files = NcnnFiles.named(KERNELS / judged.kernels, "int8")
            files.param.parent.mkdir(parents=True, exist_ok=True)
            for source, target in zip(there.int8, files, strict=True):
                shutil.copy(source, target)
            speedups[judged.kernels] = self.stopwatch.speedup(files)
        return Measurement(candidate, judged.loss, judged.kernels, judged.n_int8)

    def _run(self, stages: Sequence[str]) -> str:
        """Runs stages one after the other in one process; why one failed, or nothing."""
        ran = subprocess.run([sys.executable, "-c", _RUN, self.model, *stages], capture_output=True, text=True)
        return ran.stderr[-1000:] or "failed" if ran.returncode else ""
