"""params.yaml: what each parameter means and may be, and one check of the whole file.

A field's metadata holds its question (`what`), a value that works (`example`) and its limits: `choices`, and with
`files` also the names of the files that match beside params.yaml; `low` and `high`, both allowed. Every key is
required, so that DVC can track it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from octet.errors import OctetError, nearest
from octet.files import read_bytes

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_NAME_RULE = "Use letters, digits, _ and -, with . only inside and no - in front: it names a folder and DVC stages"
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of texts"}
_BAD = object()  # what a check returns for a value that it has reported


def _param(what: str, **rules: Any) -> Any:
    return field(metadata={"what": what, **rules})


@dataclass(frozen=True)
class Model:
    config: str = _param(
        "Which mmcls config? A file, or a name in mmcls's zoo as resnet/resnet18_8xb16_cifar10.py",
        example="configs/models/my_model.py",
    )
    checkpoint: str = _param("Which weights?", example="models/my_model.pth")
    trusted: bool = _param(
        "May reading the checkpoint run code? Only for files whose origin you trust.", example=False
    )
    data: str = _param("Which data set folder?", example="data/digits32")
    keep_fp32: tuple[str, ...] = _param("Which ncnn layers stay in fp32? Names as in fp32.param.", example=[])
    max_drop_pt: float = _param(
        "How many points of top-1 may int8 lose before `make check` fails?", low=0, high=100, example=0.3
    )


@dataclass(frozen=True)
class Export:
    opset: int = _param("Which ONNX opset? 11 to 13: what both PPQ and pnnx read.", low=11, high=13, example=13)


@dataclass(frozen=True)
class Ppq:
    algorithm: str = _param(
        "Which of PPQ's algorithms? percentile, kl, mse or minmax",
        choices=("percentile", "kl", "mse", "minmax"),
        example="percentile",
    )
    batch: int = _param("How many images a step?", low=1, example=32)


@dataclass(frozen=True)
class Calibrate:
    method: str = _param(
        "Which calibrator? minmax, kl, mse or ppq", choices=("minmax", "kl", "mse", "ppq"), example="kl"
    )
    images: int = _param("How many training images? PPQ needs at least 8.", low=1, example=256)
    ppq: Ppq = _param("How does PPQ calibrate? Only read where method is ppq.")

    @staticmethod
    def conflicts(valid: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """(key, problem) for values that are valid alone but not together."""
        if valid.get("method") == "ppq" and valid.get("images", 8) < 8:
            yield "images", f"PPQ needs at least 8, found {valid['images']}. Raise it or choose another calibrate.method"


@dataclass(frozen=True)
class Evaluate:
    limit: int | None = _param("How many test images? null means all.", low=1, example=None)


@dataclass(frozen=True)
class Benchmark:
    runs: int = _param("How many timed runs of each kind?", low=1, example=100)
    warmup: int = _param("How many untimed runs before them?", low=0, example=10)


@dataclass(frozen=True)
class Params:
    models: dict[str, Model] = _param("Which models? One entry a model")
    target: str = _param(
        "Which int8 kernels does the device run best? dotprod, ncnn2int8, or a file in configs/targets/",
        choices=("dotprod", "ncnn2int8"),
        files="configs/targets/*.yaml",
        example="dotprod",
    )
    export: Export = _param("How is the model exported?")
    calibrate: Calibrate = _param("How are the activations' scales found?")
    evaluate: Evaluate = _param("On what is the accuracy measured?")
    benchmark: Benchmark = _param("How is the latency measured?")


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and checks the whole file; it looks at no other file but the names in configs/targets/ beside it.

    Raises OctetError with one line for each problem, or with the place of a syntax error.
    """
    problems: list[str] = []
    found = _yaml(read_bytes(path, "run this in the project's top folder, where it lies"), path, problems)
    params = _Check(Path(path), problems).section("", Params, found)
    if problems:
        raise OctetError("\n".join(problems))
    return params


def model(params: Params, name: str) -> Model:
    """The entry of that name; OctetError names the nearest one and shows what to add to params.yaml."""
    if name in params.models:
        return params.models[name]
    missing = f"params.yaml: models.{name}: no such model. {nearest(name, params.models)}"
    if not _NAME.fullmatch(name):
        raise OctetError(f"{missing} It cannot be added under this name. {_NAME_RULE}")
    key = name if yaml.load(name, _Loader) == name else f'"{name}"'
    lines = [f"# {f.metadata['what']}\n{_entry(f.name, f.metadata['example'])}" for f in fields(Model)]
    entry = "\n".join(lines).replace("my_model", name).replace("\n", "\n    ")
    raise OctetError(f"{missing} To add it, put this into params.yaml:\n\nmodels:\n  {key}:\n    {entry}")


class _Check:
    """Walks the dataclasses and what was found side by side, and reports each difference with the key's full path."""

    def __init__(self, file: Path, problems: list[str]) -> None:
        self.file, self.problems = file, problems

    def report(self, at: str, problem: str) -> Any:
        self.problems.append(f"{self.file}: {at}: {problem}" if at else f"{self.file}: {problem}")
        return _BAD

    def section(self, at: str, cls: type, found: Any) -> Any:
        kinds, rules = get_type_hints(cls), {f.name: f.metadata for f in fields(cls)}
        if not isinstance(found, dict):
            return self.report(at, f"expected a mapping with the keys {', '.join(rules)}, found {_show(found)}")
        for key in found:
            if key not in rules:
                self.report(_join(at, key), f"unknown key. {nearest(str(key), rules)}")
        valid = {}
        for key, rule in rules.items():
            here, example = _join(at, key), f"For example '{_entry(key, _example(kinds[key], rule))}'"
            if key not in found:
                self.report(here, f"missing key. {rule['what']} {example}")
            elif is_dataclass(kinds[key]):
                valid[key] = self.section(here, kinds[key], found[key])
            elif get_origin(kinds[key]) is dict:
                valid[key] = self.entries(here, get_args(kinds[key])[1], found[key], example)
            else:
                valid[key] = self.value(here, kinds[key], rule, found[key], example)
        valid = {key: value for key, value in valid.items() if value is not _BAD}
        for key, problem in cls.conflicts(valid) if hasattr(cls, "conflicts") else ():
            self.report(_join(at, key), problem)
        return cls(**valid) if len(valid) == len(rules) else _BAD

    def entries(self, at: str, cls: type, found: Any, example: str) -> Any:
        if not isinstance(found, dict) or not found:
            return self.report(at, f"expected a mapping with at least one name, found {_show(found)}. {example}")
        for name in found:
            if not isinstance(name, str):
                self.report(_join(at, name), "expected text as the name, found another type. Put it in quotes")
            elif not _NAME.fullmatch(name):
                self.report(_join(at, name), f"not a usable name. {_NAME_RULE}")
        return {name: self.section(_join(at, name), cls, entry) for name, entry in found.items()}

    def value(self, at: str, kind: Any, rule: Any, found: Any, example: str) -> Any:
        optional = isinstance(kind, UnionType)
        if optional and found is None:
            return None
        kind = get_args(kind)[0] if optional else get_origin(kind) or kind
        if kind is tuple and isinstance(found, list):
            items = [self.value(f"{at}[{i}]", str, {}, item, example) for i, item in enumerate(found)]
            return _BAD if _BAD in items else tuple(items)
        low, high = rule.get("low", float("-inf")), rule.get("high", float("inf"))
        choices = rule.get("choices", ())
        if "files" in rule:
            choices = {*choices, *(path.stem for path in self.file.parent.glob(rule["files"]))}
        typed = type(found) is kind or (kind is float and type(found) is int)
        if typed and choices and found not in choices:
            return self.report(at, f"unknown value {_show(found)}. {nearest(found, choices)}")
        if typed and (found != "" if kind is str else low <= found <= high):
            return float(found) if kind is float else found
        span = f" from {low} to {high}" if "high" in rule else f" of at least {low}" if "low" in rule else ""
        expected = f"one of {', '.join(sorted(choices))}" if choices else _KINDS[kind] + span
        null = " or null" if optional else ""
        return self.report(at, f"expected {expected}{null}, found {_show(found)}. {example}")


def _join(at: str, key: Any) -> str:
    return f"{at}.{key}" if at else str(key)


def _example(kind: Any, rule: Any) -> Any:
    if get_origin(kind) is dict:
        return {"my_model": _example(get_args(kind)[1], {})}
    if is_dataclass(kind):
        return {f.name: _example(get_type_hints(kind)[f.name], f.metadata) for f in fields(kind)}
    return rule["example"]


def _entry(key: str, value: Any) -> str:
    """« key: value » as one line of YAML."""
    return yaml.safe_dump({key: value}, default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]


def _show(value: Any) -> str:
    if isinstance(value, list | dict):
        return ("" if value else "an empty " if isinstance(value, list) else "an empty ") + type(value).__name__
    return json.dumps(value, ensure_ascii=False, default=str)


class _Loader(yaml.SafeLoader):
    pass
