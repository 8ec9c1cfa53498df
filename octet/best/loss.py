"""What int8 loses against fp32 on hold-out images, by what both predicted for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import figure
from octet.core.logits import standard_error
from octet.evaluate.pairs import Pairs, agreement_pct, kl_top5_expected_nats, labelled


@dataclass(frozen=True)
class Loss:
    """The loss in both units.

    Args:
        n_images: On how many images.
        agreement_pct: On how many of them int8 predicts what fp32 does, in percent.
        kl_nats: The mean KL divergence of int8's probabilities from fp32's, by the five most likely classes, as is to be expected
            on new images (octet.core.logits.kl_divergences_expected).
        kl_se_nats: Its standard error.
        drop_pt: fp32's top-1 less int8's, in points; None: the images have no labels.
        drop_se_pt: Its paired standard error.
    """

    n_images: int
    agreement_pct: float
    kl_nats: float
    kl_se_nats: float
    drop_pt: float | None = None
    drop_se_pt: float | None = None

    @classmethod
    def of(cls, pairs: Pairs) -> Loss:
        """That of some images.

        Args:
            pairs: What fp32 and int8 predict for each.
        """
        drop: tuple[float | None, float | None] = None, None
        if labelled(pairs):
            drop = _mean(np.array([100 * (fp32.right - float(int8.right)) for fp32, int8 in pairs]))
        return cls(len(pairs), figure(agreement_pct(pairs)), *_mean(kl_top5_expected_nats(pairs)), *drop)

    def upper(self, metric: str) -> float:
        """What other images are likely to lose at the most: the mean and twice its standard error, as mixed precision has it.

        >>> Loss(100, 99.0, kl_nats=0.5, kl_se_nats=0.25).upper("kl")
        1.0

        Args:
            metric: kl, in nats, or top1, in points.

        Raises:
            OctetError: The metric needs labels, and there are none.
        """
        if metric == "kl":
            return self.kl_nats + 2 * self.kl_se_nats
        if self.drop_pt is None or self.drop_se_pt is None:
            raise OctetError(
                "the training images have no labels, so there is no drop in top-1: give KL=… instead of DROP"
            )
        return self.drop_pt + 2 * self.drop_se_pt


def _mean(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The mean and its standard error, which one value has not: 0."""
    return figure(float(values.mean())), figure(standard_error(values)) if len(values) > 1 else 0.0
