"""The int8 models of other engines beside Octet's: what `make bench-peers` measured, as the report and the chart read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import read_dataclass, read_json, write_json
from octet.core.logits import Divergence
from octet.core.machine import is_machine
from octet.core.text import table
from octet.summary.summary import Summary

OCTET, NCNN2INT8 = "ncnn int8 (Octet)", "ncnn int8 (ncnn2int8)"
STATIC_QDQ, OCTET_IN_ONNX_RUNTIME = "ONNX Runtime int8 (static QDQ)", "ONNX Runtime int8 (Octet)"
NNCF, OCTET_IN_OPENVINO = "OpenVINO int8 (NNCF)", "OpenVINO int8 (Octet)"
BASE = "ncnn fp32"  # whose speed the others' is compared with
_MADE_BY = "'make bench-peers' makes it"


@dataclass(frozen=True)
class EngineFigures:
    """What was measured of one engine's fp32 or int8 model.

    Args:
        engine: The row's name, one for each engine and precision.
        top1_pct: Right predictions of the test images.
        fps_1_thread: Frames per second with one thread, from the median latency.
        fps_all_threads: The same with a thread for each core.
        bytes: The size of the model's files.
        peak_mib: The peak memory of a process that loads the model and runs it 20 times.
        calibration_s: Seconds from the calibration images to the int8 model; None for an fp32 model.
        divergence: Of int8 from the same engine's fp32; None for an fp32 model.
    """

    engine: str
    top1_pct: float
    fps_1_thread: float
    fps_all_threads: float
    bytes: int
    peak_mib: float
    calibration_s: float | None = None
    divergence: Divergence | None = None


@dataclass(frozen=True)
class PeersFigures:
    """All engines on one network, and what they were measured on.

    Args:
        engines: One for each row of the table, in its order.
        machine: octet.ncnn.machine's.
        versions: Of each package.
        n_images: Test images.
        n_rounds: Timed rounds, in which the engines take turns.
        calibration_images: Training images that each int8 model was calibrated on.
        threads_all: How many threads `fps_all_threads` is of.
    """

    engines: list[EngineFigures]
    machine: dict[str, Any]
    versions: dict[str, str]
    n_images: int
    n_rounds: int
    calibration_images: int
    threads_all: int

    def speed(self, engine: EngineFigures) -> float:
        """Frames per second with one thread, as a multiple of ncnn fp32's."""
        base = next(row.fps_1_thread for row in self.engines if row.engine == BASE)
        return engine.fps_1_thread / base

    def is_of(self, summary: Summary) -> bool:
        """Were these very models measured? Other ones have another size or top-1."""
        models = {
            BASE: (summary.fp32_top1_pct, summary.fp32_bytes),
            OCTET: (summary.int8_top1_pct, summary.int8_bytes),
        }
        rows = [(row.engine, (row.top1_pct, row.bytes)) for row in self.engines]
        return all(of == models.get(engine, of) for engine, of in rows)


def read(path: Path) -> PeersFigures:
    """Reads peers.json.

    Raises:
        OctetError: It is missing, or is not what this version of Octet writes.
    """
    read_json(path, _MADE_BY)
    try:
        figures = read_dataclass(PeersFigures, path, _MADE_BY)
        if is_machine(figures.machine, "cpu", "cores", "features", "system") and any(
            row.engine == BASE and row.fps_1_thread > 0 for row in figures.engines
        ):
            return figures
        problem = f"no machine, or no {BASE} among the engines"
    except OctetError as error:
        problem = str(error)
    raise OctetError(f"{path}: not what this version of Octet writes ({problem}); {_MADE_BY} anew")


def write(path: Path, figures: PeersFigures) -> None:
    """Writes peers.json."""
    write_json(path, asdict(figures))


def cells(figures: PeersFigures) -> tuple[list[str], list[list[str]]]:
    """The table's headers and rows, as texts."""
    threads = figures.threads_all
    headers = [
        "batch 1",
        "top-1",
        "agreement",
        "KL, 10⁻⁵ nats",
        "FPS, 1 thread",
        "of ncnn fp32",
        f"FPS, {threads} threads",
    ]
    rows = [
        [
            e.engine,
            f"{e.top1_pct:.2f} %",
            f"{d.agreement_pct:.2f} ± {d.agreement_se_pct:.2f} %" if (d := e.divergence) else "",
            f"{1e5 * d.kl_nats:.1f} ± {1e5 * d.kl_se_nats:.1f}" if d else "",
            f"{e.fps_1_thread:.1f}",
            f"{figures.speed(e):.2f}",
            f"{e.fps_all_threads:.1f}",
            f"{e.bytes / 1e6:.1f} MB",
            f"{e.peak_mib:.0f} MiB",
            "" if e.calibration_s is None else f"{e.calibration_s:.1f} s",
        ]
        for e in figures.engines
    ]
    return [*headers, "size", "peak memory", "calibration"], rows


def markdown(figures: PeersFigures) -> str:
    """The table in Markdown, and what it was measured on."""
    headers, rows = cells(figures)
    about = figures.machine
    versions = ", ".join(f"{name} {version}" for name, version in figures.versions.items())
    return table(rows, headers, markdown=True) + (
        f"\n\n{about['cpu']} ({', '.join(about['features'])}), {about['cores']} cores, {about['system']}; {versions}; "
        f"n = {figures.n_rounds} rounds in turn, {figures.n_images:,} test images, calibrated on "
        f"{figures.calibration_images}. {ABOUT}\n"
    )


ABOUT = (
    "Agreement and KL divergence are each int8's with its own engine's fp32, ± their standard errors; peak memory is that "
    "of a process that loads the model and runs it 20 times."
)


def int8(figures: PeersFigures) -> dict[str, EngineFigures]:
    """The int8 models whose divergence was measured, by their rows' names."""
    return {engine.engine: engine for engine in figures.engines if engine.divergence}
