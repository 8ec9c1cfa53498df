"""What one run on a device gives beside this machine's answers.

Accuracy, divergence and speed are computed by the same functions as those of the stages evaluate and benchmark.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.benchmark.benchmark import Speed
from octet.core.files import decimals
from octet.core.logits import decibels, divergence

Logits = npt.NDArray[np.float32]
SAME_DB = 200.0  # what decibels gives where there is no noise


@dataclass(frozen=True)
class Against:
    """A device's logits beside this machine's, on the same images.

    Args:
        agreement_pct: On how many of them both predict the same class.
        agreement_se_pct: Its standard error.
        kl_nats: The mean KL divergence of the device's probabilities from this machine's.
        kl_se_nats: Its standard error.
        sqnr_db: Signal to noise of the logits, in dB; SAME_DB where they are the same.
    """

    agreement_pct: float
    agreement_se_pct: float
    kl_nats: float
    kl_se_nats: float
    sqnr_db: float

    @classmethod
    def of(cls, reference: Logits, logits: Logits) -> Against:
        """That of two arrays of logits, of shape (n, classes), of at least two images.

        An image whose logits are not all finite has no answer: it counts as the opposite of this machine's.
        """
        logits = np.where(has_answer(logits)[:, None], logits, -reference)
        noise = np.square(logits.astype(np.float64) - reference).sum()
        sqnr_db = decibels(float(np.square(reference.astype(np.float64)).sum()), float(noise))
        return cls(**asdict(divergence(reference, logits)), sqnr_db=decimals(sqnr_db, 1))

    @property
    def sqnr(self) -> str:
        """The signal to noise ratio in words.

        >>> Against(100.0, 0.0, 0.0, 0.0, 200.0).sqnr, Against(100.0, 0.0, 0.0, 0.0, 59.04).sqnr
        ('same bits', '59.0 dB')
        """
        return "same bits" if self.sqnr_db >= SAME_DB else f"{self.sqnr_db:.1f} dB"


@dataclass(frozen=True)
class DeviceSpeed:
    """The speed of a run on a device, and whether the device grew warm.

    Args:
        speed: As that of this machine.
        drift_pct: By how much the last quarter was slower than the first.
    """

    speed: Speed
    drift_pct: float

    @classmethod
    def of(cls, latency_ms: Sequence[float]) -> DeviceSpeed:
        """That of some runs, in the order of time.

        >>> DeviceSpeed.of([1.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5]).drift_pct
        50.0
        """
        quarter = max(len(latency_ms) // 4, 1)
        first, last = np.median(latency_ms[:quarter]), np.median(latency_ms[-quarter:])
        return cls(Speed.of(latency_ms), decimals(100 * (float(last / first) - 1), 1))

    def to_json(self) -> dict[str, float]:
        """Its figures side by side."""
        return {**asdict(self.speed), "drift_pct": self.drift_pct}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DeviceSpeed:
        """What to_json wrote. Raises KeyError, TypeError or ValueError for anything else."""
        median_ms, p90_ms = milliseconds(content["median_ms"]), milliseconds(content["p90_ms"])
        fps = number(content["fps"])
        return cls(Speed(median_ms, p90_ms, fps, whole_number(content["n_runs"])), number(content["drift_pct"]))


@dataclass(frozen=True)
class RunFigures:
    """What one model with one kind of ncnn's options gives on a device.

    Args:
        host_fp32: Beside this machine's fp32.
        host_same: Beside this machine's run of the same files.
        top1_pct: Right predictions; None where the images have no labels.
        load_ms: How long its files took to load; None on an emulator.
        peak_kib: The most memory that the process had, in KiB; None on an emulator, whose own it would be.
        size_bytes: Of its files.
        n_not_finite: On how many images the logits are not all finite, as where a value is beyond what fp16 holds.
        speeds: By the number of threads; none of an emulator.
    """

    host_fp32: Against
    host_same: Against
    top1_pct: float | None
    load_ms: float | None
    peak_kib: int | None
    size_bytes: int
    n_not_finite: int
    speeds: Mapping[int, DeviceSpeed]

    def to_json(self, precision: str) -> dict[str, Any]:
        """The figures of a run with the files of that precision."""
        against = {"host_fp32": asdict(self.host_fp32), f"host_{precision}": asdict(self.host_same)}
        top1 = {} if self.top1_pct is None else {"top1_pct": self.top1_pct}
        speeds = {f"threads_{threads}": speed.to_json() for threads, speed in self.speeds.items()}
        rest: dict[str, Any] = {"size_bytes": self.size_bytes}
        rest |= {} if self.load_ms is None else {"load_ms": self.load_ms}
        rest |= {} if self.peak_kib is None else {"peak_kib": self.peak_kib}
        rest |= {"n_not_finite": self.n_not_finite} if self.n_not_finite else {}
        return against | top1 | rest | speeds

    @classmethod
    def from_json(cls, content: Mapping[str, Any], precision: str) -> RunFigures:
        """What to_json wrote. Raises KeyError, TypeError or ValueError for anything else."""
        fp32, same = (
            Against(**{field.name: number(content[key][field.name]) for field in fields(Against)})
            for key in ("host_fp32", f"host_{precision}")
        )
        top1 = number(content["top1_pct"]) if "top1_pct" in content else None
        load_ms = number(content["load_ms"]) if "load_ms" in content else None
        peak_kib = int(number(content["peak_kib"])) if "peak_kib" in content else None
        rest = load_ms, peak_kib, int(number(content["size_bytes"]))
        threads = sorted(int(key.removeprefix("threads_")) for key in content if key.startswith("threads_"))
        speeds = {whole_number(count): DeviceSpeed.from_json(content[f"threads_{count}"]) for count in threads}
        return cls(fp32, same, top1, *rest, int(number(content.get("n_not_finite", 0))), speeds)


def number(value: Any) -> float:
    """A finite number of a file. Raises TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not abs(value) <= sys.float_info.max:  # an integer may be larger than any float
        raise ValueError("no finite number")
    return value


def milliseconds(value: Any) -> float:
    """How long a run took, of a file: from a nanosecond to eleven days. Raises TypeError or ValueError for anything else."""
    if not 1e-6 <= number(value) <= 1e9:
        raise ValueError("no time")
    return float(value)


def whole_number(value: Any) -> int:
    """A number of things of a file, at least 1. Raises TypeError or ValueError for anything else."""
    if number(value) != int(value) or value < 1:
        raise ValueError("no number of things")
    return int(value)


def top1_pct(logits: Logits, labels: npt.NDArray[np.int64] | None) -> float | None:
    """Right predictions, in percent.

    >>> top1_pct(np.array([[0, 1.0], [1.0, 0]], np.float32), np.array([1, 1])), top1_pct(np.zeros((2, 2), np.float32), None)
    (50.0, None)

    An image without an answer (has_answer) is predicted wrongly.

    Args:
        logits: Of shape (n, classes).
        labels: Of the images, of shape (n,), where they have any.
    """
    if labels is None:
        return None
    return decimals(100 * float(((logits.argmax(axis=1) == labels) & has_answer(logits)).mean()), 4)


def has_answer(logits: Logits) -> npt.NDArray[np.bool_]:
    """Of each image, of shape (n,): are its logits all finite?

    >>> has_answer(np.array([[0, 1], [0, np.nan]], np.float32)).tolist()
    [True, False]
    """
    finite: npt.NDArray[np.bool_] = np.isfinite(logits).all(axis=1)
    return finite
