"""params.yaml: each parameter with its Rule beside it, all required as DVC tracks them, and one check of the file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import yaml

from octet.core.errors import OctetError, nearest
from octet.core.files import read_bytes

_OURS, _FILES = ("dotprod", "ncnn2int8"), "configs/targets/*.yaml"
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of texts"}
_show = json.JSONEncoder(ensure_ascii=False, default=str, skipkeys=True).encode
_ADDRESS = re.compile(r"(tcp|tls|wss?|ucx)://\S+:[0-9]+")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
NAME_RULE = "Names are text (18 needs quotes) of letters, digits, _ and -, no - in front: DVC splits at dots"


@dataclass(frozen=True)
class Rule:
    what: str  # the question that the parameter answers
    example: str  # a value that works, as it is written in YAML
    low: float = -inf  # the least and the greatest value, both allowed
    high: float = inf
    choices: tuple[str, ...] = ()
    optional: bool = False  # may be left out: no stage's `params` in dvc.yaml names it
    files: str = ""  # a pattern: the files that it finds beside params.yaml are choices too, without their ending


@dataclass(frozen=True)
class Model:
    config: Annotated[str, Rule("Which mmcls config?", "configs/models/NAME.py")]
    checkpoint: Annotated[str, Rule("Which weights?", "models/NAME.pth")]
    trusted: Annotated[bool, Rule("May reading the checkpoint run code?", "false")]
    data: Annotated[str, Rule("Which data set folder?", "data/digits32")]
    keep_fp32: Annotated[tuple[str, ...], Rule("Which ncnn layers stay in fp32?", "[]")]
    cuts: Annotated[tuple[str, ...], Rule("Which ncnn blobs or layers cut the model into several?", "[]")]
    max_drop_pt: Annotated[float, Rule("How many points of top-1 may int8 lose?", "0.3", low=0, high=100)]
    zoo: Annotated[str | None, Rule("Which model of mmcls's zoo?", "resnet18_8xb16_cifar10", optional=True)] = None

    @staticmethod
    def unfinished(found: dict[str, Any]) -> str:
        """What to do about keys that are missing."""
        return "'make quantize' fills in what an entry with 'zoo' leaves out" if "zoo" in found else ""


@dataclass(frozen=True)
class Export:
    opset: Annotated[int, Rule("Which ONNX opset?", "13", low=11, high=13)]


@dataclass(frozen=True)
class Ppq:
    algorithm: Annotated[str, Rule("Which PPQ algorithm?", "percentile", choices=("percentile", "kl", "mse", "minmax"))]
    batch: Annotated[int, Rule("How many images a step?", "32", low=1)]


@dataclass(frozen=True)
class Calibrate:
    method: Annotated[
        str, Rule("Which calibrator?", "kl", choices=("minmax", "percentile", "kl", "aciq", "mse", "ppq"))
    ]
    images: Annotated[int, Rule("How many training images?", "256", low=1)]
    weights: Annotated[str, Rule("How are the weights' scales found?", "absmax", choices=("absmax", "mse"))]
    percentile: Annotated[
        float, Rule("Which share of the values does method percentile keep, in percent?", "99.99", 50, 100)
    ]
    ppq: Ppq

    @staticmethod
    def conflicts(values: dict[str, Any]) -> dict[str, str]:
        """The key and the problem where values are valid alone (others are None or missing) but not together."""
        few = values.get("method") == "ppq" and (values.get("images") or 8) < 8
        return {"images": f"PPQ needs at least 8, found {values['images']}. Raise it or change 'method'"} if few else {}


@dataclass(frozen=True)
class Rounding:
    method: Annotated[str, Rule("How do weights become integers?", "nearest", choices=("nearest", "learned"))]
    images: Annotated[int, Rule("From how many training images is it learned?", "256", low=1)]


@dataclass(frozen=True)
class Analyze:
    images: Annotated[int, Rule("On how many training images?", "128", low=1)]


@dataclass(frozen=True)
class MixedPrecision:
    metric: Annotated[str, Rule("In what is the budget?", "none", choices=("none", "kl", "top1"))]
    budget: Annotated[float, Rule("How much may int8 lose?", "0.001", low=0)]
    images: Annotated[int, Rule("On how many held-out training images?", "1000", low=1)]


@dataclass(frozen=True)
class Evaluate:
    split: Annotated[str, Rule("On which split?", "test", choices=("test", "train"))]
    limit: Annotated[int | None, Rule("How many images?", "null", low=1)]


@dataclass(frozen=True)
class Benchmark:
    runs: Annotated[int, Rule("How many timed runs of each kind?", "100", low=1)]
    warmup: Annotated[int, Rule("How many untimed runs before them?", "10", low=0)]


@dataclass(frozen=True)
class Parallel:
    scheduler: Annotated[str | None, Rule("Which Dask scheduler gives calibrate and evaluate workers?", "null")]

    @staticmethod
    def conflicts(values: dict[str, Any]) -> dict[str, str]:
        """As Calibrate.conflicts."""
        address = values.get("scheduler")
        if address is None or _ADDRESS.fullmatch(address):
            return {}
        return {"scheduler": f"expected an address as tcp://host:8786, or null, found {_show(address)}"}


@dataclass(frozen=True)
class Params:
    models: dict[str, Model]
    target: Annotated[str, Rule("Which int8 kernels does the device run best?", "dotprod", choices=_OURS, files=_FILES)]
    export: Export
    equalize: Annotated[bool, Rule("Are channels between two layers scaled alike before calibration?", "false")]
    calibrate: Calibrate
    rounding: Rounding
    analyze: Analyze
    mixed_precision: MixedPrecision
    evaluate: Evaluate
    benchmark: Benchmark
    parallel: Parallel

    @staticmethod
    def conflicts(values: dict[str, Any]) -> dict[str, str]:
        """As Calibrate.conflicts."""
        both = values.get("equalize") and getattr(values.get("calibrate"), "method", None) == "ppq"
        return (
            {"equalize": "PPQ calibrates the ONNX model, which is not equalized. Change it or calibrate.method"}
            if both
            else {}
        )


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and checks the whole file; OctetError has one line for each problem, or the place of a syntax error."""
    try:
        found = yaml.load(read_bytes(path, "run this in the project's top folder, where params.yaml lies"), Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # the last three: « !!int x » and such
        mark, why = getattr(error, "problem_mark", None), " ".join(str(getattr(error, "problem", error)).split())
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise OctetError(f"{path}: {place}: not valid YAML: {why}; mend it there or just above") from None
    check = _Check(Path(path), [])
    params = check.mapping("", Params, {} if found is None else found)
    if check.problems:
        raise OctetError("\n".join(check.problems))
    return params


def model(params: Params, name: str) -> Model:
    """The entry of that name; for an unlisted one, OctetError with the nearest name and the entry to add."""
    if name in params.models:
        return params.models[name]
    missing = f"params.yaml: models.{name}: no such model. {nearest(name, params.models)}"
    if not NAME.fullmatch(name):
        raise OctetError(f"{missing} Nor can it be added. {NAME_RULE}")
    key = name if yaml.load(name, Loader) == name else _show(name)
    entry = "\n    ".join(_ENTRY).replace("NAME", name)
    raise OctetError(f"{missing} To add it, put its entry under 'models':\n\nmodels:\n  {key}:\n    {entry}")


@dataclass
class _Check:
    """Walks a file and the dataclasses side by side; `problems` gets one line, with the key's full path, for each."""

    file: Path
    problems: list[str]

    def report(self, at: str, problem: str) -> None:
        self.problems.append(": ".join(filter(None, (str(self.file), at[1:], problem))))

    def mapping(self, at: str, kind: Any, found: Any) -> Any:
        entry = get_args(kind)[1] if get_origin(kind) is dict else None  # the dataclass of dict[str, dataclass]
        hints = {} if entry else get_type_hints(kind, include_extras=True)
        if not isinstance(found, dict) or (entry and not found):
            wanted = f"entries like 'NAME: {{{', '.join(_ENTRY)}}}'" if entry else f"the keys {', '.join(hints)}"
            return self.report(at, f"expected a mapping with {wanted}; found {_show(found)}")
        for key, lines in getattr(found, "twice", ()):
            self.report(f"{at}.{key}", f"given in the lines {lines}. Keep one of them")
        for key in found:
            if entry and not (isinstance(key, str) and NAME.fullmatch(key)):
                self.report(f"{at}.{key}", f"{_show(key)} is no usable name. {NAME_RULE}")
            elif not entry and key not in hints:
                self.report(f"{at}.{key}", f"unknown key. {nearest(str(key), hints)}")
        advice = kind.unfinished(found) if hasattr(kind, "unfinished") else ""
        absent = [key for key, hint in hints.items() if key not in found and not _optional(hint)]
        if advice and absent:
            return self.report(at, f"lacks the key{'s' * (len(absent) > 1)} {', '.join(absent)}; {advice}")
        values = {}
        for key, hint in (dict.fromkeys(found, entry) if entry else hints).items():
            here, rule = f"{at}.{key}", get_args(hint)[-1:]
            if get_origin(hint) is not Annotated:  # of a section that is missing, each key is reported
                values[key] = self.mapping(here, hint, found.get(key, {}))
            elif key in found:
                values[key] = self.value(here, hint.__origin__, rule[0], found[key])
            elif not rule[0].optional:
                self.report(here, f"missing key. {rule[0].what} For example '{key}: {rule[0].example}'")
        for key, problem in kind.conflicts(values).items() if hasattr(kind, "conflicts") else ():
            self.report(f"{at}.{key}", problem)
        return values if entry else None if self.problems else kind(**values)

    def value(self, at: str, kind: Any, rule: Rule, found: Any) -> Any:
        null = type(None) in get_args(kind)
        kind = get_args(kind)[0] if null else get_origin(kind) or kind
        choices = sorted({*rule.choices, *(file.stem for file in self.file.parent.glob(rule.files or "no/file"))})
        if choices:
            valid = found in choices
        elif kind is tuple:
            valid = isinstance(found, list) and all(isinstance(text, str) and text for text in found)
        else:
            typed = type(found) is kind or (kind is float and type(found) is int)  # so true is no number
            valid = typed and (found != "" if kind is str else rule.low <= found <= rule.high)
        if valid or (null and found is None):
            return found if found is None else kind(found)
        if choices and isinstance(found, str):
            return self.report(at, f"unknown value {_show(found)}. {nearest(found, choices)}")
        span = f" of at least {rule.low}" if rule.high == inf else f" from {rule.low} to {rule.high}"
        expected = f"one of {', '.join(choices)}" if choices else _KINDS[kind] + span * (rule.low > -inf)
        self.report(at, f"expected {expected}{' or null' * null}, found {_show(found)}. For example {rule.example}")


def _optional(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[-1].optional


class _Mapping(dict):
    """Knows the lines of the keys given twice, of which PyYAML keeps the last without a word."""

    def __init__(self, loader: yaml.SafeLoader, node: yaml.MappingNode) -> None:
        lines: dict[tuple[str, str], list[str]] = {}
        for key, _ in node.value:
            lines.setdefault((key.tag, str(key.value)), []).append(str(key.start_mark.line + 1))
        self.twice = [(key, " and ".join(where)) for (_, key), where in lines.items() if len(where) > 1]
        super().__init__(loader.construct_mapping(node, deep=True))


class Loader(yaml.SafeLoader):
    """Reads booleans and numbers as DVC (YAML 1.2) does; for PyYAML itself 1e-3 is text, 010 is 8 and `on` is true."""


_ENTRY = [
    f"{key}: {hint.__metadata__[0].example}"
    for key, hint in get_type_hints(Model, include_extras=True).items()
    if not _optional(hint)
]
_TAG = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": "|~|null|Null|NULL",
    "merge": "<<",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?([0-9][0-9_]*|0b[01][01_]*|0o[0-7][0-7_]*|0x[0-9a-fA-F][0-9a-fA-F_]*)",
    "float": r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|\.[0-9_]+([eE][-+][0-9]+)?|\.(inf|Inf|INF))|\.nan",
}
Loader.yaml_implicit_resolvers = {None: [(_TAG + tag, re.compile(rf"({p})\Z")) for tag, p in _PATTERNS.items()]}
Loader.add_constructor(_TAG + "int", lambda _, node: int(re.sub(r"\b0+(?=[0-9])", "", node.value.replace("_", "")), 0))
Loader.add_constructor(_TAG + "map", _Mapping)
