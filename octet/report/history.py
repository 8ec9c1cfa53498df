"""How a model's figures differ from those of the last commit, and from other experiments."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from octet.core import yaml
from octet.core.params import with_new_names
from octet.project.git import DISTRUST, git

FILES = ("summary", "int8", "fp32")
Row = tuple[str, str, str, str]  # what, before, after, the difference
# Of an experiment, what its row shows: the figure in summary.json, its head, and its form.
FIGURES = {
    "int8_top1_pct": ("int8 top-1, %", "{:.2f}"),
    "top1_drop_pt": ("drop, points", "{:+.2f}"),
    "agreement_pct": ("agreement, %", "{:.2f}"),
    "probability_shift_pct": ("probability shift, %", "{:.3f}"),
    "speedup_1_thread": ("speed-up, 1 thread", "{:.2f}"),
    "size_ratio": ("times smaller", "{:.2f}"),
}


@dataclass(frozen=True)
class Change:
    """Between two states of the project, which `before` and `after` name."""

    before: str
    after: str
    rows: list[Row]


@dataclass(frozen=True)
class Experiments:
    """A table: its headers, and one row for each experiment."""

    headers: list[str]
    rows: list[list[str]]


def last_change(name: str, now: dict[str, dict[str, Any]], params: str) -> Change | None:
    """The workspace against the last commit; where they are the same, that commit against the one before it that had
    other figures. None without git or without earlier figures.

    Args:
        name: The model's.
        now: The workspace's figures, by FILES' names.
        params: The text of params.yaml.
    """
    commits = _git("log", "--format=%h", "-n", "30", "--", *(f"metrics/{name}/{file}.json" for file in FILES))
    if not commits:
        return None
    states = [("the workspace", _flat(name, now, params))]
    states += [(f"commit {commit}", committed) for commit in commits.split() if (committed := _state(name, commit))]
    after, here = states[0]
    for before, there in states[1:]:
        rows = _rows(there, here)
        if rows:
            return Change(before, after, rows)
        after, here = before, there
    return Change(after, "the workspace", [])


def experiments(name: str, commits: int = 3) -> Experiments | None:
    """DVC's experiments from the last commits, the workspace first. None where there are none."""
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        shown = dvc.api.exp_show(num=commits)
    except (DvcException, SCMError):
        return None
    if not any(row["Experiment"] for row in shown):
        return None
    measured = [row for row in shown if _of(row, name, "int8_top1_pct") is not None]
    params = {key for row in measured for key in row if _is_param(key, name)}
    varied = sorted(key for key in params if any(row.get(key) != measured[0].get(key) for row in measured))
    rows: list[list[str]] = []
    for row in measured:
        commit = f"commit {row['rev'][:7]}" if len(rows) > 1 else "last commit"  # whose rev is its branch
        label = row["Experiment"] or ("workspace" if row["rev"] == "workspace" else commit)
        figures = [(_of(row, name, key), form) for key, (_, form) in FIGURES.items()]
        texts = ["" if value is None else form.format(value) for value, form in figures]
        rows.append([label, *(_text(row.get(key)) for key in varied), *texts])
    names = [key.removeprefix(f"models.{name}.") for key in varied]
    return Experiments(["experiment", *names, *(head for head, _ in FIGURES.values())], rows)


def _of(row: dict[str, Any], name: str, key: str) -> float | None:
    """A figure of summary.json; DVC writes the file before its key where other files have that key, too."""
    value = row.get(f"metrics/{name}/summary.json:{key}", row.get(key))
    return value if isinstance(value, float) else None


def _is_param(key: str, name: str) -> bool:
    sections = (
        "target",
        "export.",
        "calibrate.",
        "evaluate.",
        f"models.{name}.",
        "mixed_precision",
        "rounding",
        "equalize",
    )
    return key.startswith(sections) and ":" not in key


def _text(value: Any) -> str:
    return f"{value:.8g}" if isinstance(value, float) else "" if value is None else str(value)


def _state(name: str, commit: str) -> dict[str, Any] | None:
    """The figures and parameters of a commit, by key; None where it lacks a file."""
    texts = {file: _git("show", f"{commit}:metrics/{name}/{file}.json") for file in FILES}
    params = _git("show", f"{commit}:params.yaml")
    if not params or not all(texts.values()):
        return None
    return _flat(name, {file: json.loads(text) for file, text in texts.items()}, params)


def _flat(name: str, figures: dict[str, dict[str, Any]], params: str) -> dict[str, Any]:
    """Parameters by their path, numbers as « file: key ». top1_pct of fp32 and int8 stand in the summary already."""
    flat: dict[str, Any] = {}
    settings, _ = with_new_names(yaml.parse(params, "params.yaml").values)
    settings["models"] = {name: settings.get("models", {}).get(name)}  # the others' are not this model's
    _walk(settings, "", flat)
    for file in FILES:
        for key, value in figures[file].items():
            if isinstance(value, int | float) and not (file != "summary" and key in ("top1_pct", "n_images")):
                flat[f"{file}: {key}"] = value
    return flat


def _walk(node: Any, at: str, flat: dict[str, Any]) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            _walk(value, f"{at}.{key}" if at else str(key), flat)
    else:
        flat[at] = node


def _rows(before: dict[str, Any], after: dict[str, Any]) -> list[Row]:
    """What is not the same in both, speeds last. A figure that one of them has not says nothing; a parameter does."""
    rows = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old != new and not (": " in key and None in (old, new)):
            rows.append((key, _text(old), _text(new), _difference(old, new)))
    return sorted(rows, key=lambda row: "fps" in row[0] or "speedup" in row[0])


def _difference(old: Any, new: Any) -> str:
    """What a number has changed by; nothing for what is no number."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (old, new)):
        return ""
    return f"{new - old:+.6g}"


def _git(*args: str) -> str:
    """What git says, or nothing where it cannot; where it does not trust the folder, a warning says so, once a command."""
    answer = git(*args)
    if answer.problem == DISTRUST and args[0] == "log":
        print(f"warning: the report has no earlier figures: {DISTRUST}", file=sys.stderr)
    return answer.text
