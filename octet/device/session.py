"""What Octet does on a device: the runner and the files of a run are put there once, by their checksums, and a run's results
are fetched.

    FOLDER/runner-CHECKSUM       the runner
    FOLDER/files/CHECKSUM        models and network inputs
    FOLDER/out/SESSION/          a run's logits and report, until they are fetched
"""

from __future__ import annotations

import json
import platform
import re
import secrets
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import checksum
from octet.core.folder import NcnnFiles
from octet.core.machine import is_machine
from octet.core.progress import bar
from octet.core.text import printable
from octet.device.build import build
from octet.device.connections import Connection
from octet.device.devices import Command, Device
from octet.device.figures import milliseconds, number, whole_number
from octet.device.source import VERSION

_MOST_CORES = 4096
_DONE = re.compile(r"done (\d+) of (\d+)")


@dataclass(frozen=True)
class Job:
    """One model in a run.

    Args:
        name: What it is called in the results.
        options: How ncnn computes: fp32, fp16 (ncnn's default) or bf16.
        files: The model.
        input: The name of its input.
        output: The name of its output.
    """

    name: str
    options: str
    files: NcnnFiles
    input: str
    output: str


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


class Session:
    """A device with the runner on it.

    Args:
        connection: The way to it.
        release: Of ncnn, in the runner.

    Raises:
        OctetError: It cannot be reached, or the runner does not run there.
    """

    def __init__(self, connection: Connection, release: str = VERSION):
        self.connection, self.folder = connection, connection.folder.rstrip("/")
        binary = build(connection.architecture(), release)
        digest = checksum(binary, "sha256")
        self.runner_checksum = digest[:16]
        self._runner = f"{self.folder}/runner-{self.runner_checksum}"
        # Its own, since a runner may outlive its connection.
        self._out = f"{self.folder}/out/{secrets.token_hex(4)}"
        connection.run(["mkdir", "-p", f"{self.folder}/files", self._out])
        if not self._runs(digest):
            connection.push(binary, self._runner)
            connection.run(["chmod", "755", self._runner])
            if self._checksums([self._runner]) != [digest]:
                raise OctetError(
                    f"{connection.name}: {binary} arrives damaged; is the device's storage full or broken?"
                )
        self.info = self._information()

    def put(self, paths: Sequence[Path]) -> list[str]:
        """The names of files on the device; those that are not there yet are pushed, and checked.

        Raises:
            OctetError: A file does not arrive whole.
        """
        digests = [checksum(path, "sha256") for path in paths]
        names = [f"{self.folder}/files/{digest}" for digest in digests]
        missing = [k for k, there in enumerate(self._checksums(names)) if there != digests[k]]
        for k in missing:
            self.connection.push(paths[k], names[k])
        for k, there in zip(missing, self._checksums([names[k] for k in missing]), strict=True):
            if there != digests[k]:
                raise OctetError(
                    f"{self.connection.name}: {paths[k]} arrives damaged; is the device's storage full or broken?"
                )
        return names

    def run(self, jobs: Sequence[Job], inputs: Path, n_images: int, what: str, **options: object) -> dict[str, Result]:
        """Runs models in turn on each image.

        Args:
            jobs: The models.
            inputs: A file of network inputs (octet/device/inputs.py).
            n_images: How many are in it.
            what: Who asks, for the progress.
            options: More of the runner's, such as threads=4, cores='big', runs=3, warm_up=0.

        Returns:
            Each model's result, by its name.

        Raises:
            OctetError: The runner fails, or what it gives is not what was asked for.
        """
        files = [path for job in jobs for path in job.files]
        inputs_name, *names = self.put([inputs, *files])
        words = self._command(jobs, inputs_name, names, options)
        self._empty()
        with bar(what, n_images) as shown:

            def heard(line: str) -> None:
                done = _DONE.fullmatch(line.strip())
                if done:
                    shown.update(int(done[1]) - shown.n)

            self.connection.run(words, heard)
        with tempfile.TemporaryDirectory(prefix="octet-device-") as temporary:
            folder = Path(temporary)
            for name in ["report.json", *(f"{k}.f32" for k in range(len(jobs)))]:
                self.connection.pull(f"{self._out}/{name}", folder / name)
            results = {job.name: read_result(folder, k, n_images, self.connection.name) for k, job in enumerate(jobs)}
        self._empty()
        return results

    def time(self, jobs: Sequence[Job], names: Sequence[str], **options: object) -> list[list[float]]:
        """Runs models that are there already in turn, and asks for nothing but the time.

        Args:
            jobs: The models.
            names: Of the network inputs on the device, then of each model's two files, as `put` gives them.
            options: As for `run`.

        Returns:
            Each model's latencies, in milliseconds, in the order of time.

        Raises:
            OctetError: The runner fails, or what it gives is not what was asked for.
        """
        self.connection.run(self._command(jobs, names[0], names[1:], options))
        report = self.connection.run(["cat", f"{self._out}/report.json"])
        return [reported(report, k, self.connection.name).latency_ms for k in range(len(jobs))]

    def forget(self, names: Sequence[str]) -> None:
        """Removes files from the device; names: as `put` gives them."""
        if names:
            self.connection.run(["rm", "-f", *names])

    def clean(self) -> None:
        """Removes all that was put on the device."""
        self.connection.run(["rm", "-rf", f"{self.folder}/files", f"{self.folder}/out"])
        self.connection.run(["sh", "-c", 'rm -f "$0"/runner-*', self.folder])

    def _runs(self, digest: str) -> bool:
        """Is the runner on the device, whole, and does it run?"""
        try:
            return self._checksums([self._runner]) == [digest]
        except OctetError:
            return False

    def _empty(self) -> None:
        """Removes what any run left on the device, and makes this one's folder."""
        self.connection.run(["rm", "-rf", f"{self.folder}/out"])
        self.connection.run(["mkdir", "-p", self._out])

    def _information(self) -> dict[str, Any]:
        """What the device is, by its runner and its file."""
        info = information(self.connection.run([self._runner, "--info"]), self.connection.name)
        return processor_of(self.connection.device, info)

    def _checksums(self, names: Sequence[str]) -> list[str]:
        return self.connection.run([self._runner, "--sha256", *names]).split() if names else []

    def _command(
        self, jobs: Sequence[Job], inputs: str, names: Sequence[str], options: Mapping[str, object]
    ) -> list[str]:
        """The runner's command line. inputs, names: of files on the device, two of each job."""
        words = [self._runner, "run", "--images", inputs, "--report", f"{self._out}/report.json"]
        for key, value in options.items():
            words += [f"--{key.replace('_', '-')}", str(value)]
        for k, job in enumerate(jobs):
            files = names[2 * k : 2 * k + 2]
            words += ["--model", str(k), job.options, *files, job.input, job.output, f"{self._out}/{k}.f32"]
        return words


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
    sane = type(big_cores) is int and 1 <= big_cores <= _MOST_CORES
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
