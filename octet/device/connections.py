"""How commands and files reach a device: on this machine, through an emulator, by ssh, or by adb.

Each way can run a command there (`run`), copy a file there (`push`) and back (`pull`). What is run on a device is the runner and
a handful of plain commands (uname, mkdir, ls, find, mv, chmod, rm, cat, sh), each word quoted; nothing that comes from a device is
ever executed here.
"""

from __future__ import annotations

import os
import platform
import selectors
import shlex
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from octet.core.errors import OctetError
from octet.core.files import not_written
from octet.core.text import printable
from octet.device.devices import Adb, Command, Device, Local, Ssh

_MOST = 64 << 20  # bytes of what a command prints; more is an error
_TIDY_S = 10  # how long removing leftovers may take: a device that has just hung is not waited for again
Heard = Callable[[str], None]  # gets each line that a command prints, as it comes


class Connection(ABC):
    """A device that can be reached.

    Args:
        name: The device's, for errors.
        device: How it is reached.
    """

    def __init__(self, name: str, device: Device):
        self.name, self.device, self.folder = name, device, device.folder

    @abstractmethod
    def command(self, words: Sequence[str]) -> list[str]:
        """The command on this machine that runs these words on the device."""

    def architecture(self) -> str:
        """The device's, as `uname -m` says it: aarch64 or x86_64. Raises OctetError for any other."""
        machine = self.run(["uname", "-m"]).strip()
        if machine not in ("aarch64", "x86_64"):
            raise OctetError(f"{self.name}: is {printable(machine)}; the runner exists for aarch64 and x86_64")
        return machine

    def run(self, words: Sequence[str], heard: Heard | None = None, sent: Path | None = None) -> str:
        """Runs a command on the device.

        Args:
            words: The command, word by word.
            heard: Gets each line of its output, as it comes.
            sent: A file that it reads as its input.

        Returns:
            Its output.

        Raises:
            OctetError: It fails, the device cannot be reached, or nothing is heard of it for too long.
        """
        return _listen(self.name, self.command(words), self.device.silence_s, heard, sent)

    def push(self, path: Path, to: str) -> None:
        """Copies a file to the device, where it gets its name when it is whole.

        Args:
            path: The file here.
            to: Its name on the device.

        Raises:
            OctetError: The device is away or full; then nothing is left there, if it answers within 10 s.
        """
        partial = f"{to}.partial"
        try:
            self._send(path, partial)
            self.run(["mv", partial, to])
        except BaseException:  # Ctrl-C as well
            self.remove([partial])
            raise

    def pull(self, path: str, to: Path) -> None:
        """Copies a file from the device.

        Args:
            path: Its name on the device.
            to: Where it is put here.

        Raises:
            OctetError: The device is away or does not have it, or this machine's disk is full.
        """
        try:
            with to.open("wb") as file:
                process = subprocess.run(
                    self.command(["cat", path]),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.PIPE,
                    check=False,
                    timeout=self.device.silence_s,
                )
        except subprocess.TimeoutExpired:
            raise OctetError(f"{self.name}: {path} does not come within {self.device.silence_s} s") from None
        except OSError as error:
            raise not_written(to, error) from None
        if process.returncode:
            raise OctetError(f"{self.name}: {path} does not come: {_last_lines(process.stderr)}")

    def remove(self, paths: Sequence[str]) -> None:
        """Removes files and folders on the device, if it answers at once; else they stay. It is no error, as it follows one."""
        with suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run(
                self.command(["rm", "-rf", *paths]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=_TIDY_S,
            )

    def _send(self, path: Path, to: str) -> None:
        """Copies a file to the device."""
        self.run(["sh", "-c", 'cat > "$0"', to], sent=path)


class OnThisMachine(Connection):
    """This machine: the kind `local`, and the kind `command`, whose command stands before each binary."""

    def command(self, words: Sequence[str]) -> list[str]:
        """See Connection."""
        prefix = self.device.command if isinstance(self.device, Command) else ()
        return [*prefix, *words] if "/" in words[0] else list(words)

    def architecture(self) -> str:
        """See Connection."""
        return self.device.architecture if isinstance(self.device, Command) else platform.machine()

    def _send(self, path: Path, to: str) -> None:
        """See Connection."""
        try:
            shutil.copyfile(path, to)
        except OSError as error:
            raise not_written(Path(to.removesuffix(".partial")), error) from None


class BySsh(Connection):
    """A board by ssh, which is never let ask: a host whose key it does not know is refused."""

    device: Ssh

    def command(self, words: Sequence[str]) -> list[str]:
        """See Connection."""
        device = self.device
        options = ["BatchMode=yes", "ServerAliveInterval=5", "ServerAliveCountMax=3", *device.options]
        user = ["-l", device.user] if device.user else []
        asked = [word for option in options for word in ("-o", option)]
        return ["ssh", "-T", "-p", str(device.port), *user, *asked, "--", device.host, shlex.join(words)]


class ByAdb(Connection):
    """A phone by adb, with the command line of Android's own client."""

    device: Adb

    def command(self, words: Sequence[str]) -> list[str]:
        """See Connection."""
        return [*self._adb(), "shell", "-T", shlex.join(words)]

    def _send(self, path: Path, to: str) -> None:
        """See Connection."""
        _listen(self.name, [*self._adb(), "push", str(path), to], self.device.silence_s)

    def pull(self, path: str, to: Path) -> None:
        """See Connection."""
        _listen(self.name, [*self._adb(), "pull", path, str(to)], self.device.silence_s)

    def _adb(self) -> list[str]:
        return ["adb", *(["-s", self.device.serial] if self.device.serial else [])]


def connect(name: str, device: Device) -> Connection:
    """The way to a device. Raises OctetError where this machine lacks the program for it."""
    if isinstance(device, Ssh):
        way: Connection = BySsh(name, device)
    elif isinstance(device, Adb):
        way = ByAdb(name, device)
    else:
        assert isinstance(device, Local | Command)
        way = OnThisMachine(name, device)
    program = {"BySsh": "ssh", "ByAdb": "adb"}.get(type(way).__name__)
    program = device.command[0] if isinstance(device, Command) else program
    if program and shutil.which(program) is None:
        raise OctetError(f"{name}: needs the program '{program}', which is not on this machine's PATH; install it")
    return way


def _listen(
    name: str, command: Sequence[str], silence_s: int, heard: Heard | None = None, sent: Path | None = None
) -> str:
    """Runs a command of this machine and reads what it says, line by line, until it ends.

    It is given up where for so many seconds it neither says a word nor reads more of what is sent to it.
    """
    answer = _Answer(heard)
    with sent.open("rb") if sent else nullcontext() as stdin:
        try:
            process = subprocess.Popen(
                command, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise OctetError(f"{name}: {command[0]} cannot be run: {error.strerror}") from None
        with process:
            try:
                answer.read(process, silence_s, stdin)
                process.wait(silence_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise OctetError(
                    f"{name}: nothing is heard of it for {silence_s} s: {shlex.join(command)[:300]}"
                ) from None
            except BaseException:
                process.kill()
                raise
    if len(answer.out) + len(answer.err) > _MOST:
        raise OctetError(f"{name}: its answer is longer than {_MOST >> 20} MiB")
    if process.returncode:
        raise OctetError(f"{name}: {answer.why()} ({command[0]} {_end(process.returncode)})")
    return answer.out.decode(errors="replace")


class _Answer:
    """What a command says, as it comes; heard gets each whole line of its output."""

    def __init__(self, heard: Heard | None):
        self.out, self.err = bytearray(), bytearray()
        self._heard, self._at = heard, 0

    def read(self, process: subprocess.Popen[bytes], silence_s: int, sent: IO[bytes] | None) -> None:
        """All that a command says, or as much of it as is over the limit: then the command is ended.

        Raises:
            subprocess.TimeoutExpired: For so long it neither says a word nor reads more of the file that is sent to it.
        """
        assert process.stdout
        assert process.stderr
        at = 0
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self.out)
            selector.register(process.stderr, selectors.EVENT_READ, self.err)
            while selector.get_map():
                ready = selector.select(silence_s)
                before, at = at, os.lseek(sent.fileno(), 0, os.SEEK_CUR) if sent else 0  # the command shares the offset
                if not ready and at == before:
                    raise subprocess.TimeoutExpired(process.args, silence_s)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    self.add(key.data, data)
                if len(self.out) + len(self.err) > _MOST:
                    process.kill()
                    return

    def add(self, to: bytearray, data: bytes) -> None:
        """More of `out` or of `err`; what is over the limit is dropped."""
        to += data[: max(_MOST + 1 - len(to), 0)]
        while self._heard and (end := self.out.find(b"\n", self._at)) >= 0:
            self._heard(self.out[self._at : end].decode(errors="replace"))
            self._at = end + 1

    def why(self) -> str:
        """Why a command fails: what it says of errors; else what it said last, which may tell how far it came."""
        if self.err.strip() or not self.out.strip():
            return _last_lines(self.err)
        return f"stopped without a word of why; the last one was '{printable(_lines(self.out)[-1])}'"


def _end(status: int) -> str:
    """How a program ended. ssh and adb add 128 to the signal that ended a program on the device."""
    signal = -status if status < 0 else status - 128 if 128 < status < 160 else 0
    return (
        f"ended by signal {signal}" + ", as where memory runs out" * (signal == 9)
        if signal
        else f"ended with status {status}"
    )


def _lines(text: bytes | bytearray) -> list[str]:
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]


def _last_lines(text: bytes | bytearray) -> str:
    """The last lines of what a program said, in one."""
    return printable("; ".join(_lines(text)[-3:])) or "without a word"
