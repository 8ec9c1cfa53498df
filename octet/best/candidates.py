"""Which settings are tried, and in which order: a function of what is measured already, so a search can stop and go on anywhere.

Three facts make the order short; docs/best.md has the figures behind them.

1. The speed depends on the engine, the target and which layers are int8, and not on where the scales or the integers come from. So
   the targets come first, and the speed of a target counts for all that is tried on it.
2. What a calibrator, the scales of weights, GPTQ and equalization win or lose adds up, nearly: each is tried alone, and those
   that win together. 8 or 9 candidates stand for all 48 combinations.
3. Layers in fp32 cost speed. So mixed precision is tried where nothing else keeps the budget, on the fastest target first; a slower
   target is looked at only where it is faster than the best so far. Which layers stay in fp32 depends on the settings, and so does
   what that costs: so it is tried from the defaults and from each change alone (a change that keeps the budget without it leaves no
   layer in fp32), then from those that lose least, at the end from all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

UNITS = {"kl": "nats", "top1": "points"}


@dataclass(frozen=True)
class Budget:
    """What int8 may lose against fp32.

    Args:
        metric: kl: divergence of the probabilities, in nats; top1: points of top-1.
        most: How much.
    """

    metric: str
    most: float

    def __str__(self) -> str:
        """The budget in words."""
        return f"{self.most:g} {UNITS[self.metric]}"


@dataclass(frozen=True)
class Candidate:
    """Settings that are measured, by default those of a new params.yaml; what they do not say is as the model's entry has it.

    Args:
        target: A target profile; empty where the engine is another than ncnn, for which there are none.
        method: A calibrator.
        weights: How the weights' scales are found.
        rounding: auto, nearest or gptq; or finetune, where the entry has it.
        equalize: Are channels scaled alike before?
        budget: What mixed precision has to keep; None: no layer stays in fp32 for it.
        engine: What runs it. GPTQ, equalization and mixed precision are tried for ncnn alone.
    """

    target: str
    method: str = "mse"
    weights: str = "absmax"
    rounding: str = "auto"
    equalize: bool = False
    budget: Budget | None = None
    engine: str = "ncnn"

    def __str__(self) -> str:
        """Its name in tables and experiments.

        >>> str(Candidate("dotprod", "kl", equalize=True, budget=Budget("top1", 0.1)))
        'dotprod-kl-equalized-mixed-top1-0.1'
        """
        parts = [self.target or self.engine, self.method, *(["mse-weights"] if self.weights == "mse" else [])]
        parts += [self.rounding] * (self.rounding != "auto") + ["equalized"] * self.equalize
        return "-".join([*parts, *([f"mixed-{self.budget.metric}-{self.budget.most:g}"] if self.budget else [])])

    def settings(self, n_images: int) -> dict[str, Any]:
        """As an entry of params.yaml has it.

        Args:
            n_images: On how many hold-out images mixed precision keeps its budget, and from which fine-tuning does not learn.
        """
        calibrate = {"method": self.method, "weights": self.weights}
        if self.engine != "ncnn":
            return {"calibrate": calibrate}
        mixed: dict[str, Any] = {"metric": "none"}
        if self.budget:
            mixed = {"metric": self.budget.metric, "budget": self.budget.most, "images": n_images}
        rounding: dict[str, Any] = {"method": self.rounding}
        if self.rounding == "finetune":
            rounding["finetune"] = {"hold_out": n_images}
        return {
            "target": self.target,
            "equalize": self.equalize,
            "calibrate": calibrate,
            "rounding": rounding,
            "mixed_precision": mixed,
        }


class Measured(Protocol):
    """What the order depends on, of a candidate that was measured."""

    @property
    def speedup(self) -> float | None:
        """How many times as fast as fp32 it is, on one thread; None: it failed."""

    def upper(self, metric: str) -> float:
        """What it is likely to lose at the most; of one that failed, infinity."""


Results = Mapping[Candidate, Measured]


@dataclass(frozen=True)
class Space:
    """What there is to choose from.

    Args:
        own: The settings that count today: they are measured first, whatever they are.
        targets: The targets, each of which is tried with Candidate's defaults first.
        methods: The calibrators other than the default, the most promising first.
        engines: The engines beside ncnn.
    """

    own: Candidate
    targets: Sequence[str]
    methods: Sequence[str]
    engines: Sequence[str] = ()

    @property
    def starts(self) -> list[Candidate]:
        """What the changes begin with: the defaults, on each target, and in each other engine."""
        return [*map(Candidate, self.targets), *(Candidate("", engine=name) for name in self.engines)]

    def changes(self, candidate: Candidate) -> Iterator[tuple[str, Candidate]]:
        """The candidate with one thing changed, and what; cheap and promising ones first."""
        other_weights = "mse" if candidate.weights == "absmax" else "absmax"
        is_nearest = candidate.rounding == "nearest" or (
            candidate.rounding == "auto" and candidate.target == "ncnn2int8"
        )
        is_ncnn = candidate.engine == "ncnn"
        yield "weights", replace(candidate, weights=other_weights)
        if is_ncnn and is_nearest:
            yield "rounding", replace(candidate, rounding="gptq")
        for name in self.methods:
            yield "method", replace(candidate, method=name)
        if is_ncnn:
            yield "equalize", replace(candidate, equalize=not candidate.equalize)
        if is_ncnn and not is_nearest:
            yield "rounding", replace(candidate, rounding="nearest")


def next_candidate(space: Space, measured: Results, budget: Budget) -> Candidate | None:
    """What to measure next; None: there is nothing more to try.

    Args:
        space: What there is to choose from.
        measured: All that was measured.
        budget: What int8 may lose.
    """
    if unknown := next((one for one in (space.own, *space.starts) if one not in measured), None):
        return unknown
    for start in sorted(space.starts, key=lambda one: -_speed(measured[one])):
        best = fastest(measured, budget)
        if measured[start].speedup is None or (best and _speed(measured[start]) <= _speed(measured[best])):
            break  # what remains cannot be faster, only lose less
        if start.engine == "ncnn":
            alone = [start, *(changed for _, changed in space.changes(start))]
            mixed = [replace(one, budget=budget) for one in alone]
            if following := next((one for one in mixed if one not in measured), None):
                return following
        if following := _next_change(space, start, measured, budget):
            return following
        least = replace(_least(start, measured, budget), budget=budget)
        if start.engine == "ncnn" and least not in measured:
            return least
    if (chosen := fastest(measured, budget)) is None:
        return None
    start = Candidate(chosen.target, engine=chosen.engine)
    return _next_change(space, start, measured, budget) or (
        _next_mixed(start, measured, budget) if chosen.budget else None
    )


def fastest(measured: Results, budget: Budget) -> Candidate | None:
    """The fastest of the candidates that keep the budget; of several that are, the one that loses least."""
    kept = [one for one, result in measured.items() if keeps(result, budget)]
    return max(kept, key=lambda one: (_speed(measured[one]), -measured[one].upper(budget.metric)), default=None)


def keeps(result: Measured, budget: Budget) -> bool:
    """Does it run, and lose no more than the budget allows?"""
    return result.speedup is not None and result.upper(budget.metric) <= budget.most


def _next_change(space: Space, start: Candidate, measured: Results, budget: Budget) -> Candidate | None:
    """What to measure next on one target without mixed precision: what has won so far together, else one change more."""
    together, least = start, dict[str, float]()
    for what, changed in space.changes(start):
        if changed not in measured:
            return changed if together in measured else together
        loss = measured[changed].upper(budget.metric)
        if loss < least.get(what, measured[start].upper(budget.metric)):
            least[what] = loss
            together = replace(together, **{what: getattr(changed, what)})
    return together if together not in measured else None


def _least(start: Candidate, measured: Results, budget: Budget) -> Candidate:
    """Of the candidates on this target without mixed precision, the one that loses least."""
    return min(_on_target(start, measured), key=lambda one: measured[one].upper(budget.metric))


def _next_mixed(start: Candidate, measured: Results, budget: Budget) -> Candidate | None:
    """Mixed precision from the settings that lose least of those on a target from which it was not tried."""
    runs = [one for one in _on_target(start, measured) if measured[one].speedup]
    by_loss = sorted(runs, key=lambda one: measured[one].upper(budget.metric))
    return next((mixed for one in by_loss if (mixed := replace(one, budget=budget)) not in measured), None)


def _on_target(start: Candidate, measured: Results) -> list[Candidate]:
    at = (start.engine, start.target)
    return [one for one in measured if (one.engine, one.target) == at and one.budget is None]


def _speed(result: Measured) -> float:
    return result.speedup or 0.0
