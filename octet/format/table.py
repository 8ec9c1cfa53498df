"""ncnn's calibration table: the scales that make a layer int8.

    conv_1_param_0 412.6 398.1 …     the weights' scales, one an output channel (one a group for depthwise)
    conv_1 25.4                      the input's scale

A scale maps a value x to the integer round(x * scale). Source: read_int8scale_table in ncnn's
tools/quantize/ncnn2int8.cpp. That reader stops at the first blank line, keeps the previous number where it cannot
read one, and lets a later entry replace an earlier one, all silently; here each of these is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from octet.errors import OctetError, nearest
from octet.files import read_bytes, write_text
from octet.format.net import Layer


@dataclass
class Table:
    """weights: scales by layer, fp32 of shape (channels or groups,); inputs: one fp32 scale by layer."""

    weights: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, np.float32] = field(default_factory=dict)

    def check(self, layers: list[Layer], where: str, may_lack: frozenset[str] = frozenset()) -> None:
        """Raises OctetError unless every layer has its scales (those in may_lack need none), in the right number,
        and every entry has its layer."""
        wanted = {layer.name: channels(layer) for layer in layers}
        problems = [
            f"'{name}' is no layer of the model that can be int8. {nearest(name, wanted)}"
            for name in [*self.weights, *(n for n in self.inputs if n not in self.weights)]
            if name not in wanted
        ]
        for name, count in wanted.items():
            if name in may_lack and name not in self.weights and name not in self.inputs:
                continue
            if name not in self.weights:
                problems.append(f"no entry '{name}_param_0': layer {name} has no weight scales")
            elif len(self.weights[name]) != count:
                problems.append(f"'{name}_param_0' has {len(self.weights[name])} scales, layer {name} needs {count}")
            if name not in self.inputs:
                problems.append(f"no entry '{name}': layer {name} has no input scale")
        if problems:
            raise OctetError(
                f"{where}: the table does not fit the model:\n  "
                + "\n  ".join(problems)
                + "\nMake it again, or list a layer that shall stay in fp32 under the model's keep_fp32 in params.yaml"
            )


def channels(layer: Layer) -> int:
    """How many weight scales a layer has."""
    return layer.int(7, 1) if layer.type == "ConvolutionDepthWise" else layer.int(0)


def loads(text: str, where: str = "table") -> Table:
    """Parses a table. Raises OctetError for whatever ncnn would drop or misread in silence."""
    table = Table()
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            if any(later.strip() for later in lines[number:]):
                raise OctetError(
                    f"{where}: line {number} is blank and entries follow; ncnn reads no further than a blank line: take it out"
                )
            break
        if words[0].startswith("#"):
            continue
        key, scales = words[0], _scales(words[1:], f"{where}: line {number}, '{words[0]}'")
        name, _, which = key.partition("_param_")
        if which not in ("", "0"):
            raise OctetError(f"{where}: line {number}: '{key}': expected {name}_param_0")
        known = table.weights if which else table.inputs
        if name in known:
            raise OctetError(f"{where}: line {number}: a second entry '{key}'; ncnn would take the last: keep one")
        if not which and len(scales) != 1:
            raise OctetError(f"{where}: line {number}: '{key}' has {len(scales)} scales, a layer's input has one")
        known[name] = scales if which else scales[0]
    return table


def load(path: str | Path) -> Table:
    raw = read_bytes(path, "the stage calibrate makes it")
    try:
        return loads(raw.decode(), str(path))
    except UnicodeDecodeError:
        raise OctetError(f"{path}: not text; expected an ncnn calibration table") from None


def save(table: Table, path: str | Path) -> None:
    """Writes the weights' scales, then the inputs', as ncnn2table does; each number so that it reads back the same."""
    lines = [" ".join([f"{name}_param_0", *map(_text, scales)]) for name, scales in table.weights.items()]
    lines += [f"{name} {_text(scale)}" for name, scale in table.inputs.items()]
    write_text(path, "".join(f"{line}\n" for line in lines))


def _text(scale: np.float32) -> str:
    return np.format_float_positional(np.float32(scale), unique=True, trim="0")


def _scales(words: list[str], where: str) -> np.ndarray:
    if not words:
        raise OctetError(f"{where}: has no scale")
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            raise OctetError(f"{where}: {word!r} is not a number; ncnn would take the one before it") from None
        if not math.isfinite(value) or not 0 < value <= np.finfo(np.float32).max:
            raise OctetError(f"{where}: a scale is {word}; expected a finite fp32 number above zero")
        values.append(value)
    return np.array(values, np.float32)
