"""How a model's figures differ from those of the last commit, and from other experiments."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octet.core import yaml
from octet.core.folder import ModelFolder
from octet.core.machine import machine_changes
from octet.core.params import FILE, Settings, inherit, with_new_names
from octet.project.git import DISTRUST, git

FILES = ("summary", "int8", "fp32")
Row = tuple[str, str, str, str]  # what, before, after, the difference
OTHER_MACHINE = "other machine"
# Of an experiment, what its row shows: the figure in summary.json, its head, and its form.
FIGURES = {
    "int8_top1_pct": ("int8 top-1, %", "{:.2f}"),
    "top1_drop_pt": ("drop, points", "{:+.2f}"),
    "agreement_pct": ("agreement, %", "{:.2f}"),
    "probability_shift_pct": ("probability shift, %", "{:.3f}"),
    "sqnr_db": ("SQNR, dB", "{:.1f}"),
    "speedup_1_thread": ("speed-up, 1 thread", "{:.2f}"),
    "size_ratio": ("times smaller", "{:.2f}"),
}


@dataclass(frozen=True)
class Change:
    """Between two states of the project.

    Args:
        before: The name of the one.
        after: That of the other.
        rows: What differs, speeds last.
        other_machine: What the two machines differ in, where their speeds cannot be compared; otherwise nothing.
    """

    before: str
    after: str
    rows: list[Row]
    other_machine: str = ""


@dataclass(frozen=True)
class _State:
    """Figures and parameters by their key, and the machine of the speeds."""

    values: dict[str, Any]
    machine: dict[str, Any]


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
    states = [("the workspace", _state(name, now, params))]
    states += [(f"commit {commit}", then) for commit in commits.split() if (then := _committed(name, commit))]
    after, here = states[0]
    for before, there in states[1:]:
        rows = _rows(there.values, here.values)
        if rows:
            return Change(before, after, rows, machine_changes(there.machine, here.machine))
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
    measured = [(row, summary) for row in shown if _has_figures(row, name) and (summary := _summary(name, row["rev"]))]
    params = [_params(name, row["rev"]) for row, _ in measured]
    varied = sorted(key for key in {key for of in params for key in of} if len({str(of.get(key)) for of in params}) > 1)
    shown_figures = {key: form for key, form in FIGURES.items() if any(key in summary for _, summary in measured)}
    rows: list[list[str]] = []
    for (row, summary), of in zip(measured, params, strict=True):
        commit = f"commit {row['rev'][:7]}" if len(rows) > 1 else "last commit"  # whose rev is its branch
        label = row["Experiment"] or ("workspace" if row["rev"] == "workspace" else commit)
        figures = [(summary.get(key), form) for key, (_, form) in shown_figures.items()]
        texts = [form.format(value) if isinstance(value, int | float) else "" for value, form in figures]
        other = machine_changes(summary.get("machine") or {}, measured[0][1].get("machine") or {})
        texts = [
            f"{text} ({OTHER_MACHINE})" if other and _is_speed(k) else text
            for k, text in zip(shown_figures, texts, strict=True)
        ]
        rows.append([label, *(_text(of.get(key)) for key in varied), *texts])
    return Experiments(["experiment", *varied, *(head for head, _ in shown_figures.values())], rows)


def _has_figures(row: dict[str, Any], name: str) -> bool:
    """Did it run? DVC writes the file before a key where other files have that key, too; once it was the summary's."""
    files = (f"metrics/{name}/{file}.json:" for file in ("int8_vs_fp32", "summary"))
    keys = [f"{file}{key}" for file in (*files, "") for key in ("agreement_pct", "sqnr_db")]
    return any(row.get(key) is not None for key in keys)


def _summary(name: str, revision: str) -> dict[str, Any]:
    """summary.json of a revision, or of the workspace, as far as it can be read."""
    path = ModelFolder(name).summary
    try:
        content = json.loads(path.read_text("utf-8") if revision == "workspace" else _git("show", f"{revision}:{path}"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _params(name: str, revision: str) -> dict[str, Any]:
    """What of params.yaml counts for the model in a revision: DVC's table cannot tell null from what is not there."""
    text = Path(FILE).read_text("utf-8") if revision == "workspace" else _git("show", f"{revision}:{FILE}")
    flat = _counting(name, text) if text else {}
    return {key.removeprefix(f"models.{name}."): value for key, value in flat.items()}


def _text(value: Any) -> str:
    return f"{value:.8g}" if isinstance(value, float) else "" if value is None else str(value)


def _committed(name: str, commit: str) -> _State | None:
    """The state of a commit; None where it lacks a file."""
    texts = {file: _git("show", f"{commit}:metrics/{name}/{file}.json") for file in FILES}
    params = _git("show", f"{commit}:params.yaml")
    if not params or not all(texts.values()):
        return None
    return _state(name, {file: json.loads(text) for file, text in texts.items()}, params)


def _state(name: str, figures: dict[str, dict[str, Any]], params: str) -> _State:
    """Parameters by their path, numbers as « file: key ». top1_pct of fp32 and int8 stand in the summary already."""
    flat = _counting(name, params)
    for file in FILES:
        for key, value in figures[file].items():
            if isinstance(value, int | float) and not (file != "summary" and key in ("top1_pct", "n_images")):
                flat[f"{file}: {key}"] = value
    return _State(flat, figures["summary"].get("machine") or {})


def _counting(name: str, params: str) -> dict[str, Any]:
    """The parameters that count for a model, by their path: where its entry has a setting of its own, that one."""
    flat: dict[str, Any] = {}
    values, _ = with_new_names(yaml.parse(params, FILE).values)
    entry = (inherit(values).get("models") or {}).get(name) or {}
    of_entry = {key: value for key, value in entry.items() if key in Settings.model_fields}
    rest = {key: value for key, value in entry.items() if key not in of_entry}
    _walk(values | of_entry | {"models": {name: rest}}, "", flat)
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
    return sorted(rows, key=lambda row: _is_speed(row[0]))


def _is_speed(key: str) -> bool:
    return "fps" in key or "speedup" in key


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
