"""make best: measures one candidate after the other until the time is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octet.best import experiments
from octet.best.candidates import Budget, Candidate, Space, fastest, next_candidate
from octet.best.experiments import Failed, OutOfTime
from octet.best.inputs import digest, files_read, of_candidate
from octet.best.judge import judge
from octet.best.project_copy import ProjectCopy
from octet.best.record import Measurement, Record
from octet.best.speed import Stopwatch
from octet.best.tuning import fitting_targets, profile_path, tuned_profile
from octet.core import registry
from octet.core.engines.engine import timed
from octet.core.folder import ModelFolder
from octet.core.params import Model
from octet.core.progress import bar
from octet.data.images import Images
from octet.project.track import is_tracked

TUNING = 0.2  # of the time, at most, for a target profile
_METHODS = (
    "mse",
    "kl",
    "minmax",
    "percentile",
    "aciq",
)  # the most promising first (docs/calibrators.md); others follow


@dataclass(frozen=True)
class Task:
    """What a user asks for.

    Args:
        model: The model's name in params.yaml.
        entry: Its entry.
        budget: What int8 may lose.
        seconds: For how long it is searched.
        images: The hold-out images on which int8 is judged.
        device: Where it is timed; None: on this machine.
    """

    model: str
    entry: Model
    budget: Budget
    seconds: float
    images: Images
    device: str | None = None


class Search:
    """Measures candidates, and remembers them.

    Args:
        task: What a user asks for.
        scratch: A folder for files while they are measured.
        path: The record.

    Raises:
        OctetError: The device cannot be reached.
    """

    def __init__(self, task: Task, scratch: Path, path: Path):
        self.task, self._path, self._scratch = task, path, scratch
        self._end = time.monotonic() + task.seconds
        self._folder = ModelFolder(task.model)
        self._inputs = digest(self._folder, task.entry, len(task.images))
        self._record = Record.load(path)
        self._stopwatch = Stopwatch(self._folder, task.device, scratch)
        self._copy: ProjectCopy | None = None

    @property
    def place(self) -> str:
        """Where it is timed."""
        return self._stopwatch.place

    def close(self) -> None:
        """Leaves nothing behind, here or on a device."""
        try:
            self._stopwatch.close()
        finally:
            if self._copy:
                self._copy.remove()

    def measured(self) -> dict[Candidate, Measurement]:
        """All that was measured with these inputs, here."""
        return self._record.on(self._stopwatch.key, self.experiment)

    def run(self) -> bool:
        """Measures until the time is over (False) or there is nothing more to try (True)."""
        with bar("best", None, unit=" candidates") as shown:
            try:
                while True:
                    measured, space = self.measured(), self.space()
                    candidate = next_candidate(space, measured, self.task.budget)
                    minutes, seconds = divmod(int(max(self._left_s(), 0)), 60)
                    shown.set_description_str(f"best, {minutes}:{seconds:02} left, {candidate or 'tuning'}")
                    # Once one keeps the budget, only a profile can be faster than the targets; before, others are cheaper and as
                    # promising.
                    is_first = candidate in (space.own, *space.starts)
                    is_time_to_tune = not is_first and fastest(measured, self.task.budget) is not None
                    if (is_time_to_tune or candidate is None) and self._tune(measured):
                        continue
                    if candidate is None:
                        return True
                    self.measure(candidate)
                    shown.update()
            except OutOfTime:
                return False

    def experiment(self, candidate: Candidate) -> str:
        """The name of a candidate's experiment: with the checksum of all that its loss depends on."""
        inputs = of_candidate(self._inputs, self.task.model, self.task.entry, candidate)[:8]
        return f"best-{self.task.model}-{inputs}-{candidate}".replace(".", "p")

    def _left_s(self) -> float:
        return self._end - time.monotonic()

    def space(self) -> Space:
        """What there is to choose from; a profile that the tuner has just written is among the targets."""
        entry, known = self.task.entry, registry.computing_calibrators()
        mixed = entry.mixed_precision
        own = Candidate(
            target=entry.target,
            method=entry.calibrate.method,
            weights=entry.calibrate.weights,
            rounding=entry.rounding.method,
            equalize=entry.equalize,
            budget=None if mixed.metric == "none" else Budget(mixed.metric, mixed.budget),
        )
        usable = [name for name in known if not registry.calibrator_needs(name).missing]
        order = [*(name for name in _METHODS if name in usable), *(name for name in usable if name not in _METHODS)]
        methods = [name for name in order if name != Candidate(entry.target).method]
        engines = [] if self.task.device else timed(entry.onnx_engines)
        return Space(own, fitting_targets(self._stopwatch.net, entry.target), methods, engines)

    def measure(self, candidate: Candidate) -> ModelFolder | None:
        """Measures a candidate and remembers it.

        Returns:
            Its files, until the next one is measured; None: it failed.

        Raises:
            OutOfTime: The time is over before it was measured.
        """
        if self._left_s() <= 0:
            raise OutOfTime
        name = self.experiment(candidate)
        read = files_read(self.task.model, self.task.entry, candidate)
        copied = [path for path in read if not is_tracked(path)]
        self._copy = self._copy or ProjectCopy()
        settings, stages = self._settings(candidate), _stages(candidate)
        try:
            there = experiments.run(self._copy, self.task.model, settings, stages, name, copied, self._left_s())
        except Failed as failed:
            self._record.measurements[name] = Measurement(candidate, failure=str(failed))
            self._record.save(self._path)
            return None
        there = there or experiments.fetch(self.task.model, name, candidate.engine, self._scratch)
        judged = judge(there, candidate.engine, self.task.images)
        speedups = self._record.speedups.setdefault(self._stopwatch.key, {})
        if judged.kernels not in speedups:
            speedups[judged.kernels] = self._speedup(there, candidate.engine)
        self._record.measurements[name] = Measurement(candidate, judged.loss, judged.kernels, judged.n_int8)
        self._record.save(self._path)
        return there

    def _settings(self, candidate: Candidate) -> dict[str, Any]:
        """What the experiment sets, beside the candidate's settings: that it is judged on hold-out images."""
        settings = candidate.settings(len(self.task.images))
        settings["evaluate"] = {"split": "train", "limit": len(self.task.images)}
        if candidate.engine != "ncnn":  # nor do others take time, or what a layer costs there
            settings |= {"engines": ["ncnn", candidate.engine], "analyze": {"images": 1}}
        return settings

    def _speedup(self, there: ModelFolder, engine: str) -> float:
        if engine == "ncnn":
            return self._stopwatch.speedup(there.int8)
        return self._stopwatch.engine_speedup(engine, there.engine(engine))

    def _tune(self, measured: Mapping[Candidate, Measurement]) -> bool:
        """Lets the tuner look for a profile, once for a machine or device and network; False: there is nothing to do.

        Once more where its time was over before all was tried, and there is more than twice as much now.
        """
        key, tuned, tuned_s = self._stopwatch.key, self._record.tuned, self._record.tuned_s
        seconds = min(TUNING * self.task.seconds, self._left_s() / 2)
        out = profile_path(self.task.model, self.task.device, key)
        calibrated = next((one for one in measured if one.engine == "ncnn" and measured[one].loss), None)
        if key in tuned or out.is_file() or calibrated is None or seconds <= 2 * tuned_s.get(key, 0):
            return False
        there = self.measure(calibrated)  # which runs it again where its experiment was removed
        if there is None:
            return True
        profile = tuned_profile(there, self._stopwatch, seconds, out)
        if profile is None:
            tuned_s[key] = seconds
        else:
            tuned[key] = profile
        self._record.save(self._path)
        return True


def _stages(candidate: Candidate) -> tuple[str, ...]:
    return experiments.STAGES if candidate.engine == "ncnn" else experiments.ENGINE_STAGES
