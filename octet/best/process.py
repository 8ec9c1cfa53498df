"""DVC as a process that ends with this one, however that ends: nothing computes on beside the next search, which times."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

_END_S = 10  # for a DVC that is told to stop
_LONGEST_S = 1e6  # for an experiment: Linux waits no longer than 24 days
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# It is told a group of processes, and kills them where the pipe ends before another line comes: whoever would write it is gone.
_WATCH = 'read -r group || exit 0; read -r _ || kill -s KILL -- "-$group"'


def output(command: Sequence[str], folder: Path, seconds: float) -> str:
    """What a command prints; it and what it started are ended where it takes longer than that, or Octet is ended or killed.

    Args:
        command: The command.
        folder: Where it runs.
        seconds: How long it may take.

    Raises:
        TimeoutExpired: It took longer, and was ended.
    """
    with _watch() as watch:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            watch.group(process.pid)
            return process.communicate(timeout=min(max(seconds, 0.1), _LONGEST_S))[0]
        finally:
            _end(process)
            watch.is_over = True


@contextmanager
def stopped_as_by_ctrl_c() -> Iterator[None]:
    """For as long `kill` and a terminal that is closed end a command as Ctrl-C does; a signal that nohup has ignored stays so."""
    by_ctrl_c = signal.getsignal(signal.SIGINT)
    stop = by_ctrl_c if callable(by_ctrl_c) else _stop
    former = {number: signal.getsignal(number) for number in _STOPS[1:]}
    for number, handler in former.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """For as long none of these signals disturbs this process, which is ending something; the first that came counts then."""
    came: list[int] = []
    former: dict[int, Any] = {}
    try:
        for number in _STOPS:
            if (handler := signal.getsignal(number)) != signal.SIG_IGN:  # nohup's stays ignored
                former[number] = handler
                signal.signal(number, lambda came_now, _: came.append(came_now))
        yield
    finally:
        for stop, handler in former.items():
            signal.signal(stop, handler)
        if came:
            os.kill(os.getpid(), came[0])


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Watch:
    """A shell that kills a group of processes when this one is gone, by a kill -9, too, or leaves before the group is over."""

    def __init__(self, shell: subprocess.Popen[str]):
        self._shell = shell
        self.is_over = False

    def group(self, group: int) -> None:
        """Tells it which."""
        if self._shell.stdin:
            self._shell.stdin.write(f"{group}\n")

    def leave(self) -> None:
        """Waits for its end."""
        self._shell.communicate("\n" if self.is_over else "")


@contextmanager
def _watch() -> Iterator[_Watch]:
    shell = subprocess.Popen(
        ["sh", "-c", _WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        bufsize=1,
    )
    watch = _Watch(shell)
    try:
        yield watch
    finally:
        with undisturbed():
            watch.leave()


def _end(process: subprocess.Popen[str]) -> None:
    """Ends DVC and the stage that it runs, which a killed DVC would leave running; no second Ctrl-C hinders it."""
    with undisturbed():
        # Where DVC itself is gone already, a stage of it may not be. macOS refuses a group of which nothing runs.
        for stop in (signal.SIGINT, signal.SIGKILL) if process.poll() is None else (signal.SIGKILL,):
            with suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                os.killpg(process.pid, stop)
                process.wait(_END_S)
