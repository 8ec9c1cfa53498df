"""What a device answers: what it is, and a run's report and logits. None of it is believed unseen."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.machine import is_machine
from octet.core.text import printable
from octet.device.devices import Command, Device
from octet.device.figures import milliseconds, number, whole_number

MOST_CORES = 4096  # and as many threads the runner takes: kMostThreads in runner/runner.cpp


@dataclass(frozen=True)
class Result:
    """What a run gave of one model.

    Args:
        logits: Of shape (n, classes), fp32.
        latency_ms: Of each run of each image, in milliseconds, in the order of time.
        load_ms: How long its files took to load.
        peak_kib: The most memory that the whole process had, in KiB.
    """

    logits: npt.NDArray[np.float32]
    latency_ms: list[float]
    load_ms: float
    peak_kib: int


@dataclass(frozen=True)
class _Reported:
    """What a report says of one model. Args: as Result's; values: how many each image gave."""

    latency_ms: list[float]
    load_ms: float
    peak_kib: int
    values: int


def information(text: str, name: str) -> dict[str, Any]:
    """What a runner says of its device, believed as far as it can be.

    Args:
        text: What it printed.
        name: The device's.

    Raises:
        OctetError: It is not what the runner prints.
    """
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        info = None
    big_cores = info.get("big_cores") if isinstance(info, dict) else None
    sane = type(big_cores) is int and 1 <= big_cores <= MOST_CORES
    if not sane or not is_machine(info, "cpu", "cores", "features", "ncnn"):
        raise OctetError(f"{name}: the runner does not say what the device is; run 'make device-clean'")
    assert isinstance(info, dict), "is_machine"
    features = [printable(feature) for feature in info["features"]]
    return info | {"cpu": printable(info["cpu"]), "ncnn": printable(info["ncnn"]), "features": features}


def reported(text: str, k: int, name: str) -> _Reported:
    """What a report says of a model; none of it is believed unseen.

    Args:
        text: The report.
        k: The model's number.
        name: The device's.

    Raises:
        OctetError: It is not what the runner writes.
    """
    try:
        report = json.loads(text)
        model = report["models"][str(k)]
        latencies = [milliseconds(value) for value in model["latency_ms"]]
        if not latencies:
            raise ValueError("no latency")
        load_ms, peak_kib, values = number(model["load_ms"]), report["peak_kib"], model["values"]
        return _Reported(latencies, load_ms, whole_number(peak_kib), whole_number(values))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OctetError(f"{name}: its report is damaged: {printable(str(error))}") from None


def read_result(folder: Path, k: int, n_images: int, name: str) -> Result:
    """Reads what came back of a model, and believes none of it unseen.

    Args:
        folder: Where report.json and the logits lie.
        k: The model's number.
        n_images: How many images it was given.
        name: The device's.

    Raises:
        OctetError: It is not what the runner writes.
    """
    model = reported((folder / "report.json").read_text("utf-8", "replace"), k, name)
    size, expected = (folder / f"{k}.f32").stat().st_size, 4 * n_images * model.values
    if size != expected or len(model.latency_ms) % n_images:
        raise OctetError(f"{name}: {size:,} bytes of logits came, expected {expected:,}")
    logits = np.fromfile(folder / f"{k}.f32", "<f4").reshape(n_images, model.values).astype(np.float32)
    return Result(logits, model.latency_ms, model.load_ms, model.peak_kib)


def processor_of(device: Device, info: Mapping[str, Any]) -> dict[str, Any]:
    """What a device is. Of an emulator nothing is told that is this machine's: its processor, cores, memory.

    >>> arm = Command(kind="command", command=("qemu", "-cpu", "max"), architecture="aarch64", folder="x", emulated=True)
    >>> processor_of(arm, {"cpu": "Xeon", "cores": 2, "big_cores": 2, "memory_kib": 9, "features": ["sve"]})
    {'cpu': 'qemu -cpu max', 'features': ['sve'], 'emulated': True, 'emulator': 'qemu -cpu max'}

    Args:
        device: Its file.
        info: What the runner says there.
    """
    about = {**info, "cpu": printable(info["cpu"]), "emulated": device.emulated}
    if device.emulated:
        about = {key: value for key, value in about.items() if key not in ("cores", "big_cores", "memory_kib")}
    if isinstance(device, Command) and (device.emulated or device.architecture != platform.machine()):
        about["cpu"] = about["emulator"] = shlex.join(device.command)
    return about | ({"cpu": device.cpu} if device.cpu else {})
