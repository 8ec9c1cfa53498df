"""Mixed precision under a budget: which layers stay in fp32 so that int8 loses no more than is allowed.

Layers are taken in the order of their sensitivity (octet.quantize.sensitivity) for what leaving them in fp32 costs in time, or,
where that leaves too much to a layer that is too expensive, of their sensitivity; the least number of them that keeps the
budget is searched by running the network on hold-out images of the training split. The network has learned these, so the
divergence is the one to be expected on new images (octet.core.logits); and the budget has to hold with twice the standard
error that so few images leave. Then every layer that the budget turns out not to need goes back to int8, the most expensive
first, and of equally expensive ones the one that loses least.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import figure
from octet.core.logits import kl_divergences_expected, likely_most
from octet.ncnn.engine import Engine, logits
from octet.ncnn.net import Net
from octet.quantize.sensitivity import Images, Int8, Sensitivity

UNITS = {"kl": "nats", "top1": "points of top-1"}


@dataclass(frozen=True)
class HoldOut:
    """Images that calibration did not see, to judge int8 by.

    Args:
        images: Network inputs, fp32 of shape (C, H, W).
        fp32: fp32's logits, of shape (n, classes).
        labels: int64 of shape (n,); None where they have none.
    """

    images: Images
    fp32: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None

    def loss(self, net: Net, metric: str) -> float:
        """What a network is likely to lose against fp32 on other images, at the most.

        Args:
            net: An int8 network.
            metric: kl: divergence of the probabilities in nats, as is to be expected on new images; top1: points of top-1.

        Returns:
            The mean over the images and twice its standard error.

        Raises:
            OctetError: The metric needs labels, and there are none.
        """
        int8 = logits(Engine.of(net), self.images, "plan")
        if metric == "kl":
            losses = kl_divergences_expected(self.fp32, int8)
        elif self.labels is None:
            raise OctetError("mixed_precision.metric: top1 needs labels, which the training images lack; take kl")
        else:
            fp32_right, int8_right = (100.0 * (one.argmax(axis=1) == self.labels) for one in (self.fp32, int8))
            losses = fp32_right - int8_right
        return likely_most(losses)


@dataclass(frozen=True)
class Fp32Layer:
    """A layer that stays in fp32.

    Args:
        layer: Its name.
        kl_alone: Its sensitivity, in nats.
        cost_pct: What it costs in fp32 more than in int8, as a share of that over all layers, in percent.
    """

    layer: str
    kl_alone: float
    cost_pct: float


@dataclass(frozen=True)
class Plan:
    """Which layers stay in fp32.

    Args:
        keep_fp32: Their names, in the network's order.
        metric: In what the budget is: kl or top1.
        budget: The most that int8 may lose.
        plain: HoldOut.loss with all layers in int8.
        planned: HoldOut.loss with these layers in fp32.
        n_images: How many hold-out images it was judged by.
        layers: What each of them costs.
    """

    keep_fp32: list[str]
    metric: str
    budget: float
    plain: float
    planned: float
    n_images: int
    layers: list[Fp32Layer]

    def to_json(self) -> dict[str, object]:
        """What plan.json holds."""
        return asdict(self)

    def __str__(self) -> str:
        """The plan in words."""
        unit = UNITS[self.metric]
        head = (
            f"all int8 loses up to {self.plain:.3g} {unit} by {self.n_images} hold-out images, "
            f"the budget is {self.budget:g}"
        )
        if not self.layers:
            return f"{head}: no layer has to stay in fp32"
        lines = [
            f"  {one.layer}: loses {one.kl_alone:.1e} nats alone; {one.cost_pct:.1f} % of what all layers cost in fp32"
            for one in self.layers
        ]
        return "\n".join([f"{head}; with these layers in fp32 up to {self.planned:.3g}:", *lines])


def plan(
    int8: Int8,
    layers: Sequence[Sensitivity],
    costs: Mapping[str, float],
    hold_out: HoldOut,
    metric: str,
    budget: float,
) -> Plan:
    """The layers that have to stay in fp32.

    Args:
        int8: The int8 networks.
        layers: What each int8 layer loses alone, in the network's order.
        costs: What each costs in fp32 more than in int8, in any unit; see octet.quantize.fp32_costs.
        hold_out: Images to judge by.
        metric: In what the budget is; see HoldOut.loss.
        budget: The most that int8 may lose.

    Raises:
        OctetError: The budget is not kept even with one layer alone in int8.
    """
    losses: dict[frozenset[str], float] = {}

    def loss(fp32: Collection[str]) -> float:
        key = frozenset(fp32)
        if key not in losses:
            losses[key] = hold_out.loss(int8(sorted(key)), metric)
        return losses[key]

    alone = {one.layer: one.kl_alone for one in layers}
    by_value = sorted(alone, key=lambda name: -alone[name] / max(costs[name], 1e-30))
    by_loss = sorted(alone, key=lambda name: -alone[name])
    fp32 = None
    for order in (by_value, by_loss):
        fp32 = _fewest(order, lambda names: loss(names) <= budget) if fp32 is None else fp32
    if fp32 is None:
        best = min(losses, key=lambda names: losses[names])
        raise OctetError(
            f"mixed_precision.budget: {budget:g} {UNITS[metric]} cannot be kept on {len(hold_out.fp32)} hold-out images: all in "
            f"int8 lose up to {loss([]):.3g}, and with {len(best)} of {len(alone)} layers in fp32 still {losses[best]:.3g}. Allow "
            "that much, judge by more mixed_precision.images, or lower the loss: another "
            "calibrate.method, more calibrate.images, and with target ncnn2int8 rounding.method gptq"
        )
    for name in sorted(fp32, key=lambda name: (-costs[name], alone[name], name)):  # a set has no order of its own
        if loss(fp32 - {name}) <= budget:
            fp32 -= {name}
    total = sum(costs.values())
    names = [name for name in alone if name in fp32]
    return Plan(
        keep_fp32=names,
        metric=metric,
        budget=budget,
        plain=figure(loss([])),
        planned=figure(loss(fp32)),
        n_images=len(hold_out.fp32),
        layers=[Fp32Layer(name, alone[name], figure(100 * costs[name] / total)) for name in names],
    )


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
