"""benchmark: batch-1 latency of fp32 and int8, the two in turn, at one thread and at all cores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from octet.core.files import rounded
from octet.core.folder import PRECISIONS, NcnnFiles
from octet.core.parallel import cores
from octet.core.progress import progress
from octet.ncnn.engine import Engine
from octet.ncnn.machine import machine


def benchmark(files: Mapping[str, NcnnFiles], images: Sequence[np.ndarray], runs: int, warmup: int) -> list[dict]:
    """One row a timed run: threads, precision, run, latency_ms. files: by precision; images: network
    inputs, which take turns.

    fp32 and int8 alternate run by run, so that a drift of the machine's speed meets both alike; pre-processing is not
    timed.
    """
    rows = []
    for threads in thread_counts():
        engines = {precision: Engine(*pair, threads=threads) for precision, pair in files.items()}
        for run in progress(range(-warmup, runs), f"benchmark, {threads} thread{'s' * (threads > 1)}", unit="run"):
            for precision, engine in engines.items():
                start = time.perf_counter_ns()
                engine(images[run % len(images)])
                elapsed = time.perf_counter_ns() - start
                if run >= 0:
                    row = {"threads": threads, "precision": precision, "run": run, "latency_ms": elapsed / 1e6}
                    rows.append(row)
    return rows


def thread_counts() -> list[int]:
    return sorted({1, cores()})


def figures(rows: list[dict]) -> dict:
    """Median, 90th percentile and frames per second of each kind, and the machine, as metrics JSON."""
    found: dict = {"machine": machine()}
    for threads in sorted({row["threads"] for row in rows}):
        for precision in PRECISIONS:
            times = [r["latency_ms"] for r in rows if (r["threads"], r["precision"]) == (threads, precision)]
            median = float(np.median(times))
            found.setdefault(f"threads_{threads}", {})[precision] = {
                "median_ms": rounded(median, 3),
                "p90_ms": rounded(np.percentile(times, 90), 3),
                "fps": rounded(1000 / median, 1),
                "n_runs": len(times),
            }
    return found


def samples_csv(rows: list[dict]) -> str:
    lines = [f"{r['threads']},{r['precision']},{r['run']},{r['latency_ms']:.4f}\n" for r in rows]
    return "threads,precision,run,latency_ms\n" + "".join(lines)
