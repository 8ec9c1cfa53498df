"""params.yaml: what each parameter means and may be (its Rule, beside the field), and one check of the whole file.

Every key is required, so that DVC can track it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from math import inf
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import yaml

from octet.errors import OctetError, nearest
from octet.files import read_bytes

TARGETS, PROFILES = ("dotprod", "ncnn2int8"), "configs/targets/*.yaml"
METHODS = ("minmax", "kl", "mse", "ppq")
ALGORITHMS = ("percentile", "kl", "mse", "minmax")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_NAME_RULE = "It names a folder and DVC stages: use letters, digits, _ and -, with . only inside and no - in front"
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of texts"}
_BAD = object()  # stands for a value whose problem is reported


@dataclass(frozen=True)
class Rule:
    """The question that a parameter answers, a value that works, and the limits: low and high are allowed themselves."""

    what: str
    example: Any
    low: float = -inf
    high: float = inf
    choices: tuple[str, ...] = ()
    files: str = ""  # the files that match this, beside params.yaml, are choices too, without their ending


@dataclass(frozen=True)
class Model:
    config: Annotated[str, Rule("Which mmcls config?", "configs/models/NAME.py")]
    checkpoint: Annotated[str, Rule("Which weights?", "models/NAME.pth")]
    trusted: Annotated[bool, Rule("May reading the checkpoint run code?", False)]
    data: Annotated[str, Rule("Which data set folder?", "data/digits32")]
    keep_fp32: Annotated[tuple[str, ...], Rule("Which ncnn layers stay in fp32?", [])]
    max_drop_pt: Annotated[float, Rule("How many points of top-1 may int8 lose?", 0.3, low=0, high=100)]


@dataclass(frozen=True)
class Export:
    opset: Annotated[int, Rule("Which ONNX opset?", 13, low=11, high=13)]


@dataclass(frozen=True)
class Ppq:
    """Only read where calibrate.method is ppq."""

    algorithm: Annotated[str, Rule("Which of PPQ's algorithms?", "percentile", choices=ALGORITHMS)]
    batch: Annotated[int, Rule("How many images a step?", 32, low=1)]


@dataclass(frozen=True)
class Calibrate:
    method: Annotated[str, Rule("Which calibrator?", "kl", choices=METHODS)]
    images: Annotated[int, Rule("How many training images?", 256, low=1)]
    ppq: Ppq

    @staticmethod
    def conflicts(valid: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """(key, problem) for values that are valid alone but not together."""
        if valid.get("method") == "ppq" and valid.get("images", 8) < 8:
            yield (
                "images",
                f"PPQ needs at least 8, found {valid['images']}. Raise it or choose another calibrate.method",
            )


@dataclass(frozen=True)
class Evaluate:
    limit: Annotated[int | None, Rule("How many test images?", None, low=1)]


@dataclass(frozen=True)
class Benchmark:
    runs: Annotated[int, Rule("How many timed runs of each kind?", 100, low=1)]
    warmup: Annotated[int, Rule("How many untimed runs before them?", 10, low=0)]


@dataclass(frozen=True)
class Params:
    models: dict[str, Model]
    target: Annotated[
        str, Rule("Which int8 kernels does the device run best?", "dotprod", choices=TARGETS, files=PROFILES)
    ]
    export: Export
    calibrate: Calibrate
    evaluate: Evaluate
    benchmark: Benchmark


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and checks the whole file; besides it, only the names of the files in configs/targets/ are looked at.

    Raises OctetError with one line for each problem, or with the place of a syntax error.
    """
    check = _Check(Path(path))
    params = check.section("", Params, check.read())
    if check.problems:
        raise OctetError("\n".join(check.problems))
    return params


def model(params: Params, name: str) -> Model:
    """The entry of that name; for an unlisted one, OctetError with the nearest name and the entry to add."""
    if name in params.models:
        return params.models[name]
    missing = f"params.yaml: models.{name}: no such model. {nearest(name, params.models)}"
    if not _NAME.fullmatch(name):
        raise OctetError(f"{missing} It can't be added under this name. {_NAME_RULE}")
    entry = "\n".join(f"  {line}" for line in _entry(name, flow=False).splitlines())
    raise OctetError(f"{missing} To add it, put its entry under 'models' in params.yaml:\n\nmodels:\n{entry}")


class _Check:
    """Walks a file and the dataclasses side by side; `problems` gets one line, with the key's full path, for each."""

    def __init__(self, file: Path) -> None:
        self.file, self.problems = file, []

    def report(self, at: str, problem: str) -> Any:
        self.problems.append(f"{self.file}: {at}: {problem}" if at else f"{self.file}: {problem}")
        return _BAD

    def read(self) -> Any:
        """The file's content, {} for an empty file. Keys given twice are reported, errors of syntax raised."""
        data = read_bytes(self.file, "run this in the project's top folder, where params.yaml lies")
        try:
            loader = _Loader(data)
            root = loader.get_single_node()
            self.twice("", root, set())
            return {} if root is None else loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark, why = error.problem_mark, error.problem
            raise OctetError(
                f"{self.file}: line {mark.line + 1}, column {mark.column + 1}: {why}. Mend the YAML"
            ) from None
        except (yaml.YAMLError, ValueError) as error:  # bytes that are no text; dates and tagged numbers that can't be
            raise OctetError(f"{self.file}: {' '.join(str(error).split())}. Mend the YAML") from None

    def twice(self, at: str, node: yaml.Node | None, seen: set[yaml.Node]) -> None:
        """Reports the keys given twice, of which PyYAML would keep the last without a word."""
        first: dict[tuple[str, str], int] = {}
        for key, child in node.value if isinstance(node, yaml.MappingNode) and node not in seen else ():
            seen.add(node)  # an alias may lead back to it
            here, line, same = _join(at, key.value), key.start_mark.line + 1, (key.tag, str(key.value))
            if first.setdefault(same, key) is not key:
                self.report(
                    here, f"given twice, in lines {first[same].start_mark.line + 1} and {line}. Keep one of them"
                )
            self.twice(here, child, seen)

    def section(self, at: str, cls: type, found: Any) -> Any:
        hints = get_type_hints(cls, include_extras=True)
        if not isinstance(found, dict):
            return self.report(at, f"expected a mapping with the keys {', '.join(hints)}, found {_show(found)}")
        for key in found:
            if key not in hints:
                self.report(_join(at, key), f"unknown key. {nearest(str(key), hints)}")
        valid = {}
        for key, hint in hints.items():
            here = _join(at, key)
            if get_origin(hint) is Annotated and key not in found:
                rule = hint.__metadata__[0]
                self.report(here, f"missing key. {rule.what} For example '{key}: {_show(rule.example)}'")
            else:  # a missing section is reported as its missing keys
                valid[key] = self.anything(here, hint, found.get(key, {}))
        valid = {key: value for key, value in valid.items() if value is not _BAD}
        for key, problem in getattr(cls, "conflicts", dict)(valid):
            self.report(_join(at, key), problem)
        return cls(**valid) if len(valid) == len(hints) else _BAD

    def anything(self, at: str, hint: Any, found: Any) -> Any:
        if get_origin(hint) is Annotated:
            return self.value(at, hint.__origin__, hint.__metadata__[0], found)
        return self.section(at, hint, found) if is_dataclass(hint) else self.entries(at, get_args(hint)[1], found)

    def entries(self, at: str, cls: type, found: Any) -> Any:
        if not isinstance(found, dict) or not found:
            example = _entry("my_model", flow=True)
            return self.report(at, f"expected at least one named entry, found {_show(found)}. For example '{example}'")
        for name in found:
            if not isinstance(name, str):
                self.report(_join(at, name), f"expected text as the name, found {_show(name)}. Put it in quotes")
            elif not _NAME.fullmatch(name):
                self.report(_join(at, name), f"not a usable name. {_NAME_RULE}")
        return {name: self.section(_join(at, name), cls, entry) for name, entry in found.items()}

    def value(self, at: str, kind: Any, rule: Rule, found: Any) -> Any:
        null = " or null" if isinstance(kind, UnionType) else ""
        if null and found is None:
            return None
        kind = get_args(kind)[0] if null else get_origin(kind) or kind
        if kind is tuple and isinstance(found, list):
            items = [self.value(f"{at}[{i}]", str, Rule("", ""), item) for i, item in enumerate(found)]
            return _BAD if _BAD in items else tuple(items)
        files = self.file.parent.glob(rule.files) if rule.files else ()
        choices = sorted({*rule.choices, *(path.stem for path in files)})
        typed = type(found) is kind or (kind is float and type(found) is int)  # so true is no whole number
        if typed and choices and found not in choices:
            return self.report(at, f"unknown value {_show(found)}. {nearest(found, choices)}")
        if typed and (found != "" if kind is str else rule.low <= found <= rule.high):
            return kind(found)
        span = f" of at least {rule.low}" if rule.high == inf else f" from {rule.low} to {rule.high}"
        expected = f"one of {', '.join(choices)}" if choices else _KINDS[kind] + (span if rule.low > -inf else "")
        return self.report(at, f"expected {expected}{null}, found {_show(found)}. For example {_show(rule.example)}")


def _join(at: str, key: Any) -> str:
    return f"{at}.{key}" if at else str(key)


def _show(value: Any) -> str:
    if isinstance(value, dict | list) and value:
        return "a mapping" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False, default=lambda other: f"{type(other).__name__} {other}")


def _entry(name: str, flow: bool) -> str:
    """A model's entry to paste, on one line (flow) or as a block."""
    hints = get_type_hints(Model, include_extras=True)
    examples = {key: hint.__metadata__[0].example for key, hint in hints.items()}
    examples = {key: text.replace("NAME", name) if isinstance(text, str) else text for key, text in examples.items()}
    text = yaml.dump({name: examples}, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, width=1000)
    return text.strip()[1:-1] if flow else text


_NUMBERS = {
    "bool": re.compile("true|True|TRUE|false|False|FALSE"),
    "int": re.compile("[-+]?([0-9][0-9_]*|0b[01][01_]*|0o[0-7][0-7_]*|0x[0-9a-fA-F][0-9a-fA-F_]*)"),
    "float": re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|\.[0-9_]+([eE][-+][0-9]+)?|\.inf)|\.nan"),
}


class _Scalars:
    """Reads booleans and numbers as YAML 1.2 and DVC's ruamel.yaml do; PyYAML takes 1e-3 for text and on for true."""

    def resolve(self, kind: type, value: str, implicit: Any) -> str:
        tag = super().resolve(kind, value, implicit)
        if kind is not yaml.ScalarNode or not implicit[0] or tag.rpartition(":")[2] not in (*_NUMBERS, "str"):
            return tag
        return "tag:yaml.org,2002:" + next((name for name in _NUMBERS if _NUMBERS[name].fullmatch(value)), "str")


class _Dumper(_Scalars, yaml.SafeDumper):
    pass


class _Loader(_Scalars, yaml.SafeLoader):
    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        digits = node.value.replace("_", "")
        return int(digits, 0 if re.search("[box]", digits) else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
