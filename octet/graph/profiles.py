"""Target profiles in files: configs/targets/NAME.yaml is the target of that NAME, measured for one model (`make tune`).

base: dotprod                       # the built-in profile that it starts from
layers:                             # what differs from it, by layer name
  conv_1: {winograd: true}          # Winograd not masked, weights of 6 bits
  convrelu_2: {requantize: false}   # the output leaves as fp32 even where it could leave as int8
  linear_38: {int8: false}          # stays fp32
  conv_39: {int8: false, fp16: false}  # and ncnn's default options do not make it fp16 where the processor has that
  conv_0: {int8: true}              # int8 where the base keeps fp32: reads the network's input, or is depthwise
fp32_costs_us:                      # by how much one image takes longer with this layer in fp32, for mixed_precision
  conv_1: 41.5
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from octet.core import yaml
from octet.core.errors import OctetError, nearest
from octet.graph.targets import FOLDER, TARGETS, Choice, Target


def target(name: str) -> Target:
    """A target by its name: a built-in one, or the profile in configs/targets/NAME.yaml.

    Args:
        name: `target` of params.yaml.

    Raises:
        OctetError: There is none of that name, or its file holds what no profile may.
    """
    path = FOLDER / f"{name}.yaml"
    if name in TARGETS:
        if path.exists():
            raise OctetError(f"{path}: '{name}' is a built-in profile; give the file another name")
        return TARGETS[name]
    if not path.exists():
        known = {*TARGETS, *(file.stem for file in FOLDER.glob("*.yaml"))}
        raise OctetError(f"target: '{name}' is no profile. {nearest(name, known)}")
    return load(path)


def load(path: str | Path) -> Target:
    """Reads a profile; its name is the file's, without .yaml.

    Raises:
        OctetError: The file is missing, is no YAML, or holds what no profile may.
    """
    path = Path(path)
    document = yaml.read(path, "'make tune' makes it", "mend it or make it again with 'make tune'")
    if document.duplicates:
        keys = ", ".join(sorted({f"'{duplicate.path[-1]}'" for duplicate in document.duplicates}))
        raise OctetError(f"{path}: {keys} given twice; keep one of them")
    values = document.values
    _mapping(values, "", ("base", "layers", "fp32_costs_us"), path)
    if "base" not in values:
        raise OctetError(f"{path}: lacks base, the built-in profile that it starts from: {', '.join(sorted(TARGETS))}")
    base = values["base"]
    if not isinstance(base, str) or base not in TARGETS:
        raise OctetError(f"{path}: base: '{base}' is no built-in profile. {nearest(str(base), TARGETS)}")
    layers, costs = ({} if values.get(key) is None else values[key] for key in ("layers", "fp32_costs_us"))
    _mapping(layers, "layers", None, path)
    choices = {name: _read_choice(name, entry, path) for name, entry in layers.items()}
    _mapping(costs, "fp32_costs_us", None, path)
    for name, cost in costs.items():
        if not isinstance(name, str):
            raise OctetError(f"{path}: fp32_costs_us: expected a layer's name, found {name!r}; put it in quotes")
        if type(cost) not in (int, float) or not math.isfinite(cost):
            raise OctetError(f"{path}: fp32_costs_us: {name}: expected a number of microseconds, found {cost!r}")
    return replace(TARGETS[base], name=path.stem, layers=choices, fp32_costs_us=costs)


def dumps(
    base: str, layers: Mapping[str, Choice], comments: list[str], costs: Mapping[str, float] | None = None
) -> str:
    """The text of a profile, under a comment of these lines. costs: fp32_costs_us."""
    lines = [f"# {comment}" for comment in comments] + [f"base: {base}"]
    lines.append("layers:" if layers else "layers: {}")
    for name, choice in layers.items():
        changed = {f.name: getattr(choice, f.name) for f in fields(choice) if getattr(choice, f.name) != f.default}
        lines.append(f"  {_quoted(name)}: {{{', '.join(f'{key}: {str(on).lower()}' for key, on in changed.items())}}}")
    if costs:
        lines += ["fp32_costs_us:", *(f"  {_quoted(name)}: {cost:.1f}" for name, cost in costs.items())]
    return "\n".join(lines) + "\n"


def _read_choice(name: Any, entry: Any, path: Path) -> Choice:
    """What a profile says of one layer."""
    keys = [f.name for f in fields(Choice)]
    _mapping(entry, f"layers: {name}", keys, path)
    for key, value in entry.items():
        if not isinstance(value, bool):
            raise OctetError(f"{path}: layers: {name}: {key}: expected true or false, found {value!r}")
    choice = Choice(**entry)
    if choice.int8 is False and entry.keys() - {"int8", "fp16"}:
        raise OctetError(
            f"{path}: layers: {name}: stays fp32 by 'int8: false', which needs no other key but 'fp16': take it out"
        )
    return choice


def _mapping(value: Any, at: str, keys: Sequence[str] | None, path: Path) -> None:
    """Raises OctetError unless it is a mapping, with no other keys than these; None: the keys are layers' names."""
    where = f"{path}: {at}: " if at else f"{path}: "
    if not isinstance(value, dict):
        example = "conv_1: 41.5" if at == "fp32_costs_us" else "conv_1: {winograd: true}"
        wanted = f"the keys {', '.join(keys)}" if keys else f"entries like '{example}'"
        raise OctetError(f"{where}expected a mapping with {wanted}, found {value!r}")
    for key in value:
        if keys and key not in keys:
            raise OctetError(f"{where}unknown key '{key}'. {nearest(str(key), keys)}")
        if not isinstance(key, str):
            raise OctetError(f"{where}expected a layer's name, found {key!r}; put it in quotes")


def _quoted(name: str) -> str:
    """A layer's name as a YAML key: with quotes unless it is a plain word that YAML cannot take for anything else."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name[0].isalpha() and "_" in name
    return name if plain else "'" + name.replace("'", "''") + "'"
