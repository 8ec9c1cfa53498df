"""benchmark: batch-1 latency of fp32 and int8, the two in turn, at one thread and at all cores."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.engines.engine import Load
from octet.core.files import csv_text, decimals
from octet.core.folder import NcnnFiles
from octet.core.parallel import cores
from octet.core.progress import progress
from octet.ncnn.engine import Engine
from octet.ncnn.machine import machine


@dataclass(frozen=True)
class TimedRun:
    """How long one run on one image took.

    Args:
        threads: That compute one image.
        precision: 'fp32' or 'int8' of ncnn's, or another engine's name: its int8.
        run: Its number, from 0.
        latency_ms: Milliseconds from the network's input to its logits.
    """

    threads: int
    precision: str
    run: int
    latency_ms: float


@dataclass(frozen=True)
class Speed:
    """What the runs of one precision and number of threads give; its fields are keys of latency.json.

    Args:
        median_ms: The median of the runs, in milliseconds.
        p90_ms: Their 90th percentile, in milliseconds.
        fps: How many images a second the median means.
        n_runs: How many runs there were.
    """

    median_ms: float
    p90_ms: float
    fps: float
    n_runs: int

    @classmethod
    def of(cls, latencies_ms: Sequence[float]) -> Speed:
        """That of some runs.

        >>> Speed.of([2.0, 1.0, 2.0, 9.0])
        Speed(median_ms=2.0, p90_ms=6.9, fps=500.0, n_runs=4)
        """
        median = float(np.median(latencies_ms))
        p90 = float(np.percentile(latencies_ms, 90))
        return cls(decimals(median, 3), decimals(p90, 3), decimals(1000 / median, 1), len(latencies_ms))


def benchmark(
    models: Mapping[str, Load], images: Sequence[npt.NDArray[np.float32]], runs: int, warmup: int
) -> list[TimedRun]:
    r"""Times models: they alternate run by run, so that a drift of the machine's speed meets all alike.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from octet.core.folder import NcnnFiles
    >>> from octet.ncnn.net import loads, save_net
    >>> net = loads("7767517\n2 2\nInput in0 0 1 in0\nReLU relu 1 1 in0 out0\n", b"")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = NcnnFiles.named(Path(folder), "fp32")
    ...     save_net(net, *files)
    ...     timed = benchmark({"fp32": ncnn(files)}, [np.zeros((3, 8, 8), np.float32)], runs=2, warmup=1)
    >>> [(run.precision, run.run) for run in timed if run.threads == 1]
    [('fp32', 0), ('fp32', 1)]

    Timed is what ncnn's benchncnn.cpp times, from the input to the logits; pre-processing is not.

    Args:
        models: What loads each, by its precision, or by its engine where that is not ncnn.
        images: Network inputs, fp32 of shape (C, H, W), which take turns.
        runs: How many timed runs of each precision, at each of thread_counts().
        warmup: How many runs before them that are not timed.

    Returns:
        Every timed run, in milliseconds, in the order in which they ran.

    Raises:
        OctetError: An engine is not installed or cannot read a model, or an image is no input of it.
    """
    timed = []
    for threads in thread_counts():
        engines = {precision: load(threads) for precision, load in models.items()}
        for run in progress(range(-warmup, runs), f"benchmark, {threads} thread{'s' * (threads > 1)}", unit="run"):
            for precision, engine in engines.items():
                start = time.perf_counter_ns()
                engine(images[run % len(images)])
                elapsed_ns = time.perf_counter_ns() - start
                if run >= 0:
                    timed.append(TimedRun(threads, precision, run, elapsed_ns / 1e6))
    return timed


def ncnn(files: NcnnFiles) -> Load:
    """What loads a model of ncnn's."""
    return lambda threads: Engine(files.param, files.bin, threads)


def thread_counts() -> list[int]:
    """With how many threads a model is timed: one, and one a core."""
    return sorted({1, cores()})


def speeds(runs: Iterable[TimedRun]) -> dict[int, dict[str, Speed]]:
    """The speed of each precision with each number of threads.

    >>> speeds([TimedRun(1, "fp32", 0, 4.0), TimedRun(1, "int8", 0, 2.0)])[1]["int8"].fps
    500.0

    Args:
        runs: As benchmark gives them.

    Returns:
        By the number of threads, then by precision, each in the order in which they were timed.
    """
    times: dict[int, dict[str, list[float]]] = {}
    for run in runs:
        times.setdefault(run.threads, {}).setdefault(run.precision, []).append(run.latency_ms)
    return {
        threads: {precision: Speed.of(latencies_ms) for precision, latencies_ms in by_precision.items()}
        for threads, by_precision in times.items()
    }


def latency_json(runs: Iterable[TimedRun]) -> dict[str, Any]:
    """The content of latency.json: the speeds as threads_1, threads_2, …, and the machine that they are of.

    Args:
        runs: As benchmark gives them.
    """
    by_threads = {
        f"threads_{threads}": {precision: asdict(speed) for precision, speed in by_precision.items()}
        for threads, by_precision in speeds(runs).items()
    }
    return {"machine": machine(), **by_threads}


def samples_csv(runs: Iterable[TimedRun]) -> str:
    """latency_samples.csv: one line a timed run.

    >>> print(samples_csv([TimedRun(1, "int8", 0, 2.5)]), end="")
    threads,precision,run,latency_ms
    1,int8,0,2.5000
    """
    rows = ([run.threads, run.precision, run.run, f"{run.latency_ms:.4f}"] for run in runs)
    return csv_text(["threads", "precision", "run", "latency_ms"], rows)
