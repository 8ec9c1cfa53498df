"""Images that cannot be read: a few are left out and named, many are an error."""

from __future__ import annotations

import sys

from octet.core.errors import OctetError, Unreadable

TOLERATED = 0.01  # of the images; one always is


class Unread:
    """Counts the images that cannot be read.

    >>> unread = Unread(200, "calibrate")
    >>> unread.add(Unreadable("1.jpg: damaged"))
    >>> unread.problems
    ['1.jpg: damaged']

    Args:
        count: How many images there are in all.
        what: Who asks, for the messages.
    """

    def __init__(self, count: int, what: str):
        self.count, self.what = count, what
        self.problems: list[str] = []

    def add(self, problem: Unreadable) -> None:
        """Counts one more. Raises OctetError where they are too many."""
        self.problems.append(str(problem))
        if len(self.problems) > max(1, TOLERATED * self.count):
            raise OctetError(
                f"{self.what}: more than {100 * TOLERATED:.0f} % of {self.count:,} images cannot be read; mend or remove them:\n"
                + "\n".join(sorted(self.problems)[:5])
            )

    def report(self) -> None:
        """Names them on standard error."""
        if self.problems:
            print(
                f"warning: {self.what}: {len(self.problems)} of {self.count:,} images cannot be read and were left out:\n"
                + "\n".join(sorted(self.problems)),
                file=sys.stderr,
            )
