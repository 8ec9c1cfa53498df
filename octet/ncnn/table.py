"""ncnn's calibration table: the scales that make a layer int8.

    conv_1_param_0 412.6 398.1 …     the weights' scales, one an output channel (one a group for depthwise)
    conv_1 25.4                      the input's scale
    attention_1_param_0 812.5 …      MultiHeadAttention: of the weights of query, key (_1) and value (_2), one a row,
    attention_1_param_3 790.1        and one of the output's; its inputs need none

A scale maps a value x to the integer round(x * scale). Source: read_int8scale_table in ncnn's
tools/quantize/ncnn2int8.cpp. That reader stops at the first blank line, separates words by blanks alone, keeps the
previous number where it cannot read one, and lets a later entry replace an earlier one, all silently; here each of
these is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import read_bytes, write_text

Scales = npt.NDArray[np.float32]
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)", re.ASCII | re.IGNORECASE)


@dataclass
class Table:
    """The scales of a model's layers, all fp32.

    Args:
        weights: By layer those of its weights, of shape (channels or groups,).
        inputs: By layer that of its input.
        more: Those of further weights, by entry as 'attention_1_param_1'.
    """

    weights: dict[str, Scales] = field(default_factory=dict)
    inputs: dict[str, np.float32] = field(default_factory=dict)
    more: dict[str, Scales] = field(default_factory=dict)

    def entries(self) -> dict[str, Scales]:
        """Everything in the table, by entry, in the order of the file."""
        weights = {f"{name}_param_0": scales for name, scales in self.weights.items()}
        return weights | self.more | {name: np.array([scale]) for name, scale in self.inputs.items()}


def loads(text: str, where: str = "table") -> Table:
    """Parses a table.

    Args:
        text: The file's text.
        where: The file, for errors.

    Raises:
        OctetError: There is something that ncnn would drop or misread in silence.
    """
    table, lines = Table(), [line.removesuffix("\r") for line in text.split("\n")]
    read: dict[str, int] = {}  # the number of each entry's line
    for number, line in enumerate(lines, start=1):
        if not line.strip(" "):
            if any(later.strip() for later in lines[number:]):
                raise OctetError(
                    f"{where}: line {number} is blank and entries follow; ncnn reads no further than a blank line: take it out"
                )
            break
        if line.lstrip().startswith("#"):
            continue
        key = _add(table, line, f"{where}: line {number}")
        if key in read:
            raise OctetError(f"{where}: line {number}: a second entry '{key}'; ncnn would take the last: keep one")
        read[key] = number
    for key in table.more:
        name = key.partition("_param_")[0]
        if name not in table.weights:
            raise OctetError(f"{where}: line {read[key]}: '{key}': expected {name}_param_0 as well")
    return table


def load(path: str | Path) -> Table:
    """Reads a table. Raises as loads, and where the file is missing."""
    raw = read_bytes(path, "the stage calibrate makes it")
    try:
        return loads(raw.decode(), str(path))
    except UnicodeDecodeError:
        raise OctetError(f"{path}: not text; expected an ncnn calibration table") from None


def save(table: Table, path: str | Path) -> None:
    """Writes the weights' scales, then the inputs', as ncnn2table does; each number so that it reads back the same."""
    lines = [" ".join([key, *map(_text, scales)]) for key, scales in table.entries().items()]
    write_text(path, "".join(f"{line}\n" for line in lines))


def _add(table: Table, line: str, where: str) -> str:
    """Takes one line into the table; returns its entry."""
    if not line.isprintable():
        raise OctetError(f"{where}: has a tab or another control character; ncnn separates by blanks alone")
    key, *words = line.split()
    scales = _scales(words, f"{where}, '{key}'")
    name, of_weights, which = key.partition("_param_")
    if of_weights and which not in ("0", "1", "2", "3"):
        raise OctetError(f"{where}: '{key}': expected {name}_param_0, or _1 to _3 for attention")
    if not of_weights and len(scales) != 1:
        raise OctetError(f"{where}: '{key}' has {len(scales)} scales, a layer's input has one")
    if not of_weights:
        table.inputs[name] = scales[0]
    elif which == "0":
        table.weights[name] = scales
    else:
        table.more[key] = scales
    return key


def _text(scale: np.float32) -> str:
    return np.format_float_positional(np.float32(scale), unique=True, trim="0")


def _scales(words: list[str], where: str) -> Scales:
    if not words:
        raise OctetError(f"{where}: has no scale")
    values = []
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise OctetError(f"{where}: {word!r} is not a number; ncnn would take the one before it")
        with np.errstate(over="ignore"):
            value = np.float32(float(word))
        if not (np.isfinite(value) and value > 0):  # as fp32: 1e-50 would be zero
            raise OctetError(f"{where}: a scale is {word}; expected a finite fp32 number above zero")
        values.append(value)
    return np.array(values, np.float32)
