"""Processes that a test starts and kills."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def processes(leader: int) -> dict[int, str]:
    """The processes of a group that still run, and their command lines."""
    members = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if int(group) == leader and state != "Z":
                members[int(path.parent.name)] = (path.parent / "cmdline").read_text().replace("\0", " ")
    return members


def heeds_ctrl_c() -> None:
    """A shell's background job ignores Ctrl-C, nohup a closed terminal; and so would what the test starts."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
