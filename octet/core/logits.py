"""How two engines' logits are compared."""

from __future__ import annotations

import numpy as np


def spread_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest absolute difference of two arrays of logits, as a share of the second's spread (max - min).

    Logits, not probabilities: where no class is likely, any output's probabilities agree.
    """
    return float(np.abs(found - wanted).max() / max(np.ptp(wanted), np.finfo(np.float32).tiny))


def kl_divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """The mean KL divergence of the probabilities that `found` gives from those of `wanted`, in nats; logits of shape
    (n, classes) both.
    """
    return float(kl_divergences(wanted, found).mean())


def kl_divergences(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """kl_divergence of every image: fp64 of shape (n,)."""
    p, q = (_log_softmax(values.astype(np.float64)) for values in (wanted, found))
    return (np.exp(p) * (p - q)).sum(axis=1)


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers in dB, at most 200: where there is no noise at all, or nothing else."""
    return 10 * float(np.log10(max(signal, 1e-30) / max(noise, signal * 1e-20, 1e-50)))


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
