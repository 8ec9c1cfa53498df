"""The Pareto front of what was measured, the choice, and both in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from octet.best.candidates import UNITS, Budget, Candidate, keeps
from octet.best.record import Measurement
from octet.core.text import table
from octet.tune.compare import LEAST

Measured = Mapping[Candidate, Measurement]
_SCALES = {"kl": (1e5, "KL, 10⁻⁵ nats"), "top1": (1.0, "drop, points")}


@dataclass(frozen=True)
class Choice:
    """What came of a search.

    Args:
        candidate: The fastest that keeps the budget; None: none does.
        why: In one sentence.
    """

    candidate: Candidate | None
    why: str


def front(measured: Measured, metric: str) -> list[Candidate]:
    """The candidates than which no other is both faster and loses less, the fastest first.

    Args:
        measured: All that was measured.
        metric: In which unit a loss is compared: kl or top1.
    """
    runs = [one for one, result in measured.items() if result.speedup]
    by_speed = sorted(runs, key=lambda one: (-(measured[one].speedup or 0), measured[one].upper(metric)))
    best: list[Candidate] = []
    for one in by_speed:
        if not best or measured[one].upper(metric) < measured[best[-1]].upper(metric):
            best.append(one)
    return best


def choose(measured: Measured, budget: Budget) -> Choice:
    """The fastest candidate that keeps the budget; of those that are as fast within the error of timing, the one that loses least.

    Args:
        measured: All that was measured.
        budget: What int8 may lose.
    """
    kept = {one: result for one, result in measured.items() if keeps(result, budget)}
    if not kept:
        least = min(measured, key=lambda one: measured[one].upper(budget.metric))
        return Choice(
            None,
            f"none of {len(measured)} candidates keeps the budget of {budget}: {least} loses least, up to "
            f"{_loss(measured[least], budget.metric)}",
        )
    top = max(result.speedup or 0 for result in kept.values())
    as_fast = [one for one in kept if (kept[one].speedup or 0) >= top * (1 - LEAST)]
    chosen = min(as_fast, key=lambda one: kept[one].upper(budget.metric))
    result = kept[chosen]
    rank = "it is the fastest of these"
    if len(as_fast) > 1:
        rank = f"of the {len(as_fast)} fastest, equal within {100 * LEAST:.0f} %, it loses least"
    keep = "keeps" if len(kept) == 1 else "keep"
    none_int8 = "" if result.n_int8 else ". None of its layers is int8: docs/accuracy.md says why a layer stays in fp32"
    return Choice(
        chosen,
        f"{chosen}: {len(kept)} of {len(measured)} candidates {keep} the budget of {budget}, and {rank}: "
        f"{result.speedup:.2f} times as fast as fp32, up to {_loss(result, budget.metric)}{none_int8}",
    )


def front_table(measured: Measured, budget: Budget, chosen: Candidate | None) -> str:
    """The front, and the chosen candidate, as a table for a terminal.

    Args:
        measured: All that was measured.
        budget: What int8 may lose.
        chosen: The candidate that is marked.
    """
    shown = front(measured, budget.metric)
    if chosen and chosen not in shown:
        shown = sorted([*shown, chosen], key=lambda one: -(measured[one].speedup or 0))
    scale, unit = _SCALES[budget.metric]
    decimals = _decimals(scale * measured[one].upper("kl") for one in shown) if budget.metric == "kl" else 3
    rows = []
    for one in shown:
        result, loss = measured[one], measured[one].loss
        assert loss is not None  # what is on the front did not fail
        mean, error = (loss.kl_nats, loss.kl_se_nats) if budget.metric == "kl" else (loss.drop_pt, loss.drop_se_pt)
        verdict = "chosen" if one == chosen else "" if keeps(result, budget) else "over the budget"
        rows.append(
            [
                str(one),
                f"{result.speedup:.2f}",
                f"{scale * (mean or 0):.{decimals}f} ± {scale * (error or 0):.{decimals}f}",
                f"{scale * result.upper(budget.metric):.{decimals}f}",
                f"{loss.agreement_pct:.2f} %",
                str(result.n_int8),
                verdict,
            ]
        )
    return table(rows, ["candidate", "speed-up", unit, "at most", "agreement", "int8 layers", ""], "lrrrrrl")


def _decimals(losses: Iterable[float]) -> int:
    """How many decimals show the least of some losses: 1 at least.

    >>> _decimals([3.2]), _decimals([3.2, 0.0021])
    (1, 3)
    """
    least = min((loss for loss in losses if loss > 0), default=1.0)
    return max(1, math.ceil(-math.log10(least)))


def _loss(result: Measurement, metric: str) -> str:
    return (
        f"{result.upper(metric):.3g} {UNITS[metric]} on {result.loss.n_images if result.loss else 0:,} hold-out images"
    )
