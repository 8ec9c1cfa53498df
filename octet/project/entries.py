"""Entries of params.yaml that Octet writes: what one leaves out, and new ones. Comments and order stay.

DVC reads params.yaml itself and needs every key in it, so what Octet finds out is written there. What has to be fetched
for the listed models goes into downloads/params.yaml, from which downloads/dvc.yaml makes the stages that fetch it.
"""

from __future__ import annotations

import ast
import math
import os.path
import pprint
from pathlib import Path
from typing import Any

import yaml

from octet.core.errors import OctetError
from octet.core.files import read_bytes, write_text
from octet.core.params import NAME, NAME_RULE, Loader, load
from octet.project.data_sets import FETCHED
from octet.zoo import catalogue

PARAMS, DOWNLOADS, CONFIGS = Path("params.yaml"), Path("downloads/params.yaml"), Path("configs/models")
_MAKERS = Path("data/dvc.yaml"), Path("models/dvc.yaml")  # their stages' outs are told from this folder
_DEFAULTS = {"trusted": False, "keep_fp32": [], "cuts": [], "max_drop_pt": 0.3}
_SPLITS = ("train", "test", "val", "validation", "meta")
_HEAD = """\
# What DVC fetches for the models in the top params.yaml. 'make quantize' keeps it so; keep it in git.
"""


def add(name: str | None, entry: dict[str, Any]) -> str:
    """Adds a model to params.yaml; returns its name (default: that of the zoo, or of the config). entry: zoo, or config
    and checkpoint; data where it is not the config's. A model that is listed with the same values stays as it is. A
    config from elsewhere becomes one file in configs/models, with all that its _base_ has.
    """
    if "zoo" not in entry and not {"config", "checkpoint"} <= entry.keys():
        raise OctetError("a new model needs ZOO=name, or CONFIG=file.py and CHECKPOINT=file.pth")
    name = name or entry.get("zoo") or Path(entry["config"]).stem
    name = "".join(c if NAME.fullmatch(f"x{c}") else "_" for c in name).lstrip("-")
    if not NAME.fullmatch(name):
        raise OctetError(f"MODEL={name}: no usable name. {NAME_RULE}")
    entry, given, copy = dict(entry), entry.get("config"), None
    if given:
        entry["config"], copy = own_config(name, given)
    text, models = _read()
    if name in models:
        listed = models[name] if isinstance(models[name], dict) else {}
        other = [f"{key} is {listed.get(key)}, not {value}" for key, value in entry.items() if listed.get(key) != value]
        if other:
            raise OctetError(
                f"params.yaml: models.{name}: {'; '.join(other)}. Change it there, or give another MODEL=name"
            )
        return name
    values = _filled(name, {"data": data_folder(given)} | entry if given and "data" not in entry else entry)
    present(name, values["config"], values["checkpoint"], values["data"])
    top = yaml.compose(text, Loader)
    where = next((value for key, value in top.value if key.value == "models"), None)
    if not isinstance(where, yaml.MappingNode) or where.flow_style or not where.value:
        raise OctetError(f"{PARAMS}: expected 'models:' with one entry at least below it, one key a line")
    indent = where.value[0][0].start_mark.column
    if copy:
        write_text(entry["config"], copy)
    lines = [f"{' ' * indent}{name}:", *(" " * 2 * indent + line for line in _lines(values))]
    write_text(PARAMS, _inserted(text, _last_line(where), lines))
    return name


def own_config(name: str, config: str) -> tuple[str, str | None]:
    """The config that the entry names and, where it has to be written, its text.

    DVC sees changes only in configs/models; mmcls's own do not change. So another one is copied, what it inherits
    included.
    """
    from octet.export.mmcls_model import read_config  # imports torch

    found, path = read_config(config), CONFIGS / f"{name}.py"
    if not _outside(config):
        return config, None
    values = found._cfg_dict.to_dict()
    lines = [f"{key} = {pprint.pformat(value, width=118, sort_dicts=False)}\n" for key, value in values.items()]
    try:
        ast.literal_eval(repr(values))
    except (ValueError, SyntaxError):
        raise OctetError(
            f"{config}: holds more than plain values; move it to {path} yourself, and name it so"
        ) from None
    text = f"# All of {Path(config).name}, and of what it inherits.\n" + "".join(lines)
    if not path.exists():
        return str(path), text
    if path.read_text() != text:
        raise OctetError(
            f"{path}: is there already, and is not what {config} gives. Name this one, or give another MODEL=name"
        )
    return str(path), None


def _outside(config: str) -> bool:
    """Is it a file, and not in configs/models?"""
    return Path(config).is_file() and not Path(config).resolve().is_relative_to(CONFIGS.resolve())


def present(name: str, config: str, checkpoint: str, data: str) -> None:
    """Raises OctetError where a model's checkpoint or data is neither there nor what a stage makes or fetches, and for
    a config of which DVC would not see that it changes.
    """
    if _outside(config):
        raise OctetError(
            f"{PARAMS}: models.{name}.config: {config}: lies outside {CONFIGS}, where DVC sees that a config changes; move it "
            "there, with what it inherits"
        )
    made = {f"data/{known}" for known in FETCHED} | {str(model.file) for model in catalogue.models().values()}
    for file in _MAKERS:
        for stage in (yaml.safe_load(file.read_text()) if file.is_file() else {"stages": {}})["stages"].values():
            made |= {next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]}
    for key, value, what in (
        ("checkpoint", checkpoint, "file; expected the model's weights (.pth)"),
        ("data", data, "folder; expected the images to calibrate with and to test on"),
    ):
        path = Path(value)
        if str(path) not in made and not path.exists() and not Path(f"{path}.dvc").exists():
            raise OctetError(f"{PARAMS}: models.{name}.{key}: {value}: no such {what}. Put it there, or name another")


def fill() -> None:
    """Writes into params.yaml what entries leave out and the zoo, the config or a default gives; and
    downloads/params.yaml anew.
    """
    text, models = _read()
    for name, entry in models.items():
        if isinstance(entry, dict) and (isinstance(entry.get("zoo"), str) or {"config", "checkpoint"} <= entry.keys()):
            missing = {key: value for key, value in _filled(name, entry).items() if key not in entry}
            if missing:
                top = yaml.compose(text, Loader)
                section = next(value for key, value in top.value if key.value == "models")
                where = next(value for key, value in section.value if key.value == name)
                if where.flow_style:
                    raise OctetError(
                        f"params.yaml: models.{name}: expected one key a line, not {{…}}, so that more can be added"
                    )
                indent = where.value[0][0].start_mark.column
                text = _inserted(text, _last_line(where), [" " * indent + line for line in _lines(missing)])
                write_text(PARAMS, text)
                print(f"params.yaml: models.{name}: filled in {', '.join(missing)}")
    listed = load(PARAMS).models
    weights = {
        m.name: m for e in listed.values() if (m := catalogue.by_file(e.checkpoint)) and m.file == Path(e.checkpoint)
    }
    sets = {n for n in FETCHED if any(Path(e.data) == Path("data", n) for e in listed.values())}
    found = {
        "weights": {k.replace(".", "_"): {"zoo": k, "file": str(m.file)} for k, m in sorted(weights.items())},
        "data_sets": {name: {"folder": f"data/{name}"} for name in sorted(sets)},
    }
    content = _HEAD + yaml.safe_dump(found, sort_keys=False)
    if not DOWNLOADS.exists() or DOWNLOADS.read_text() != content:
        write_text(DOWNLOADS, content)


def data_folder(config: str) -> str:
    """The folder in which all lies that an mmcls config's data section names, for training and for test."""
    from octet.export.mmcls_model import read_config  # imports torch

    data = read_config(config).get("data", {})
    parts = [data.get(split, {}) for split in ("train", "test")]
    parts = [part.get("dataset", part) for part in parts]  # of a wrapper such as RepeatDataset
    places = [part[key] for part in parts for key in ("data_prefix", "ann_file") if isinstance(part.get(key), str)]
    if not places:
        raise OctetError(
            f"{config}: its data section names no folder; give the model's entry in params.yaml a key 'data'"
        )
    folders = [str(Path(p).parent if Path(p).suffix or Path(p).name in _SPLITS else Path(p)) for p in places]
    common = Path(os.path.commonpath(folders))
    return str(common.parent if common.name in _SPLITS else common)


def _filled(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with all keys that every model has."""
    found = dict(entry)
    if "zoo" in entry:
        try:
            model = catalogue.find(entry["zoo"])
        except OctetError as error:
            raise OctetError(f"{PARAMS}: models.{name}.zoo: {error}") from None
        found = {"config": model.config, "checkpoint": str(model.file)} | found
    if "data" not in found:
        found["data"] = data_folder(found["config"])
    order = ["zoo", "config", "checkpoint", "trusted", "data", "keep_fp32", "cuts", "max_drop_pt"]
    found = _DEFAULTS | found
    return {key: found[key] for key in [*(k for k in order if k in found), *(k for k in found if k not in order)]}


def _read() -> tuple[str, dict]:
    text = read_bytes(PARAMS, "run this in the project's top folder, where params.yaml lies").decode()
    try:
        found = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError):
        load(PARAMS)  # says where
        raise
    models = found.get("models") if isinstance(found, dict) else None
    return text, models if isinstance(models, dict) else {}


def _inserted(text: str, line: int, lines: list[str]) -> str:
    """The text with lines behind that line (counted from 0)."""
    there = text.splitlines()
    return "\n".join([*there[: line + 1], *lines, *there[line + 1 :]]) + "\n"


def _last_line(node: yaml.Node) -> int:
    """The line of the last value in a node; a block's own end is behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.line


def _lines(values: dict[str, Any]) -> list[str]:
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=math.inf, allow_unicode=True)
    return text.splitlines()
