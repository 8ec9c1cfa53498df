"""What git says of the project's folder, and why it says nothing where it does not trust the folder."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

DISTRUST = (
    "git does not trust this folder, which belongs to another user (dubious ownership); "
    "'git config --global --add safe.directory' with this folder's path behind it tells git that you do"
)


@dataclass(frozen=True)
class GitAnswer:
    """What a git command printed.

    Args:
        text: Its output; empty where it failed or there is no git.
        problem: Why there is no output, as half a sentence; None where git did as it was told.
    """

    text: str
    problem: str | None = None


def git(*args: str) -> GitAnswer:
    """Runs git in the current folder."""
    try:
        done = subprocess.run(
            ["git", *args], capture_output=True, text=True, errors="replace", env=os.environ | {"LC_ALL": "C"}
        )
    except OSError:  # it is not installed, or may not be run
        return GitAnswer("", "no git")
    if done.returncode == 0:
        return GitAnswer(done.stdout)
    return GitAnswer("", DISTRUST if "dubious ownership" in done.stderr else "not in a git work tree")
