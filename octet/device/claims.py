"""Who works on a device: a folder there for each command that does, whose name says which.

    FOLDER/octet-device/out/MACHINE_PID_TICKS_SECONDS_TOKEN/

Two commands that time on one device at once would disturb each other, so the second is refused. A command that was killed leaves
its folder. On the machine on which it ran, that of the next command as a rule, its process is known to be gone, or to work still;
what is left by another machine counts until nothing has come or gone there for a day or two, by the device's own clock.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from octet.core.errors import OctetError
from octet.device.connections import Connection

_NAME = re.compile(r"([0-9a-z]{12})_(\d{1,10})_(\d{1,20})_(\d{1,11})_[0-9a-f]{8}")
# POSIX's more than one whole day, the older Android's more than 24 hours. -mmin is not in the latter.
_OLD = ("-mindepth", "1", "-maxdepth", "1", "-mtime", "+1")
_PAUSE_S = (1.0, 3.0)  # until a command that is refused tries once more
_ENDED = -1  # in the place of when a process began


class Busy(OctetError):
    """Another command works on the device."""


@dataclass(frozen=True)
class Process:
    """A process of some machine.

    Args:
        machine: Which; within a machine, which of its containers.
        pid: Its number there.
        ticks: When it began, since the machine began: a number is given to another process later. 0 where the system does not say.
    """

    machine: str
    pid: int
    ticks: int

    @classmethod
    def own(cls) -> Process:
        """This one."""
        return cls(_machine(), os.getpid(), _ticks(os.getpid()) or 0)

    def is_gone(self) -> bool:
        """Is it certain that it has ended? Of another machine's process it never is."""
        return self.machine == _machine() and _ticks(self.pid) not in (None, self.ticks)


class Claim:
    """One command's folder on a device.

    Args:
        connection: The device.
        parent: The folder there in which such folders lie.
    """

    def __init__(self, connection: Connection, parent: str):
        own = Process.own()
        self._connection, self._parent = connection, parent
        self._name = f"{own.machine}_{own.pid}_{own.ticks}_{int(time.time())}_{secrets.token_hex(4)}"
        self.folder = f"{parent}/{self._name}"

    def take(self) -> None:
        """Makes the folder, and removes those of commands that are gone.

        Raises:
            Busy: Another command works on the device; then the folder is removed.
            OctetError: The device cannot be reached.
        """
        try:
            self._take()
        except Busy:  # of two that began at once each saw the other
            time.sleep(random.uniform(*_PAUSE_S))
            self._take()

    def _take(self) -> None:
        self._connection.run(["mkdir", "-p", self.folder])  # before looking: none of two can miss the other
        try:
            self._look()
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        """Removes the folder, if the device answers at once; else a later command does."""
        self._connection.remove([self.folder])

    def _look(self) -> None:
        others = set(self._connection.run(["ls", self._parent]).splitlines()) - {self._name, ".", "..", ""}
        if not others:
            return
        old = self._old()
        gone = {name for name in others if _is_gone(name) or (name in old and not _is_here(name))}
        for name in sorted(others - gone):
            raise Busy(
                f"{self._connection.name}: another command works on this device {_since(name)}, and both would be slower. Wait "
                f"for its end; if it ended without a word, 'make device-clean DEVICE={self._connection.name}' lets others in"
            )
        self._connection.run(["rm", "-rf", *(f"{self._parent}/{name}" for name in sorted(gone))])

    def _old(self) -> set[str]:
        """Those in which nothing was written for a day or two; none where the device cannot tell."""
        with suppress(OctetError):
            found = self._connection.run(["find", self._parent, *_OLD])
            return {path.rpartition("/")[2] for path in found.splitlines()}
        return set()


def _is_gone(name: str) -> bool:
    """Is the command gone that has made a folder of this name? No command gives another name; and this one works once at a time."""
    parts = _NAME.fullmatch(name)
    if not parts:
        return True
    process = Process(parts[1], int(parts[2]), int(parts[3]))
    return process == Process.own() or process.is_gone()


def _is_here(name: str) -> bool:
    """Was it made by a command on this machine?"""
    return name.startswith(f"{_machine()}_")


def _since(name: str) -> str:
    """Since when, and which process it is, in words."""
    parts = _NAME.fullmatch(name)
    assert parts, "a name of another form is that of no command"
    begin = time.strftime("%Y-%m-%d %H:%M", time.localtime(int(parts[4])))
    here = "on this machine" if _is_here(name) else "from another machine"
    return f"since {begin} (process {parts[2]} {here})"


def _machine() -> str:
    """12 digits that tell this machine from others, and in it the container from others; not every system has all of it."""
    known = [platform.node()]
    with suppress(OSError):
        known.append(Path("/etc/machine-id").read_text())
    with suppress(OSError):
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:12]


def _ticks(pid: int) -> int | None:
    """When a process of this machine began; _ENDED where it has ended, None where that is not shown to us."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return _ENDED
        except PermissionError:
            return None
        return None
    return _ENDED if state in "ZX" else int(rest[18])
