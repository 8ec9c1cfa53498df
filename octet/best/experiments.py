"""A candidate as a DVC experiment: `dvc exp run` in a copy of the project, so that nothing here changes.

`dvc exp show` lists it, `dvc exp apply NAME` brings it here. Its accuracy is of hold-out images (evaluate.split=train).
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from octet.best.process import output
from octet.best.project_copy import ProjectCopy
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.params import FILE, Model
from octet.core.text import printable
from octet.project.git import git
from octet.project.track import unknown_to_git, untracked_files

STAGES = ("evaluate_fp32", "evaluate_int8")  # with all that they need
ENGINE_STAGES = ("evaluate_engines",)
_DVC = Path(__file__).parents[1] / "project" / "quick_dvc.py"


class OutOfTime(Exception):
    """The time was over before an experiment was."""


class Failed(Exception):
    """An experiment failed; its text says why: a stage's error."""


def check_git(name: str, entry: Model) -> None:
    """Checks that experiments can be run.

    Args:
        name: The model's.
        entry: Its entry.

    Raises:
        OctetError: Git has no commit or an unfinished merge, or neither it nor DVC has a file that the copy needs.
    """
    answer = git("rev-parse", "--verify", "--quiet", "HEAD")
    if answer.problem:
        problem = "no commit" if git("rev-parse", "--git-dir").problem is None else answer.problem
        raise OctetError(
            f"make best: {problem}. Its candidates are DVC experiments, which hang on a commit of git's: 'git init' where there is "
            "none yet, 'git add' and 'git commit'"
        )
    if conflicts := sorted({line.split("\t")[1] for line in git("ls-files", "--unmerged").text.splitlines()}):
        raise OctetError(
            f"make best: {', '.join(conflicts[:5])}: a merge is not finished; mend, 'git add' and commit first"
        )
    if missing := untracked_files(entry):
        raise OctetError(
            f"make best: neither git nor DVC tracks {' and '.join(map(str, missing))}, so an experiment's copy of the project "
            f"lacks it: make track MODEL={name}"
        )
    if unknown := " ".join(shlex.quote(str(path)) for path in unknown_to_git(entry)):
        raise OctetError(
            f"make best: git does not track {unknown}, so an experiment's copy of the project lacks it: git add {unknown}"
        )


def run(
    copy: ProjectCopy,
    name: str,
    settings: Mapping[str, Any],
    stages: Sequence[str],
    label: str,
    copied: Sequence[Path],
    seconds: float,
) -> ModelFolder | None:
    """Runs an experiment, unless there is one of that name.

    Args:
        copy: Where it runs.
        name: The model's.
        settings: Its settings, as an entry of params.yaml has them.
        stages: The stages that it needs, and all before them.
        label: The experiment's name.
        copied: Files that git does not have and the experiment needs.
        seconds: How long it may take.

    Returns:
        The model's files, until the next experiment runs in this copy; None: there is such an experiment.

    Raises:
        OutOfTime: It took longer, and was ended.
        Failed: A stage ended with an error.
    """
    if _reference(label):
        return None
    words = ["exp", "run", "--quiet", "--name", label]
    command = [sys.executable, str(_DVC), *words, *(f"{stage}@{name}" for stage in stages)]
    try:
        with copy.renewed(copied):
            _write_settings(copy.folder / FILE, name, settings)
            printed = output(command, copy.folder, seconds)
    except subprocess.TimeoutExpired:
        raise OutOfTime from None
    if not (reference := _reference(label, copy.folder)):
        raise Failed(_reason(printed))
    copy.hand_over(reference)
    return ModelFolder(name, copy.folder)


def fetch(name: str, label: str, engine: str, folder: Path) -> ModelFolder:
    """A model's files as an experiment has them: those that judge int8.

    Args:
        name: The model's.
        label: The experiment's name.
        engine: Whose int8.
        folder: Where the files are put.

    Raises:
        OctetError: DVC no longer has them, as after `dvc gc`.
    """
    from dvc.api import DVCFileSystem

    experiment = DVCFileSystem(rev=git("rev-parse", _reference(label)).text.strip())
    there = ModelFolder(name, folder)
    files = [*there.int8, there.table, there.predictions("int8")]
    if engine != "ncnn":
        files = [there.engine(engine), there.engine_layers]
    for path in [there.predictions("fp32"), *files]:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            experiment.get_file(path.relative_to(folder).as_posix(), str(path))
        except FileNotFoundError:
            raise OctetError(
                f"experiment {label}: DVC no longer has its {path.name}: 'dvc exp remove {label}', and make best runs it again"
            ) from None
    return there


def _write_settings(path: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Writes settings into a copy's params.yaml, as `dvc exp run -S` does, whose grammar lacks names such as 3d and true."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(str(path)) as values:
        _merge(values["models"][name], settings)


def _merge(into: MutableMapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Writes settings into a mapping; of a section the keys that it has there alone stay."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            if not isinstance(into.get(key), MutableMapping):
                into[key] = {}
            _merge(into[key], value)
        else:
            into[key] = value


def _reference(label: str, folder: Path = Path()) -> str:
    """The git reference of the newest experiment of that name; empty: there is none."""
    names = git("-C", str(folder), "for-each-ref", "--format=%(refname)", "refs/exps").text.splitlines()
    return next((name for name in names if name.rpartition("/")[2] == label), "")


def _reason(printed: str) -> str:
    """What a stage said why it failed, or what DVC did."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()]
    own = [line.partition("error:")[2].strip() or line for line in errors if not line.startswith("ERROR")]
    return printable((own or errors or lines or [f"see 'dvc exp run' with {FILE}"])[-1], 600)
