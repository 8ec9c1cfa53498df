"""How two engines' logits are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.files import decimals

Floats = npt.NDArray[np.floating[Any]]
Logits = npt.NDArray[np.float32]  # of shape (n, classes)


@dataclass(frozen=True)
class Divergence:
    """How far a model is from another one on the same images.

    Args:
        agreement_pct: The images on which both predict the same class.
        agreement_se_pct: Its standard error.
        kl_nats: The mean KL divergence of the model's probabilities from those of the other.
        kl_se_nats: Its standard error.
    """

    agreement_pct: float
    agreement_se_pct: float
    kl_nats: float
    kl_se_nats: float


def spread_difference(found: Floats, wanted: Floats) -> float:
    """The largest absolute difference of two arrays of logits, as a share of the second's spread (max - min).

    Logits, not probabilities: where no class is likely, any output's probabilities agree.
    """
    return float(np.abs(found - wanted).max() / max(np.ptp(wanted), np.finfo(np.float32).tiny))


def kl_divergence(wanted: Floats, found: Floats) -> float:
    """The mean KL divergence of the probabilities that `found` gives from those of `wanted`, in nats; logits of shape
    (n, classes) both.
    """
    return float(kl_divergences(wanted, found).mean())


def kl_divergences(wanted: Floats, found: Floats) -> npt.NDArray[np.float64]:
    """kl_divergence of every image: fp64 of shape (n,)."""
    p, q = (_log_softmax(values.astype(np.float64)) for values in (wanted, found))
    each: npt.NDArray[np.float64] = (np.exp(p) * (p - q)).sum(axis=1)
    return each


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers in dB, at most 200: where there is no noise at all, or nothing else."""
    return 10 * float(np.log10(max(signal, 1e-30) / max(noise, signal * 1e-20, 1e-50)))


def _log_softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = values - values.max(axis=1, keepdims=True)
    logs: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def divergence(wanted: Logits, found: Logits) -> Divergence:
    """How far the model that gave the logits `found` is from the one that gave `wanted`, for a tracked file."""
    same = 100.0 * (wanted.argmax(axis=1) == found.argmax(axis=1))
    kl = kl_divergences(wanted, found)
    return Divergence(
        decimals(float(same.mean()), 4),
        decimals(standard_error(same), 4),
        decimals(float(kl.mean()), 9),
        decimals(standard_error(kl), 9),
    )


def standard_error(values: npt.NDArray[np.float64]) -> float:
    """Of the mean of the values, of shape (n,)."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))
