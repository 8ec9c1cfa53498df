"""DVC as a process that ends with this one, however that ends: nothing computes on beside the next search, which times."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

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
    with _watch() as tell:
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
            tell(process.pid)
            return process.communicate(timeout=min(max(seconds, 0.1), _LONGEST_S))[0]
        finally:
            _end(process)


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
    """For as long this process heeds none of these signals: it is ending something already. No child may start meanwhile."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _watch() -> Iterator[Callable[[int], object]]:
    """What is called with a group of processes; for as long a shell waits for this process's end, and then kills them.

    It does so after a kill -9, too.
    """
    watch = subprocess.Popen(
        ["sh", "-c", _WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        bufsize=1,
    )
    try:
        yield lambda group: watch.stdin and watch.stdin.write(f"{group}\n")
    finally:
        with undisturbed():
            watch.communicate("\n")


def _end(process: subprocess.Popen[str]) -> None:
    """Ends DVC and the stage that it runs, which a killed DVC would leave running; no second Ctrl-C hinders it."""
    if process.poll() is not None:
        return
    with undisturbed():
        for number in (signal.SIGINT, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(_END_S)
