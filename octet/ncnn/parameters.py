"""Which parameters ncnn's layer types have, and how ncnn reads their values.

Sources, in ncnn's tree of July 2026: ModelWriter::save in tools/modelwriter.h (the parameters of each type, whether they
are integers or floats, and their defaults), src/paramdict.cpp (how ncnn reads a value), and load_param in src/layer/*.cpp
(what a value may be).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
LAST = 31  # the greatest number of a parameter (NCNN_MAX_PARAM_COUNT)
ARRAY = -23300  # less a parameter's number: an array in ncnn's older spelling, its length in front

_KERNEL = "1 11@1 2=1 12@2 3=1 13@3 4 14@4 15@4 16@14"
_KERNEL_1D = "1 2=1 3=1 4 15@4"

# One word a parameter, in the writer's order: its number; its kind (none: integer, f: float, I: integers, F: floats,
# s: text); and when it is left out: where it equals the value behind = (0, none or empty if there is none), or
# parameter n's value behind @. 1!0: a mark, written as 1 wherever parameter 0 is not 0 or empty. 21-: never written.
_TABLE = {
    "BatchNorm": "0 1f",
    "Bias": "0",
    "BinaryOp": "0 1 2f",
    "CELU": "0f=1",
    "Clip": "0f=-3.4028235e38 1f=3.4028235e38",
    "Concat": "0",
    "Convolution": f"0 {_KERNEL} 18f 5 6 8 9 10F 19",
    "Convolution1D": f"0 {_KERNEL_1D} 18f 5 6 9 10F 19",
    "ConvolutionDepthWise": f"0 {_KERNEL} 18f 5 6 7=1 8 9 10F 19",
    "ConvolutionDepthWise1D": f"0 {_KERNEL_1D} 18f 5 6 7=1 9 10F 19",
    "CopyTo": "0 1 13 2 9I 11I",
    "Crop": "0 1 13 2 3 4 14 5 6 7 15 8 9I 10I 11I 19s 20s 21s",
    "CumulativeSum": "0",
    "Deconvolution": f"0 {_KERNEL} 18 19@18 20 21@20 5 6 9 10F 28",
    "Deconvolution1D": f"0 {_KERNEL_1D} 18 20 5 6 9 10F 28",
    "DeconvolutionDepthWise": f"0 {_KERNEL} 18 19@18 20 21@20 5 6 7=1 9 10F 28",
    "DeconvolutionDepthWise1D": f"0 {_KERNEL_1D} 18 20 5 6 7=1 9 10F 28",
    "DeformableConv2D": f"0 {_KERNEL} 5 6 9 10F",
    "Diag": "0",
    "Dropout": "0f=1",
    "Eltwise": "0 1F",
    "ELU": "0f=0.1",
    "Embed": "0 1 2 3 18",
    "Exp": "0f=-1 1f=1 2f",
    "ExpandDims": "3I",
    "Fold": f"{_KERNEL} 20 21@20",
    "GELU": "0",
    "Gemm": "0f=1 1f=1 2 3 4 5 6 7 8 9 10 11 12 13 14 18 20 21 22",
    "GLU": "0",
    "GridSample": "0=1 1=1 2 3",
    "GroupNorm": "0=1 1 2f=0.001 3=1",
    "GRU": "0 1 2 8",
    "HardSigmoid": "0f=0.2 1f=0.5",
    "HardSwish": "0f=0.2 1f=0.5",
    "InnerProduct": "0 1 2 8 9 10F",
    "Input": "0 1 2",
    "InstanceNorm": "0 1f=0.001 2=1",
    "Interp": "0 1f=1 2f=1 3 4 5 6 9s",
    "LayerNorm": "0 1f=0.001 2=1",
    "Log": "0f=-1 1f=1 2f",
    "LRN": "0 1=5 2f=1 3f=0.75 4f=1",
    "LSTM": "0 1 2 3 8",
    "MatMul": "0",
    "MemoryData": "0 1 2 11 21-",
    "MultiHeadAttention": "0 1=1 2 3 4 5 6f=inf 7 18",
    "MVN": "0 1 2f=0.0001",
    "Normalize": "0 1 2f=0.0001 3 4=1 9",
    "Padding": "0 1 2 3 4 5f 6 7 8",
    "Permute": "0",
    "PixelShuffle": "0=1 1",
    "Pooling": "0 1 11@1 2=1 12@2 3 13@3 14@3 15@13 4 5 6 7 8 18@8",
    "Pooling1D": "0 1 2=1 3 14@3 4 5 6 7 8",
    "Power": "0f=1 1f=1 2f",
    "PReLU": "0",
    "Reduction": "0 1=1 2f=1 3I 4 5!3",
    "ReLU": "0f",
    "Reorg": "0=1 1",
    "Reshape": "0=-233 1=-233 11=-233 2=-233 6s",
    "RMSNorm": "0 1f=0.001 2=1",
    "RNN": "0 1 2 8",
    "RotaryEmbed": "0",
    "Scale": "0 1",
    "SDPA": "5 6f 7 18",
    "ShuffleChannel": "0=1 1",
    "Slice": "0I 1",
    "Softmax": "0 1!0",
    "Squeeze": "0 1 11 2 3I",
    "Threshold": "0f",
    "Tile": "0 1=1 2I",
    "UnaryOp": "0",
    "Unfold": f"{_KERNEL} 18f",
}
# Types that the writer has no line for: right as long as they have no parameters.
_BARE = [
    "AbsVal",
    "BNLL",
    "Cast",
    "DeepCopy",
    "Einsum",
    "Erf",
    "Flatten",
    "Flip",
    "Mish",
    "Noop",
    "Packing",
    "SELU",
    "Shrink",
    "Sigmoid",
    "Softplus",
    "Split",
    "Swish",
    "TanH",
]


class Rule(NamedTuple):
    """A word of the table: the parameter's number as text, its kind, and when ncnn2int8 leaves it out."""

    number: str
    kind: str
    relation: str
    operand: str


RULES: dict[str, list[Rule]] = {
    **{
        type: [Rule(*word) for word in re.findall(r"(\d+)([fIFs]?)([=@!-]?)(\S*)", words)]
        for type, words in _TABLE.items()
    },
    **{type: [] for type in _BARE},
}
_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_FLOAT = re.compile(r"(?=[-+]?\.?\d)([-+]?)(\d*)(?:\.(\d*))?(?:[eE]([-+]?)(\d*))?", re.ASCII)
_LONGEST = 15  # characters of a number that ncnn reads
_INFINITE = 400  # beyond that power of ten all are as large


def integer(text: str) -> int:
    """A whole number as ncnn reads it. Raises ValueError with what was expected."""
    if not _INTEGER.fullmatch(text) or len(text) > _LONGEST or not -(2**31) <= int(text) < 2**31:
        raise ValueError("expected an integer of 32 bits")
    return int(text)


def real(text: str) -> np.float32:
    """A number as ncnn reads it: digits in unsigned integers, the rest in fp64, the exponent step by step.

    Raises ValueError with what was expected.
    """
    match = _FLOAT.fullmatch(text)
    if not match or len(text) > _LONGEST:
        raise ValueError("expected a number of up to 15 characters")
    if _INTEGER.fullmatch(text) and int(text):
        raise ValueError("expected a point or an exponent; ncnn takes the bits of a whole number for a float's")
    sign, whole, fraction, direction, exponent = (part or "" for part in match.groups())
    value = float(int(whole or 0) % 2**32)
    if fraction:
        value += int(fraction) % 2**32 / (10 ** len(fraction) % 2**32)
    power, scale = min(int(exponent or 0), _INFINITE), 1.0
    for factor in [1e8] * (power // 8) + [10.0] * (power % 8):
        scale *= factor
    value = value / scale if direction == "-" else value * scale
    with np.errstate(over="ignore"):
        result = np.float32(-value if sign == "-" else value)
    if not np.isfinite(result):
        raise ValueError("expected a number that fits into 32 bits")
    return result


def array(text: str, item: Callable[[str], T]) -> list[T]:
    """An array in ncnn's older spelling: its length, then its values. Raises ValueError with what was expected."""
    count, *words = text.split(",")
    if count != str(len(words)):
        raise ValueError(f"expected the number of values, then as many; found {len(words)}")
    return [item(word) for word in words]


def string(text: str) -> str:
    """A text, with or without quotes."""
    return text.strip('"')


READ: dict[str, Callable[[str], object]] = {
    "": integer,
    "f": real,
    "I": lambda text: array(text, integer),
    "F": lambda text: array(text, real),
    "s": string,
}


def older_spelling(params: dict[int, str]) -> dict[int, str]:
    """The parameters with every array in ncnn's older spelling, which has its length in front."""
    spelled = {}
    for key, text in params.items():
        if key >= 0 and "," in text and not text.startswith('"'):
            values = text.removesuffix(",")  # behind the only one
            spelled[ARRAY - key] = f"{values.count(',') + 1},{values}"
        else:
            spelled[key] = text
    return spelled


def problem(type: str, params: dict[int, str]) -> str:
    """What is wrong with the parameters of a layer of this type, in words; empty where they are what it reads.

    >>> problem("Convolution", {0: "8", 3: "1.5"})
    'parameter 3=1.5: expected an integer of 32 bits'
    """
    kinds = {ARRAY - int(n) if kind in ("I", "F") else int(n): kind for n, kind, _, _ in RULES.get(type, [])}
    for key, text in older_spelling(params).items():
        other = ARRAY - key  # the key of an array where this is one value, or the other way round
        if not 0 <= (key if key >= 0 else other) <= LAST:
            return f"parameter {key}={text[:60]}: expected a number from 0 to {LAST} in front"
        try:
            if key in kinds:
                _READ_EITHER[kinds[key]](text)
            elif other in kinds:
                raise ValueError("expected one number" if key < 0 else "expected an array")
            elif key < 0:
                array(text, _number)
            elif not text[:1].isalpha() and not text.startswith('"'):
                _number(text)
        except ValueError as error:
            return f"parameter {key}={text[:60]}: {error}"
    return ""


def _number(text: str) -> float:
    """A number of either kind: ncnn of today takes a whole number for a float, too."""
    return integer(text) if _INTEGER.fullmatch(text) else float(real(text))


_READ_EITHER = READ | {"f": _number, "F": lambda text: array(text, _number)}
