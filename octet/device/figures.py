"""metrics/<model>/devices/<name>.json: what a device answers and how fast, beside this machine's answers.

Accuracy, divergence and speed are computed by the same functions as those of the stages evaluate and benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.benchmark.benchmark import Speed
from octet.core.files import decimals
from octet.core.logits import decibels, divergence
from octet.device.session import Result

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Against:
    """A device's logits beside this machine's, on the same images.

    Args:
        agreement_pct: On how many of them both predict the same class.
        agreement_se_pct: Its standard error.
        kl_nats: The mean KL divergence of the device's probabilities from this machine's.
        kl_se_nats: Its standard error.
        sqnr_db: Signal to noise of the logits, in dB; 200 where they are the same.
    """

    agreement_pct: float
    agreement_se_pct: float
    kl_nats: float
    kl_se_nats: float
    sqnr_db: float

    @classmethod
    def of(cls, reference: Logits, logits: Logits) -> Against:
        """That of two arrays of logits, of shape (n, classes), of at least two images."""
        noise = np.square(logits.astype(np.float64) - reference).sum()
        sqnr_db = decibels(float(np.square(reference.astype(np.float64)).sum()), float(noise))
        return cls(**asdict(divergence(reference, logits)), sqnr_db=decimals(sqnr_db, 1))


def speed_json(latency_ms: Sequence[float]) -> dict[str, float]:
    """The speed of a run, and by how much its last quarter was slower than its first: the device grew warm.

    >>> speed_json([1.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5])["drift_pct"]
    50.0
    """
    quarter = max(len(latency_ms) // 4, 1)
    first, last = np.median(latency_ms[:quarter]), np.median(latency_ms[-quarter:])
    return {**asdict(Speed.of(latency_ms)), "drift_pct": decimals(100 * (float(last / first) - 1), 1)}


def accuracy_json(
    result: Result, hosts: Mapping[str, Logits], precision: str, labels: npt.NDArray[np.int64] | None
) -> dict[str, Any]:
    """What a device answers.

    Args:
        result: Of one model on the device.
        hosts: This machine's logits of fp32 and int8, with the pipeline's options.
        precision: Which of them the model is: its own divergence is named so.
        labels: Of the images, of shape (n,), where they have any.
    """
    figures: dict[str, Any] = {"host_fp32": asdict(Against.of(hosts["fp32"], result.logits))}
    if precision != "fp32":
        figures[f"host_{precision}"] = asdict(Against.of(hosts[precision], result.logits))
    if labels is not None:
        figures["top1_pct"] = decimals(100 * float((result.logits.argmax(axis=1) == labels).mean()), 4)
    return figures
