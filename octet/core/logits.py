"""How the logits of two models, or of one model in two engines, are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.files import decimals

Logits = npt.NDArray[np.floating[Any]]  # of shape (n, classes)
TEMPERATURE = 1.3  # of fp32's probabilities on images that it has learned, so that they are as flat as on new ones, and
GROWTH = 1.2  # by how much the variance of int8's error is larger on these: docs/accuracy.md has what both were set by


@dataclass(frozen=True)
class Divergence:
    """How far a model is from another one on the same images.

    Args:
        agreement_pct: On how many of them both predict the same class.
        agreement_se_pct: Its standard error.
        kl_nats: The mean KL divergence of the model's probabilities from those of the other.
        kl_se_nats: Its standard error.
    """

    agreement_pct: float
    agreement_se_pct: float
    kl_nats: float
    kl_se_nats: float


def spread_difference(logits: Logits, reference: Logits) -> float:
    """The largest absolute difference of two arrays of logits, as a share of the second's spread (max - min).

    >>> spread_difference(np.array([[0.0, 8.5]]), np.array([[0.0, 10.0]]))
    0.15

    Logits, not probabilities: where no class is likely, any output's probabilities agree.

    Args:
        logits: Of shape (n, classes).
        reference: Of the same shape.
    """
    return float(np.abs(logits - reference).max() / max(np.ptp(reference), np.finfo(np.float32).tiny))


def kl_divergence(reference: Logits, logits: Logits) -> float:
    """The mean KL divergence of the probabilities that `logits` give from those of `reference`, in nats.

    >>> round(kl_divergence(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])), 6)
    0.143841

    Args:
        reference: Logits of shape (n, classes).
        logits: Logits of the same shape.
    """
    return float(kl_divergences(reference, logits).mean())


def kl_divergences(reference: Logits, logits: Logits) -> npt.NDArray[np.float64]:
    """The KL divergence of each image, of shape (n,); arguments as for kl_divergence."""
    p, q = (_log_softmax(values.astype(np.float64)) for values in (reference, logits))
    divergences: npt.NDArray[np.float64] = (np.exp(p) * (p - q)).sum(axis=1)
    return divergences


def kl_divergences_expected(reference: Logits, logits: Logits) -> npt.NDArray[np.float64]:
    """The KL divergence that is to be expected on new images, from images that the network has learned.

    >>> fp32, int8 = np.log([[0.98, 0.02]]), np.log([[0.982, 0.018]])
    >>> kl_divergences(fp32, int8).round(6).tolist(), kl_divergences_expected(fp32, int8).round(6).tolist()
    ([0.000109], [0.000304])

    To second order, a divergence is half the variance of the logits' error under fp32's probabilities. On new images the error is
    little larger, but the probabilities are flatter: a network is surer of what it has learned. So they are taken at a temperature,
    the error as it is, and the divergence times the growth of the error's variance. Logarithms of probabilities are logits, too.

    Args:
        reference: fp32's logits, of shape (n, classes), of training images.
        logits: int8's, of the same shape.

    Returns:
        That of each image, of shape (n,).
    """
    flatter = reference.astype(np.float64) / TEMPERATURE
    return GROWTH * kl_divergences(flatter, flatter + (logits.astype(np.float64) - reference))


def divergence(reference: Logits, logits: Logits) -> Divergence:
    """How far the model that gave `logits` is from the one that gave `reference`, for a tracked file.

    >>> far = divergence(np.log([[0.5, 0.5], [0.4, 0.6]]), np.log([[0.25, 0.75], [0.4, 0.6]]))
    >>> far.agreement_pct, far.kl_nats
    (50.0, 0.071920518)

    Args:
        reference: Logits of shape (n, classes), of at least two images.
        logits: Logits of the same shape.
    """
    same = 100.0 * (reference.argmax(axis=1) == logits.argmax(axis=1))
    kl = kl_divergences(reference, logits)
    return Divergence(
        decimals(float(same.mean()), 4),
        decimals(standard_error(same), 4),
        decimals(float(kl.mean()), 9),
        decimals(standard_error(kl), 9),
    )


def standard_error(values: npt.NDArray[np.float64]) -> float:
    """That of the mean of values, of shape (n,), which are at least two."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def likely_most(values: npt.NDArray[np.float64]) -> float:
    """What the mean over other images like these is likely to be at the most: this mean and twice its standard error.

    >>> likely_most(np.array([0.0, 1.0, 0.0, 1.0])), likely_most(np.array([0.25]))
    (1.0773502691896257, 0.25)

    Args:
        values: Of shape (n,). One value has no standard error.
    """
    return float(values.mean()) + 2 * (standard_error(values) if len(values) > 1 else 0.0)


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers in dB, at most 200: where there is no noise at all, or nothing else.

    >>> decibels(100.0, 1.0)
    20.0
    """
    return 10 * float(np.log10(max(signal, 1e-30) / max(noise, signal * 1e-20, 1e-50)))


def _log_softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = values - values.max(axis=1, keepdims=True)
    logs: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
