"""octet track: an added model's own files into DVC and git, as experiments with --temp and in the queue need them.

DVC runs these in a copy of the project that has only what git or DVC tracks. Large files go to DVC, which copies them into its
cache; git gets the small files that name them, and is left to commit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Model
from octet.core.places import config_files, is_file
from octet.project.entries import stage_outputs
from octet.project.git import git

_SHARED = ("params.yaml", "configs", "dvc.lock", "data/dvc.lock", "downloads/params.yaml", "downloads/dvc.lock")


def track(name: str, entry: Model) -> list[str]:
    """Gives the checkpoint and the data of a model to DVC, and what is small to git's index.

    What a stage makes or fetches, and what DVC or git has, stays as it is.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.

    Returns:
        What was done with the checkpoint and the data, a line each.

    Raises:
        OctetError: This is no clone of git's, or a file lies where no copy of the project could have it.
    """
    if _git("rev-parse", "--git-dir"):
        raise OctetError("experiments need git, and this folder is no work tree of it: 'git init' makes it one")
    lines, small = [], [Path(file) for file in _SHARED]
    for key, path in (("checkpoint", Path(entry.checkpoint)), ("data", Path(entry.data))):
        lines.append(f"{path}: {_give_to_dvc(f'{params.FILE}: models.{name}.{key}', path)}")
        small += [Path(f"{path}.dvc"), path.parent / ".gitignore"]
    folder = ModelFolder(name)
    small += [folder.summary, folder.comparison, folder.latency, folder.analysis, *map(folder.figures, PRECISIONS)]
    there = [str(path) for path in dict.fromkeys(small) if path.exists() and not _is_outside(path)]
    problem = _git("add", "--", *there)
    if problem:
        raise OctetError(f"git add: {problem}")
    return lines


def untracked_files(entry: Model) -> list[Path]:
    """The checkpoint and the data of an entry where a copy of the project would lack them; without git, none."""
    if _git("rev-parse", "--git-dir"):
        return []
    return [path for path in (Path(entry.checkpoint), Path(entry.data)) if not is_tracked(path)]


def unknown_to_git(entry: Model) -> list[Path]:
    """Files that a model's config and params.yaml are made of, where git's index lacks them, and so does a copy.

    Of every model what says how images are pre-processed: without it params.yaml cannot be read. Not the checkpoint and the data.

    Args:
        entry: The model's entry in params.yaml.
    """
    named = [Path(params.FILE), *_preprocessing_files(), *(config_files(entry.config) if entry.config else [])]
    known = set(git("ls-files", "-z").text.split("\0"))
    return [path for path in dict.fromkeys(map(_inside, named)) if path and path.as_posix() not in known]


def _preprocessing_files() -> Iterator[Path]:
    """The pre-processing files that entries of params.yaml name, and the lists of classes that these and entries name."""
    models = yaml.read(params.FILE, "run this in the project's top folder").values["models"]
    for entry in models.values():
        steps, folder = entry.get("preprocess"), Path()
        if isinstance(steps, str) and is_file(path := Path(steps)):
            yield path
            steps, folder = yaml.read(path, "params.yaml names it").values, path.parent
        if isinstance(steps, dict) and isinstance(steps.get("classes"), str):
            yield folder / steps["classes"]


def _inside(path: Path) -> Path | None:
    """A file's path from the project's folder, by no link; None where there is none or it lies elsewhere."""
    return path.resolve().relative_to(Path.cwd()) if is_file(path) and not _is_outside(path) else None


def is_tracked(path: Path) -> bool:
    """Does a copy of the project have the file or folder? Where a stage makes it, DVC or git has it, or it lies outside."""
    return (
        str(path) in stage_outputs()
        or Path(f"{path}.dvc").is_file()
        or path.is_absolute()
        or not _git("ls-files", "--error-unmatch", "--", str(path))
    )


def _give_to_dvc(where: str, path: Path) -> str:
    """What was done, in words. where: the key that names the path, for errors."""
    if path.is_absolute():
        return "outside the project, and read there"
    if is_tracked(path):
        return "is tracked already"
    if _is_outside(path):
        raise OctetError(
            f"{where}: {path}: leads out of the project, where a copy of it finds nothing; move it here, or give its full path"
        )
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "add", "--quiet", "--", str(path)], capture_output=True, text=True
    )
    if done.returncode:
        raise OctetError(f"{where}: dvc add {path}: {done.stderr.strip() or done.stdout.strip()}")
    return f"given to DVC: {path}.dvc"


def _is_outside(path: Path) -> bool:
    """Does it lie, or lead by a link, out of the project?"""
    return not path.resolve().is_relative_to(Path.cwd())


def _git(*words: str) -> str:
    """Why git fails, or nothing."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no git"
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
