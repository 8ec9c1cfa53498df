"""plan: mixed precision under a budget: which layers stay in fp32 so that int8 loses no more than is allowed.

Layers are taken in the order of what they lose alone (analyze's kl_alone) for what leaving them in fp32 costs in time, or,
where that leaves too much to a layer that is too expensive, of what they lose; the least number of them that keeps the
budget is found by running the network on held-out training images (the budget has to hold with twice the standard
error that so few images leave), and then every layer that the budget turns out not to need goes back to int8, the most
expensive first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from octet.core.errors import OctetError
from octet.core.logits import kl_divergences
from octet.ncnn.engine import Engine, logits
from octet.ncnn.net import Net

UNITS = {"kl": "nats", "top1": "points of top-1"}


@dataclass(frozen=True)
class Held:
    """Held-out images: the network inputs; wanted: fp32's logits, shape (n, classes); labels: int64 of shape (n,), or
    None where they have none.
    """

    images: Sequence[np.ndarray]
    wanted: np.ndarray
    labels: np.ndarray | None

    def loss(self, net: Net, metric: str) -> float:
        """What a network is likely to lose against fp32 on other images, at the most: the mean over these and twice its
        standard error. kl: divergence of the probabilities in nats; top1: points of top-1.
        """
        found = logits(Engine.of(net), self.images, "plan")
        if metric == "kl":
            each = kl_divergences(self.wanted, found)
        elif self.labels is None:
            raise OctetError("mixed_precision.metric: top1 needs labels, which the training images lack; take kl")
        else:
            right = [100.0 * (values.argmax(axis=1) == self.labels) for values in (self.wanted, found)]
            each = right[0] - right[1]
        return float(each.mean() + 2 * each.std() / len(each) ** 0.5)


def plan(
    make: Callable[[Collection[str]], Net],
    rows: list[dict],
    costs: dict[str, float],
    held: Held,
    metric: str,
    budget: float,
) -> dict:
    """'keep_fp32': the layers that stay in fp32, in the network's order; 'plain' and 'planned': Held.loss of all int8 and of
    this; 'layers': for each of them what it loses alone, what fp32 costs, and its share of that over all layers.

    make(names): the int8 network that leaves these layers in fp32; rows: analyze's layers; costs: what each costs in fp32
    more than in int8, in any unit. Raises OctetError where the budget is not kept even with one layer alone in int8.
    """
    losses: dict[frozenset[str], float] = {}

    def loss(kept: Collection[str]) -> float:
        key = frozenset(kept)
        if key not in losses:
            losses[key] = held.loss(make(sorted(key)), metric)
        return losses[key]

    alone = {row["layer"]: row["kl_alone"] for row in rows}
    cheapest, worst = (lambda name: -alone[name] / max(costs[name], 1e-30)), (lambda name: -alone[name])
    found = (_fewest(sorted(alone, key=first), lambda names: loss(names) <= budget) for first in (cheapest, worst))
    kept = next((names for names in found if names is not None), None)
    if kept is None:
        best = min(losses, key=lambda names: losses[names])
        raise OctetError(
            f"mixed_precision.budget: {budget:g} {UNITS[metric]} cannot be kept on {len(held.wanted)} held-out images: all in "
            f"int8 lose up to {loss([]):.3g}, and with {len(best)} of {len(alone)} layers in fp32 still {losses[best]:.3g}. Allow "
            "that much, judge by more mixed_precision.images, or lower the loss: rounding.method learned, another "
            "calibrate.method, more calibrate.images"
        )
    for name in sorted(kept, key=lambda name: -costs[name]):
        if loss(kept - {name}) <= budget:
            kept = kept - {name}
    total = sum(costs.values())
    return {
        "keep_fp32": [name for name in alone if name in kept],
        "metric": metric,
        "budget": budget,
        "plain": _figure(loss([])),
        "planned": _figure(loss(kept)),
        "n_images": len(held.wanted),
        "layers": [
            {"layer": name, "kl_alone": alone[name], "cost_pct": _figure(100 * costs[name] / total)}
            for name in alone
            if name in kept
        ],
    }


def costs(rows: list[dict], measured_us: dict[str, float]) -> dict[str, float]:
    """What each layer costs in fp32 more than in int8: in microseconds as the target's profile measured it, where it
    did; else in proportion to its multiplications, at the measured layers' mean rate, or as their number.
    """
    known = [row for row in rows if row["layer"] in measured_us]
    macs = sum(row["macs"] for row in known)
    rate = sum(measured_us[row["layer"]] for row in known) / macs if macs else 1.0
    rate = rate if rate > 0 else 1.0
    return {row["layer"]: max(measured_us.get(row["layer"], rate * row["macs"]), 1e-9) for row in rows}


def text(found: dict) -> str:
    """What the plan is, in words."""
    unit = UNITS[found["metric"]]
    head = (
        f"all int8 loses up to {found['plain']:.3g} {unit} by {found['n_images']} held-out images, "
        f"the budget is {found['budget']:g}"
    )
    if not found["layers"]:
        return f"{head}: no layer has to stay in fp32"
    lines = [
        f"  {row['layer']}: loses {row['kl_alone']:.1e} nats alone; {row['cost_pct']:.1f} % of what all layers cost in fp32"
        for row in found["layers"]
    ]
    return "\n".join([f"{head}; with these layers in fp32 up to {found['planned']:.3g}:", *lines])


def _fewest(order: list[str], fits: Callable[[Collection[str]], bool]) -> frozenset[str] | None:
    """The shortest beginning of the order that fits, found by halving; None where all but the last do not."""
    if fits([]):
        return frozenset()
    low, high = 0, len(order) - 1  # `low` layers do not fit
    if not fits(order[:high]):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(order[:middle]) else (middle, high)
    return frozenset(order[:high])


def _figure(value: float) -> float:
    return float(f"{value:.5e}")
