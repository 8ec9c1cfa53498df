"""The one exception that a user's mistake raises, and how a command ends on it."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable


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
    """Runs a command's main function: an OctetError is printed in red, without a traceback, and exits with 1."""
    try:
        main()
        sys.stdout.flush()
    except OctetError as error:
        red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
        print(f"{red}error:{plain} {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; finished stages are kept, 'dvc repro' goes on from them", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # who reads the output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
