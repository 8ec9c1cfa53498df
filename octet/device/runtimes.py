"""make runtimes: a model's files on other releases of ncnn: what they answer there, and what int8 wins.

On this machine each release's wheel runs in a process of its own (octet/device/on_release.py); on a device, a runner that is
built with it. The two models run in turn, one thread.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from octet.core.errors import OctetError
from octet.core.files import decimals
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Params, model
from octet.core.text import printable, table
from octet.data import preprocess
from octet.data.images import Images
from octet.device import devices
from octet.device.claims import Busy
from octet.device.connections import Connection, connect
from octet.device.figures import Against, Logits
from octet.device.inputs import first_images, write_inputs
from octet.device.on_release import WARM_UP
from octet.device.record import check_unchanged, fingerprints
from octet.device.releases import environment, one_a_year, release, unpacked, with_wheel
from octet.device.runtimes_record import OnRelease, Runtimes, columns
from octet.device.session import Job, Session
from octet.ncnn.engine import Engine, logits
from octet.ncnn.machine import machine
from octet.ncnn.net import load_net

TIMED_RUNS = 100
_LIMIT_S = 3600


def measure(name: str, params: Params, count: int, runtimes: Sequence[str], device: str = "") -> Path:
    """Runs a model on releases of ncnn, prints a table of them and writes their figures.

    Args:
        name: The model's, in params.yaml.
        params: All of params.yaml.
        count: On how many test images; all where there are fewer.
        runtimes: The releases; empty: the last one of each year that has a wheel for this Python.
        device: A device of configs/devices, for which the runner is built with each release; empty: this machine.

    Returns:
        The file of figures.

    Raises:
        OctetError: The model is not made yet, a release cannot be had, or the package index cannot be reached.
    """
    entry, folder = model(params, name), ModelFolder(name)
    named = sorted({release(text) for text in runtimes})
    way = connect(device, devices.load(device)) if device else None
    files = fingerprints(folder)  # before they are read
    steps = preprocess.load(folder.preprocess)
    steps.needs_classes("make runtimes")
    releases = named or one_a_year(with_wheel())
    packages = {} if way else {each: unpacked(each) for each in releases}
    images = first_images(entry.data, steps, count, "make runtimes")
    host = logits(Engine(folder.int8.param, folder.int8.bin, shape=steps.shape), images, "this machine, int8")
    about = machine()
    with tempfile.TemporaryDirectory(prefix="octet-runtimes-") as temporary:
        place = Path(temporary)
        if way:
            write_inputs(place / "inputs", len(images), steps.shape, (images[k] for k in range(len(images))))
            write_inputs(place / "one", 1, steps.shape, [images[0]])
            runs = {each: on_device(each, way, folder, place, host) for each in releases}
            about = next((info for info, _ in runs.values() if info), about) | {"ncnn": ncnn.__version__}
            of = {each: figures for each, (_, figures) in runs.items()}
        else:
            _lay_out(folder, images, steps.shape, place)
            of = {each: run_on(each, package, place, host) for each, package in packages.items()}
    check_unchanged(folder, files)
    figures = Runtimes(device, about, len(images), TIMED_RUNS, files, of)
    path = figures.write(folder)
    heads, rows = columns(figures)
    print(
        f"{name}, {len(images):,} images: its files on releases of ncnn, beside what int8 answers with the installed one"
    )
    print(table(rows, heads, "l" + "r" * (len(heads) - 1)))
    return path


def _lay_out(folder: ModelFolder, images: Images, shape: tuple[int, int, int], place: Path) -> None:
    """Makes the folder that octet/device/on_release.py reads."""
    for precision in PRECISIONS:
        for path in folder.ncnn(precision):
            (place / path.name).symlink_to(path.resolve())
    inputs = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        place / "inputs.npy", "w+", np.float32, (len(images), *shape)
    )
    for k in range(len(images)):
        inputs[k] = images[k]
    inputs.flush()


def on_device(
    name: str, way: Connection, folder: ModelFolder, place: Path, host: Logits
) -> tuple[dict[str, Any], OnRelease]:
    """Runs a model on a device, by a runner with a release.

    Args:
        name: The release.
        way: The device.
        folder: The model's.
        place: A folder with `inputs`, all network inputs, and `one`, the first of them.
        host: The logits of int8 with the installed release on this machine, of shape (n, classes).

    Returns:
        What the device is, and the release's figures; nothing, and why it does not run the model.

    Raises:
        Busy: Another command works on the device.
    """
    try:
        with Session(way, name) as session:
            return session.info, _in_session(session, name, folder, place, host)
    except Busy:  # no fault of the release
        raise
    except OctetError as error:
        return {}, OnRelease(printable(str(error)))


def _in_session(session: Session, name: str, folder: ModelFolder, place: Path, host: Logits) -> OnRelease:
    """The figures of a release on a device. Arguments: as on_device's. Raises OctetError where it does not run the model."""
    way = session.connection
    nets = {key: load_net(folder.ncnn(key).param, folder.ncnn(key).bin) for key in PRECISIONS}
    jobs = [Job(key, "fp32", folder.ncnn(key), net.input, net.output) for key, net in nets.items()]
    answers = session.run(jobs, place / "inputs", len(host), f"{way.name}, ncnn {name}", warm_up=0)
    times = {key: 0.0 for key in PRECISIONS}
    if not way.device.emulated:
        what = f"{way.name}, ncnn {name}, times"
        timed = session.run(jobs, place / "one", 1, what, cores="big", warm_up=WARM_UP, runs=TIMED_RUNS)
        times = {key: float(np.median(timed[key].latency_ms)) for key in PRECISIONS}
    fp32, int8 = (answers[key].logits for key in PRECISIONS)
    return _figures(host, fp32, int8, times["fp32"], times["int8"])


def run_on(name: str, package: Path | None, folder: Path, host: Logits) -> OnRelease:
    """Runs a model on a release.

    Args:
        name: The release.
        package: The folder with its package; None: it is the installed one.
        folder: The folder with the model and its inputs, as octet/device/on_release.py reads it.
        host: The logits of int8 with the installed release, of shape (n, classes).

    Returns:
        Its figures, or why it does not run the model.

    Raises:
        OctetError: The package is another release.
    """
    answers = folder / "answers.npz"
    answers.unlink(missing_ok=True)
    command = [sys.executable, "-m", "octet.device.on_release", str(folder), str(TIMED_RUNS)]
    try:
        process = subprocess.run(
            command, env=environment(package), capture_output=True, text=True, check=False, timeout=_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return OnRelease(f"took longer than {_LIMIT_S} s")
    if process.returncode:
        last = next((line for line in reversed(process.stderr.splitlines()) if line.strip()), "")
        if process.returncode < 0:
            last = f"ended by signal {-process.returncode}"
        return OnRelease(printable(last.strip().removeprefix("error: ")) or f"ended with status {process.returncode}")
    try:
        with np.load(answers) as content:
            version = str(content["ncnn"])
            fp32, int8 = (content[precision].astype(np.float32) for precision in PRECISIONS)
            fp32_us, int8_us = (float(np.median(content[f"{precision}_us"])) for precision in PRECISIONS)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return OnRelease("gave no whole answers")
    if version != name:
        raise OctetError(f"{package}: is ncnn {printable(version)}, expected {name}; remove the folder and try again")
    return _figures(host, fp32, int8, fp32_us / 1000, int8_us / 1000)


def _figures(host: Logits, fp32: Logits, int8: Logits, fp32_ms: float, int8_ms: float) -> OnRelease:
    """A release's figures, or why there are none. Arguments: logits of shape (n, classes); milliseconds a run."""
    if int8.shape != host.shape or not np.isfinite(int8).all():
        return OnRelease("its answers are no logits of this model")
    return OnRelease("", Against.of(host, int8), Against.of(fp32, int8), decimals(fp32_ms, 3), decimals(int8_ms, 3))
