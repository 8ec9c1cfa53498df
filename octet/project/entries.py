"""Entries of params.yaml that Octet writes: what one leaves out, and new ones. Comments and order stay.

DVC reads params.yaml itself and needs every key in it, so what Octet finds out is written there. What has to be fetched
for the listed models goes into downloads/params.yaml, from which downloads/dvc.yaml makes the stages that fetch it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.core.files import write_bytes, write_text
from octet.core.names import NAME, usable
from octet.core.params import Model
from octet.core.places import config_problem
from octet.project import downloads, own, splice
from octet.project.configs import data_folder, local_config
from octet.project.copies import Copies
from octet.project.data_sets import FETCHED
from octet.zoo import catalogue

PARAMS = Path(params.FILE)
_MADE = Path("data/dvc.yaml"), Path("models/dvc.yaml")  # their stages' outs are told from this folder


def add(name: str | None, entry: dict[str, str]) -> str:
    """Adds a model to params.yaml; one that is listed with the same values stays as it is.

    A config from elsewhere becomes one file in configs/models, with all that its _base_ has; its own modules and the files
    that it reads go into a folder beside it.

    Args:
        name: The model's; None: that of the zoo, or of the config.
        entry: zoo, or config and checkpoint, or onnx and preprocess, or timm or torchvision and checkpoint; data where it is
            not the config's.

    Returns:
        The model's name.

    Raises:
        OctetError: Something is missing, there is another model of that name, or params.yaml has no place for the entry.
    """
    library = own.library_of(entry)
    _one_source(entry)
    if not any(keys <= entry.keys() for keys in ({"zoo"}, {"config", "checkpoint"}, {"onnx"}, {library})):
        raise OctetError(
            "a new model needs ZOO=name, or CONFIG=file.py and CHECKPOINT=file.pth, or ONNX=file.onnx, or TIMM=name or "
            "TORCHVISION=name and CHECKPOINT=file; the last three need DATA=folder, too"
        )
    name = usable(name or _name(entry, library), "MODEL")
    given = entry.get("onnx", "")
    entry, config, copy, files = dict(entry), entry.get("config"), None, own.Files()
    if config:
        entry["config"], copy = local_config(name, config)
    elif "onnx" in entry:
        entry, files = own.local(name, entry)
    elif library:
        entry, files = own.local_network(name, entry)
    text, models = _read()
    if name in models:
        _same(name, entry, models[name] if isinstance(models[name], dict) else {})
        _write(copy, files)  # of a config that has changed, or of an entry that was written by hand
        return name
    values = _filled(name, {"data": data_folder(config)} | entry if config and "data" not in entry else entry)
    checkpoint = given if values["checkpoint"] in files else values["checkpoint"]
    present(name, values.get("config"), checkpoint, values["data"], "onnx" in values)
    if not models:
        raise OctetError(f"{PARAMS}: expected 'models:' with one entry at least below it, one key a line")
    text = splice.set_values(text, ["models"], {name: values}, f"{PARAMS}: models")
    _write(copy, files)
    _write_params(text)
    return name


def _write(copy: Copies | None, files: own.Files) -> None:
    """Writes what an entry names and is copied into the project."""
    for path, content in files.items():
        write_bytes(path, content)
    if copy:
        copy.write()


def _one_source(entry: dict[str, str]) -> None:
    """Raises OctetError where a new entry names several sources; a config may stand in the place of the zoo's."""
    sources = [key for key in ("zoo", "config", *params.OTHERS) if key in entry]
    if len(sources) > 1 and sources != ["zoo", "config"]:
        raise OctetError(f"{' and '.join(key.upper() for key in sources)}: a model has one source; give one of them")


def _name(entry: dict[str, str], library: str) -> str:
    """What a model is called that was given no name. library: whose network it is, if a library's."""
    known = entry.get("zoo") or entry.get(library) or Path(entry.get("config") or entry["onnx"]).stem
    return "".join(c if NAME.fullmatch(f"x{c}") else "_" for c in known).lstrip("-")


def present(name: str, config: str | None, checkpoint: str, data: str, is_onnx: bool = False) -> None:
    """Checks that what an entry names is there, or is what a stage makes or fetches.

    Raises:
        OctetError: It is not; or the config lies where DVC would not see that it changes.
    """
    if problem := config and config_problem(config):
        raise OctetError(f"{PARAMS}: models.{name}.config: {problem}")
    known_outputs = stage_outputs()
    for key, value, what in (
        ("onnx", checkpoint, "file; expected the ONNX model")
        if is_onnx
        else ("checkpoint", checkpoint, "file; expected the model's weights (.pth)"),
        ("data", data, "folder; expected the images to calibrate with and to test on"),
    ):
        path = Path(value)
        is_there = path.is_dir() if key == "data" else path.is_file()
        if path.exists() and not is_there:
            kinds = ("folder", "file") if key == "data" else ("file", "folder")
            raise OctetError(
                f"{PARAMS}: models.{name}.{key}: {value}: expected a {kinds[0]}, found a {kinds[1]}; name a {what}"
            )
        if str(path) not in known_outputs and not is_there and not Path(f"{path}.dvc").exists():
            raise OctetError(f"{PARAMS}: models.{name}.{key}: {value}: no such {what}. Put it there, or name another")


def stage_outputs() -> set[str]:
    """The data sets and checkpoints that a stage makes or fetches, as this folder sees them."""
    known_outputs = {f"data/{known}" for known in FETCHED} | {str(model.file) for model in catalogue.models().values()}
    for file in _MADE:
        stages = yaml.load(file, "git has it")["stages"] if file.is_file() else {}
        for stage in stages.values():
            known_outputs |= {next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]}
    return known_outputs


def fill() -> None:
    """Brings params.yaml up to date: old names become today's, and entries get what they leave out and is known.

    What they leave out comes from the zoo, the config, or the parameters' examples. downloads/params.yaml is made anew.

    Raises:
        OctetError: params.yaml cannot be read, is not valid even then, or has no place for something.
    """
    text, _ = _read()
    text = _with_new_names(text)
    for name, entry in reversed(_models(text).items()):  # from the end: what an anchor has counts for aliases below it
        if (
            isinstance(name, str)
            and isinstance(entry, dict)
            and (
                any(isinstance(entry.get(key), str) for key in ("zoo", *params.OTHERS))
                or {"config", "checkpoint"} <= entry.keys()
            )
        ):
            missing = {key: value for key, value in _filled(name, entry).items() if key not in entry}
            if missing:
                text = splice.set_values(text, ["models", name], missing, f"{PARAMS}: models.{name}")
                _write_params(text)
                print(f"{PARAMS}: models.{name}: filled in {', '.join(missing)}")
    content = downloads.text(params.load(PARAMS).models.values())
    if not downloads.FILE.exists() or downloads.FILE.read_bytes() != content.encode():
        write_text(downloads.FILE, content)


def set_settings(name: str, settings: Mapping[str, Any]) -> bool:
    """Writes settings into a model's entry, those that do not count for it already. Comments and order stay.

    Args:
        name: The model's.
        settings: As an entry has them; of a section the keys that are to be set.

    Returns:
        Whether anything was written.

    Raises:
        OctetError: The entry is written in a way that leaves no place for them; the error says what to write there.
    """
    text, _ = _read()
    counting = params.model(params.load(PARAMS), name).model_dump(mode="json")
    changed = _changes(settings, counting)
    if not changed:
        return False
    _write_params(splice.set_values(text, ["models", name], changed, f"{PARAMS}: models.{name}"))
    return True


def _changes(settings: Mapping[str, Any], counting: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that have another value in what counts, sections within sections."""
    changed: dict[str, Any] = {}
    for key, value in settings.items():
        there = counting.get(key)
        if isinstance(value, Mapping):
            if inner := _changes(value, there if isinstance(there, Mapping) else {}):
                changed[key] = inner
        elif there != value:
            changed[key] = value
    return changed


def _same(name: str, entry: dict[str, str], listed: dict[str, Any]) -> None:
    """Raises OctetError where a listed model has other values than these."""
    other = [f"{key} is {listed.get(key)}, not {value}" for key, value in entry.items() if listed.get(key) != value]
    if other:
        raise OctetError(f"{PARAMS}: models.{name}: {'; '.join(other)}. Change it there, or give another MODEL=name")


def _filled(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with all keys that every model has."""
    values = dict(entry)
    if "zoo" in entry:
        try:
            model = catalogue.find(entry["zoo"])
        except OctetError as error:
            raise OctetError(f"{PARAMS}: models.{name}.zoo: {error}") from None
        values = {"config": model.config, "checkpoint": str(model.file)} | values
    if "onnx" in entry:
        values = {"checkpoint": entry["onnx"]} | values
        own.check(name, values)
    elif library := own.library_of(entry):
        own.check(name, values)
        if "checkpoint" not in values:
            values["checkpoint"] = str(own.fetched(library, values[library], name))
    elif "data" not in values:
        values["data"] = data_folder(values["config"])
    values = params.MODEL_DEFAULTS | values
    first = ("zoo", *params.OTHERS, "preprocess")
    order = [*first, *(key for key in Model.model_fields if key not in first)]
    return {key: values[key] for key in [*(k for k in order if k in values), *(k for k in values if k not in order)]}


def _with_new_names(text: str) -> str:
    """The text, which is written where something in it had an old name.

    Raises:
        OctetError: An alias or a merge key leads to something that is not to be renamed.
    """
    values, renamings = params.with_new_names(yaml.parse(text, PARAMS).values)
    for renaming in reversed(renamings):  # from the end: a key that is renamed leads to those below it
        text = splice.replace(text, renaming.at, renaming.new, renaming.is_key)
    if renamings:
        if not splice.holds(text, values):
            raise OctetError(f"{PARAMS}: write there by hand: {'; '.join(map(str, renamings))}")
        _write_params(text)
    for renaming in reversed(renamings):
        print(f"note: {PARAMS}: {renaming}, and is written so", file=sys.stderr)
    return text


def _write_params(text: str) -> None:
    """Writes params.yaml; where it is a link, the file that it leads to."""
    write_text(PARAMS.resolve(), text)


def _read() -> tuple[str, dict[str, Any]]:
    """The text of params.yaml, and its models, whatever they look like."""
    text = yaml.read_text(PARAMS, "run this in the project's top folder, where params.yaml lies")
    return text, _models(text)


def _models(text: str) -> dict[str, Any]:
    values = yaml.parse(text, PARAMS).values
    models = values.get("models") if isinstance(values, dict) else None
    return models if isinstance(models, dict) else {}
