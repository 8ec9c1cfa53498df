"""What Octet does on a device: the runner and the files of a run are put there once, by their checksums, and a run's results
are fetched.

    FOLDER/octet-device/runner-CHECKSUM       the runner
    FOLDER/octet-device/files/CHECKSUM        models and network inputs
    FOLDER/octet-device/out/CLAIM/            a run's logits and report, until they are fetched (claims.py)

What lies beside octet-device in the device's folder is never touched.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import checksum
from octet.core.folder import NcnnFiles
from octet.core.progress import bar
from octet.device.answers import Result, information, processor_of, read_result, reported
from octet.device.build import build
from octet.device.claims import Claim
from octet.device.connections import Connection
from octet.device.source import VERSION

OURS = "octet-device"  # in the device's folder
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


class Session:
    """A device with the runner on it.

    Within `with session:` no other command runs models there; a single `run` or `time` sees to that itself.

    Args:
        connection: The way to it.
        release: Of ncnn, in the runner.

    Raises:
        OctetError: It cannot be reached, or the runner does not run there.
    """

    def __init__(self, connection: Connection, release: str = VERSION):
        self.connection, self.folder = connection, _folder(connection)
        binary = build(connection.architecture(), release)
        digest = checksum(binary, "sha256")
        self.runner_checksum = digest[:16]
        self._runner = f"{self.folder}/runner-{self.runner_checksum}"
        # Its own, since a runner may outlive its connection.
        self._claim, self._depth = Claim(connection, f"{self.folder}/out"), 0
        self._out = self._claim.folder
        connection.run(["mkdir", "-p", f"{self.folder}/files"])
        if not self._runs(digest):
            with self:
                connection.push(binary, self._runner)
                connection.run(["chmod", "755", self._runner])
                if self._checksums([self._runner]) != [digest]:
                    raise OctetError(
                        f"{connection.name}: {binary} arrives damaged; is the device's storage full or broken?"
                    )
        self.info = self._information()

    def __enter__(self) -> Session:
        """From here on other commands are refused on the device. Raises Busy where another one works there."""
        if not self._depth:
            self._claim.take()
            try:  # nobody else pushes now: these are of commands that were cut off, and may be of files that no other run needs
                self.connection.run(["sh", "-c", 'rm -f "$0"/*.partial "$0"/files/*.partial', self.folder])
            except BaseException:
                self._claim.give_back()
                raise
        self._depth += 1
        return self

    def __exit__(self, *_error: object) -> None:
        """Lets others in, and removes what this one's runs left."""
        self._depth -= 1
        if not self._depth:
            self._claim.give_back()

    def names(self, paths: Sequence[Path]) -> list[str]:
        """What files are called on the device, there or not."""
        return [f"{self.folder}/files/{checksum(path, 'sha256')}" for path in paths]

    def put(self, paths: Sequence[Path]) -> list[str]:
        """The names of files on the device; those that are not there yet are pushed, and checked.

        Raises:
            OctetError: A file does not arrive whole.
        """
        names = self.names(paths)
        digests = [name.rpartition("/")[2] for name in names]
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
            OctetError: The runner fails, what it gives is not what was asked for, or another command works on the device.
        """
        with self:
            return self._run(jobs, inputs, n_images, what, options)

    def _run(
        self, jobs: Sequence[Job], inputs: Path, n_images: int, what: str, options: Mapping[str, object]
    ) -> dict[str, Result]:
        """As `run`, where no other command works on the device."""
        files = [path for job in jobs for path in job.files]
        inputs_name, *names = self.put([inputs, *files])
        words = self._command(jobs, inputs_name, names, options)
        given = ["report.json", *(f"{k}.f32" for k in range(len(jobs)))]
        with bar(what, n_images) as shown:

            def heard(line: str) -> None:
                done = _DONE.fullmatch(line.strip())
                if done:
                    shown.update(int(done[1]) - shown.n)

            self.connection.run(words, heard)
        with tempfile.TemporaryDirectory(prefix="octet-device-") as temporary:
            folder = Path(temporary)
            for name in given:
                self.connection.pull(f"{self._out}/{name}", folder / name)
            results = {job.name: read_result(folder, k, n_images, self.connection.name) for k, job in enumerate(jobs)}
        self.forget([f"{self._out}/{name}" for name in given])
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
            OctetError: The runner fails, what it gives is not what was asked for, or another command works on the device.
        """
        with self:
            self.connection.run(self._command(jobs, names[0], names[1:], options))
            report = self.connection.run(["cat", f"{self._out}/report.json"])
            self.forget([f"{self._out}/report.json"])  # by which the claim's folder is of now, too
        return [reported(report, k, self.connection.name).latency_ms for k in range(len(jobs))]

    def forget(self, names: Sequence[str]) -> None:
        """Removes files from the device; names: as `put` gives them."""
        if names:
            self.connection.run(["rm", "-f", *names])

    def clean(self) -> None:
        """Removes all that was put on the device."""
        clean(self.connection)

    def _runs(self, digest: str) -> bool:
        """Is the runner on the device, whole, and does it run?"""
        try:
            return self._checksums([self._runner]) == [digest]
        except OctetError:
            return False

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


def clean(connection: Connection) -> None:
    """Removes all that was put on a device; no runner is needed for it, nor room for one.

    Raises:
        OctetError: It cannot be reached.
    """
    connection.run(["rm", "-rf", _folder(connection)])


def _folder(connection: Connection) -> str:
    return f"{connection.folder.rstrip('/')}/{OURS}"
