"""make device: a model on a device. fp32, ncnn's default float and int8 in turn, and the same images on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import decimals
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Params, model
from octet.core.text import table
from octet.data import preprocess
from octet.device import devices
from octet.device.answers import Result
from octet.device.connections import connect
from octet.device.figures import Against, DeviceSpeed, RunFigures, has_answer, top1_pct
from octet.device.inputs import first_images, write_inputs
from octet.device.record import RUNS, DeviceFigures, check_unchanged, fingerprints, write
from octet.device.session import Job, Session
from octet.ncnn.engine import Engine, logits

TIMED_IMAGES = 20  # at each number of threads
TIMED_RUNS = 5


def measure(device_name: str, name: str, params: Params, count: int) -> Path:
    """Runs a model on a device and writes its figures.

    Args:
        device_name: A device of configs/devices.
        name: The model's, in params.yaml.
        params: All of params.yaml.
        count: On how many test images; all where there are fewer.

    Returns:
        The file of figures.

    Raises:
        OctetError: The model is not made yet or damaged, or the device fails.
    """
    device, entry, folder = devices.load(device_name), model(params, name), ModelFolder(name)
    files = fingerprints(folder)  # before they are read
    steps = preprocess.load(folder.preprocess)
    steps.needs_classes("make device")
    engines = {  # these read the files whole: what cannot be right does not leave this machine
        precision: Engine(folder.ncnn(precision).param, folder.ncnn(precision).bin, shape=steps.shape)
        for precision in PRECISIONS
    }
    images = first_images(entry.data, steps, count, f"device {device_name}")
    session = Session(connect(device_name, device))
    jobs = [
        Job(run, options, folder.ncnn(precision), engines[precision].input, engines[precision].output)
        for run, precision, options in RUNS
    ]
    with session, tempfile.TemporaryDirectory(prefix="octet-inputs-") as temporary:
        few = min(TIMED_IMAGES, len(images))
        inputs, timed = Path(temporary) / "inputs", Path(temporary) / "timed"
        write_inputs(inputs, len(images), steps.shape, (images[k] for k in range(len(images))))
        write_inputs(timed, few, steps.shape, (images[k] for k in range(few)))
        answers = session.run(jobs, inputs, len(images), f"{device_name}, {name}", warm_up=0)
        if any(result.logits.shape[1] != len(steps.classes) for result in answers.values()):
            raise OctetError(
                f"{device_name}: gives no {len(steps.classes):,} logits for an image; run 'make device-clean'"
            )
        alone: dict[str, Result] = {}
        speeds: dict[int, dict[str, Result]] = {}
        if not device.emulated:  # an emulator's times are no speeds, and its memory is its own
            for job in jobs:
                alone |= session.run([job], timed, few, f"{device_name}, {job.name}", warm_up=0)
            for threads in sorted({1, int(session.info["big_cores"])}):
                what = f"{device_name}, {threads} thread{'s' * (threads > 1)}"
                speeds[threads] = session.run(jobs, timed, few, what, threads=threads, cores="big", runs=TIMED_RUNS)
    hosts = {precision: logits(engine, images, f"this machine, {precision}") for precision, engine in engines.items()}
    for run, precision, _ in RUNS:
        if answers[run].logits.shape != hosts[precision].shape:
            raise OctetError(
                f"{device_name}: {run}: {answers[run].logits.shape[1]} outputs an image came, expected {hosts[precision].shape[1]}"
            )
    runs = {
        run: RunFigures(
            host_fp32=Against.of(hosts["fp32"], answers[run].logits),
            host_same=Against.of(hosts[precision], answers[run].logits),
            top1_pct=top1_pct(answers[run].logits, images.labels),
            load_ms=decimals(alone[run].load_ms, 1) if run in alone else None,
            peak_kib=alone[run].peak_kib if run in alone else None,
            size_bytes=folder.ncnn(precision).size_bytes(),
            n_not_finite=int((~has_answer(answers[run].logits)).sum()),
            speeds={threads: DeviceSpeed.of(by[run].latency_ms) for threads, by in speeds.items()},
        )
        for run, precision, _ in RUNS
    }
    check_unchanged(folder, files)
    figures = DeviceFigures(device_name, session.info, len(images), files, runs)
    path = write(folder, figures)
    print(f"{name} on {device_name}: {figures.processor}, {', '.join(session.info['features']) or 'no extensions'}")
    print(_table(runs))
    print("".join(f"{line}\n" for line in figures.warnings()), end="")
    return path


def _table(runs: Mapping[str, RunFigures]) -> str:
    """One row a run."""
    threads, rows = sorted(runs["fp32"].speeds), []
    for run, of in runs.items():
        row = [run, "" if of.top1_pct is None else f"{of.top1_pct:.2f} %", f"{of.host_same.agreement_pct:.2f} %"]
        row += [of.host_same.sqnr, f"{of.host_fp32.kl_nats:.2e}"]
        rows.append(row + [f"{of.speeds[count].speed.median_ms:.2f} ms" for count in threads])
    head = ["", "top-1", "agrees with this machine's", "SQNR to it", "KL to its fp32"]
    return table(
        rows, head + [f"{count} thread{'s' * (count > 1)}" for count in threads], "l" + "r" * (4 + len(threads))
    )
