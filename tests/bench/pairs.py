"""Octet's int8 beside each engine's own, in that engine, as ratios with their standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octet.core.logits import kl_divergences
from octet.core.text import table
from tests.bench.peers import GPTQ_IN, LOADS, OCTET_IN, OPENVINO_F32, OPENVINO_INT8, REST_F32, UINT8

Logits = Mapping[str, npt.NDArray[np.float32]]
SPEED = ((OCTET_IN["onnxruntime"], UINT8), (OCTET_IN["openvino"], OPENVINO_INT8))


@dataclass(frozen=True)
class Ratio:
    """A ratio and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        """As in a table."""
        return f"{self.value:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class Pair:
    """One row of the table of divergences.

    Args:
        title: The engine, and in what it computes the rest.
        fp32: The row of its fp32 model.
        own: Of its own int8.
        octets: Of Octet's, with weights to the nearest and by GPTQ.
    """

    title: str
    fp32: str
    own: str
    octets: tuple[str, str]


PAIRS = (
    Pair("ONNX Runtime", "ONNX Runtime fp32", UINT8, (OCTET_IN["onnxruntime"], GPTQ_IN["onnxruntime"])),
    Pair("OpenVINO, its default", "OpenVINO fp32", OPENVINO_INT8, (OCTET_IN["openvino"], GPTQ_IN["openvino"])),
    Pair(
        "OpenVINO, rest in fp32",
        "OpenVINO fp32",
        OPENVINO_F32,
        (f"{OCTET_IN['openvino']}{REST_F32}", f"{GPTQ_IN['openvino']}{REST_F32}"),
    ),
)
ROWS = list(dict.fromkeys(row for pair in PAIRS for row in (pair.fp32, pair.own, *pair.octets)))


def speed_ratio(mine_ms: list[float], own_ms: list[float]) -> Ratio:
    """FPS as a share of the other's, from the medians of each load; the error is that of the loads.

    >>> str(speed_ratio([2.0] * LOADS, [1.0] * LOADS))
    '0.500 ± 0.000'

    Args:
        mine_ms: Latencies, as many of each load, one load after the other.
        own_ms: The other's.
    """
    mine, own = (np.median(np.reshape(times, (LOADS, -1)), axis=1) for times in (mine_ms, own_ms))
    ratios = own / mine
    return Ratio(float(ratios.mean()), float(ratios.std(ddof=1) / LOADS**0.5))


def kl_ratio(fp32: npt.NDArray[np.float32], mine: npt.NDArray[np.float32], own: npt.NDArray[np.float32]) -> Ratio:
    """KL divergence as a share of the other's, on the same images, so that their errors are not independent.

    Args:
        fp32: Logits of shape (n, classes).
        mine: The same of an int8 model.
        own: Of another one.
    """
    a, b = kl_divergences(fp32, mine), kl_divergences(fp32, own)
    ratio = float(a.mean() / b.mean())
    return Ratio(ratio, float((a - ratio * b).std(ddof=1) / len(a) ** 0.5 / b.mean()))


def speeds(latency_ms: Mapping[str, Mapping[str, list[float]]]) -> str:
    """The ratios of the FPS, in lines of text.

    Args:
        latency_ms: By the number of threads and the row.
    """
    lines = []
    for mine, own in SPEED:
        ratios = (f"{speed_ratio(of[mine], of[own])} with {n}" for n, of in latency_ms.items())
        lines.append(f"{mine} is of {own}: FPS {', '.join(ratios)} threads; the error is that of {LOADS} loads")
    return "\n".join(lines)


def divergences(logits: Logits, labels: npt.NDArray[np.int64]) -> str:
    """Top-1 and KL divergence from each engine's own fp32, Octet's also as a share of the engine's own, in Markdown."""
    rows = []
    for pair in PAIRS:
        fp32 = logits[pair.fp32]
        row = [pair.title, _top1(fp32, labels), *_one(fp32, logits[pair.own], labels)]
        for name in pair.octets:
            row += [*_one(fp32, logits[name], labels), str(kl_ratio(fp32, logits[name], logits[pair.own]))]
        rows.append(row)
    heads = ["KL in 10⁻⁵ nats", "fp32: top-1", "own int8: top-1", "KL", "Octet's: top-1", "KL", "of its own"]
    return table(rows, [*heads, "by GPTQ: top-1", "KL", "of its own"], "l" + "r" * 9, markdown=True)


def _top1(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> str:
    return f"{100 * float(np.mean(logits.argmax(axis=1) == labels)):.2f} %"


def _one(fp32: npt.NDArray[np.float32], int8: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> list[str]:
    kl = 1e5 * kl_divergences(fp32, int8)
    return [_top1(int8, labels), f"{kl.mean():.1f} ± {kl.std(ddof=1) / len(kl) ** 0.5:.1f}"]
