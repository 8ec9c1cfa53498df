"""The one exception that a user's mistake raises, and how a command ends on it."""

from __future__ import annotations

import difflib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterable

from octet.core import interrupt

_PIPE_CLOSED = 141
_ADVICE = {
    errno.ENOSPC: "the disk is full: make room on it",
    errno.EDQUOT: "the disk quota is used up: make room on it",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EROFS: "the disk is read-only: work in a copy on another disk",
    errno.EACCES: "you may not: change the owner or the permissions of the file or its folder",
    errno.EPERM: "you may not: change the owner or the permissions of the file or its folder",
    errno.EIO: "the disk is damaged or was removed",
    errno.EMFILE: "raise the limit of open files, as by 'ulimit -n 4096'",
}


class OctetError(Exception):
    """Something that the user can mend. The message names the file or key, what was expected and what to do."""


class Unreadable(OctetError):
    """An image that cannot be read. A few among many are left out; see octet.data.unreadable."""


def nearest(name: str, known: Iterable[str]) -> str:
    """« Did you mean 'x'? » for the known name closest to this one, or the list of the known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    return "Known: " + ", ".join(known[:20]) + (" …" if len(known) > 20 else "") + "."


def run(main: Callable[[], None]) -> None:
    """Runs a command's main function to its end: with 0, or with one line on standard error and without a traceback.

    The line is red on a terminal, for an OctetError, for a file that the system does not let Octet read or write, and
    where memory does not suffice: 1. Ctrl-C, whatever it became on its way: 130. Where whoever reads the output has
    enough, as `head` does, there is nothing to say: 141. All else is Octet's own fault and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # on a terminal that is not UTF-8, ± is better a ? than an end
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")
    interrupt.note()
    try:
        main()
        _flush()
    except BaseException as error:  # to look at what it is; it goes on unless it is known
        interrupt.leave_at_once()
        if interrupt.noted() or isinstance(error, KeyboardInterrupt):
            interrupt.say()
            code = interrupt.EXIT_CODE
        elif isinstance(error, BrokenPipeError):
            code = _PIPE_CLOSED
        elif problem := _problem(error):
            red, plain = ("\033[31m", "\033[0m") if sys.stderr and sys.stderr.isatty() else ("", "")
            print(f"{red}error:{plain} {problem}", file=sys.stderr)
            code = 1
        else:
            raise
        _drop_output()
        sys.exit(code)


def reason(error: OSError) -> str:
    """What the system says, and what a user can do about it."""
    words = error.strerror or str(error) or type(error).__name__
    return f"{words}; {_ADVICE[error.errno]}" if error.errno in _ADVICE else words


def _problem(error: BaseException) -> str | None:
    """One line for what is no fault of Octet's; None for all else."""
    if isinstance(error, OctetError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"memory does not suffice{f' ({error})' if str(error) else ''}; end other programs, or take fewer images"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or 'a file or standard output'}: {reason(error)}"
    return None


def _flush() -> None:
    if sys.stdout:  # None where it is closed
        sys.stdout.flush()


def _drop_output() -> None:
    """Nothing more goes to a standard output that takes no more: Python would complain of it at its end."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
