"""Ctrl-C ends a command with one line, whenever it comes: while modules are imported, at work, or at its end.

Python raises KeyboardInterrupt wherever it happens to be. Within an import that may become an ImportError, within
compiled code an error of its own, and within a destructor it is printed and lost. So while modules are imported, when
nothing has begun that would need an end, the process leaves at once; and at work it is noted that somebody pressed
Ctrl-C, so that an error of any kind that follows is known for what it is.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

EXIT_CODE = 130  # as shells have it for SIGINT
_LINE = "stopped; what is finished is kept, and the same command goes on from there\n"
_OWN = ("octet", "stages")
_noted: list[int] = []  # the signals that came while at work
_printed: list[str] = []  # the line, once it was


def is_own_command() -> bool:
    """Is this process one of Octet's commands, and not a program or a test that imports its modules?"""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec:
        name: str = spec.name
    elif sys.argv[:1] == ["-m"] and "-m" in sys.orig_argv[:-1]:  # Python is still looking for the module to run
        name = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    else:
        name = Path(getattr(main, "__file__", None) or "").name
    return name.split(".")[0] in _OWN


def leave_at_once() -> None:
    """From here on Ctrl-C ends the process with one line, without waiting for anything."""
    if signal.getsignal(signal.SIGINT) in (
        signal.default_int_handler,
        signal.SIG_DFL,
        _note,
    ):  # else it is ignored, as by nohup
        signal.signal(signal.SIGINT, _leave)


def note() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, and is noted."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL, _leave):
        signal.signal(signal.SIGINT, _note)
        sys.unraisablehook = _unraisable


def noted() -> bool:
    """Did somebody press Ctrl-C at work?"""
    return bool(_noted)


def say() -> None:
    """The line; once, however often Ctrl-C is pressed."""
    if not _printed:
        _printed.append(_LINE)
        with suppress(OSError):
            os.write(2, _LINE.encode())


def _leave(_number: int, _frame: FrameType | None) -> None:
    say()
    os._exit(EXIT_CODE)


def _note(number: int, _frame: FrameType | None) -> None:
    _noted.append(number)
    raise KeyboardInterrupt


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """An error in a destructor: where it is KeyboardInterrupt, it would be lost."""
    if noted():
        _leave(0, None)
    sys.__unraisablehook__(what)
