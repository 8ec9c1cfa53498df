"""Images that cannot be read: a few are left out and named, many are an error."""

from __future__ import annotations

import sys

from octet.core.errors import OctetError, Unreadable

TOLERATED = 0.01  # of the images; one always is


class Unread:
    """Counts the images that cannot be read, of so many, and raises OctetError when they are too many."""

    def __init__(self, count: int, what: str):
        self.count, self.what, self.problems = count, what, []

    def add(self, problem: Unreadable) -> None:
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
