"""A copy of the project, in which DVC's experiments run one after the other.

`dvc exp run --temp` makes one for each experiment, and sends all of git's history and the data there: 10 of 25 s.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from octet.best.process import undisturbed
from octet.core.errors import OctetError
from octet.core.text import printable
from octet.project.git import git
from octet.project.lock import locked_folder, try_lock

_TEMPORARY = Path(".dvc/tmp")  # git and DVC ignore it, and from below it stages/python finds the environment
_PREFIX = "octet-best-"


class ProjectCopy:
    """The project as it is, what is changed included: git's files, and DVC's with the first experiment.

    It shares git's objects and DVC's cache with the project. While it is in use it is locked, and copies that are not,
    which a killed search left, are removed.

    Raises:
        OctetError: Git does not make it.
    """

    def __init__(self) -> None:
        head = _git("rev-parse", "HEAD")
        is_changed = _git("diff", "--name-only", "HEAD") != ""  # else git stash fails
        self._state = _git("stash", "create") if is_changed else head  # a commit on no branch
        _TEMPORARY.mkdir(exist_ok=True)
        with locked_folder(_TEMPORARY):  # else another search that begins could remove the copy before it is locked
            _remove_unlocked()
            self._top = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_TEMPORARY)).resolve()
            self._lock = os.open(self._top, os.O_RDONLY)
            try_lock(self._lock)
        self.folder = self._top / _git("rev-parse", "--show-prefix")
        try:
            self._fill(head)
        except BaseException:  # Ctrl-C is one
            self.remove()
            raise

    def _fill(self, head: str) -> None:
        """Makes it a git work tree at a commit. Not by git clone, which does not share the objects where the history is shallow."""
        objects, shallow = (Path(_git("rev-parse", "--git-path", name)).resolve() for name in ("objects", "shallow"))
        self._git("init", "--quiet")
        (self._top / ".git/objects/info/alternates").write_bytes(os.fsencode(objects) + b"\n")
        self._git("config", "lfs.storage", str(objects.parent / "lfs"))  # of git-lfs, where a project has it
        if shallow.is_file():
            shutil.copy(shallow, self._top / ".git/shallow")
        for key in ("user.name", "user.email"):
            if value := git("config", key).text.strip():
                self._git("config", key, value)
        self._git("checkout", "--quiet", "--detach", head)
        _configure(self.folder / ".dvc")

    @contextmanager
    def renewed(self, copied: Sequence[Path]) -> Iterator[None]:
        """Git's files as they were at first, and for as long some that git does not have.

        Args:
            copied: Files of the project.
        """
        self._git("read-tree", "-u", "--reset", self._state)
        for path in copied:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.folder / path)
        try:
            yield
        finally:
            for path in copied:
                (self.folder / path).unlink(missing_ok=True)

    def hand_over(self, reference: str) -> None:
        """Gives a commit to the project, under the same reference."""
        _git("fetch", "--quiet", str(self._top), f"{reference}:{reference}")

    def remove(self) -> None:
        """Removes it."""
        # locked, else another search that begins could find it half removed
        with undisturbed(), locked_folder(self._top.parent):
            shutil.rmtree(self._top, ignore_errors=True)
            os.close(self._lock)

    def _git(self, *words: str) -> None:
        _git(*words, folder=self._top)


def _remove_unlocked() -> None:
    """Removes copies that no process holds: a search was killed before it could."""
    for left in _TEMPORARY.glob(f"{_PREFIX}*"):
        folder = os.open(left, os.O_RDONLY)
        try:
            if try_lock(folder):  # else another search is at work in it
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(folder)


def _git(*words: str, folder: Path = Path()) -> str:
    """What git prints in a folder, where it has to do as it is told."""
    ran = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, errors="replace")
    if ran.returncode:
        raise OctetError(f"make best: git {words[0]}: {printable(ran.stderr.strip(), 600)}")
    return ran.stdout.strip()


def _configure(folder: Path) -> None:
    """Writes a copy's .dvc/config.local: that of the project, and where the project's cache is."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo() as project:
        local, cache = project.config.read("local"), project.cache.local_cache_dir
    with Config(str(folder)).edit("local") as config:
        config.update(local)
        config["cache"]["dir"] = cache
