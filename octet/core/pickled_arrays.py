"""What pickles of numbers call: built-in types, OrderedDict, numpy's arrays, scalars and plain numeric dtypes.

numpy writes an array as an empty one that is told its shape, dtype and bytes afterwards, and a dtype as a code that is
told its byte order; both are told by a tuple that numpy itself believes. Here the tuple's parts are compared with each
other first: a dtype is one of a few codes, and an array has as many bytes as its shape and dtype say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octet.core.pickle_reader import BadPickle, Constructor, Global, Opaque, Reader, pairs

MOST_AXES = 32  # as numpy 1 has it
_CODE = re.compile(r"[<>|=]?([?]|b1|[iu][1248]|f[248]|c8|c16)")


@dataclass(eq=False)
class DType:
    """A numpy dtype under construction. code: as numpy writes it, without the byte order; '' for one that is not plain."""

    code: str
    order: str = "="

    def set_state(self, _: Reader, state: object, /) -> None:
        """Takes the byte order from (version, order, subarray, names, fields, size, alignment, flags, …)."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise BadPickle("a dtype has no byte order")
        if any(part is not None for part in state[2:5]):
            self.code = ""  # a structured one
        self.order = str(state[1])

    def dtype(self) -> np.dtype[np.generic] | None:
        """The dtype; None for one that is not plain."""
        return np.dtype(self.order.replace("|", "=") + self.code) if self.code else None


@dataclass(eq=False)
class Array:
    """A numpy array. values: read-only; None for one that was never told its bytes, or whose dtype is not plain."""

    values: npt.NDArray[np.generic] | None = None

    def set_state(self, reader: Reader, state: object) -> None:
        """Takes (version, shape, dtype, whether in Fortran's order, bytes), of which old ones lack the version."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise BadPickle("an array has no shape, dtype and bytes")
        shape, dtype, fortran, raw = state[-4:]
        self.values = _values(reader, raw, dtype, shape, "F" if fortran else "C")


def _values(reader: Reader, raw: object, dtype: object, shape: object, order: object) -> npt.NDArray[np.generic] | None:
    plain = dtype.dtype() if isinstance(dtype, DType) else None
    if plain is None:
        return None
    if isinstance(raw, str):  # as Python 2 wrote bytes
        raw = latin1(reader, raw)
    if not isinstance(raw, bytes) or not isinstance(shape, tuple) or len(shape) > MOST_AXES or order not in ("C", "F"):
        raise BadPickle("an array has no shape and bytes")
    sizes = [size for size in shape if isinstance(size, int) and 0 <= size < 1 << 31]
    if len(sizes) != len(shape) or math.prod(sizes) * plain.itemsize != len(raw):
        raise BadPickle(f"an array has {len(raw):,} bytes, other than its shape and dtype say")
    return np.frombuffer(raw, plain).reshape(sizes, order="F" if order == "F" else "C")


def latin1(reader: Reader, text: str) -> bytes:
    """Text whose characters stand for bytes, as bytes. Raises BadPickle for other text."""
    reader.spend(1, copied=len(text))
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise BadPickle("bytes are written as text that has other characters") from None


def _dictionary(reader: Reader, arguments: tuple[object, ...]) -> object:
    """OrderedDict: of nothing, or of pairs, as Python 2 wrote it."""
    if not arguments:
        return {}
    items = arguments[0]
    if len(arguments) > 1 or not isinstance(items, list):
        return reader.step_over("collections.OrderedDict of something else than pairs")
    reader.spend(len(items))
    good = [pair for pair in items if isinstance(pair, list | tuple) and len(pair) == 2]
    if len(good) != len(items):
        raise BadPickle("a dictionary is made of what are no pairs")
    return pairs([pair[0] for pair in good], [pair[1] for pair in good])


def _encode(reader: Reader, arguments: tuple[object, ...]) -> object:
    """Bytes, as they are or as protocols below 3 have them: as text, to be encoded as Latin-1."""
    match arguments:
        case ():
            return b""
        case (bytes(raw),):
            return raw
        case (str(text), "latin1" | "latin-1"):
            return latin1(reader, text)
    return reader.step_over("bytes, written as something else than text")


def _set(_: Reader, arguments: tuple[object, ...]) -> object:
    """A set, as the list that protocols below 4 make it of."""
    return arguments[0] if arguments and isinstance(arguments[0], list) else []


def _dtype(_: Reader, arguments: tuple[object, ...]) -> object:
    match arguments:
        case (str(code), *_) if len(code) < 8 and (number := _CODE.fullmatch(code)):
            return DType(number[1])
    return DType("")


def _empty_array(reader: Reader, arguments: tuple[object, ...]) -> object:
    return (
        Array() if arguments[:1] == (Global("numpy", "ndarray"),) else reader.step_over("a subclass of numpy.ndarray")
    )


def _array_of_bytes(reader: Reader, arguments: tuple[object, ...]) -> object:
    """An array as protocol 5 has it: bytes, dtype, shape, order."""
    if len(arguments) != 4:
        raise BadPickle("an array has no shape, dtype and bytes")
    raw, dtype, shape, order = arguments
    return Array(_values(reader, raw, dtype, shape, order))


def _scalar(reader: Reader, arguments: tuple[object, ...]) -> object:
    """A number of numpy's as Python's."""
    if len(arguments) != 2:
        raise BadPickle("a number has no dtype and bytes")
    number = _values(reader, arguments[1], arguments[0], (), "C")
    return Opaque("numpy.dtype") if number is None else number.item()


CONSTRUCTORS: Mapping[tuple[str, str], Constructor] = (
    {
        ("collections", "OrderedDict"): _dictionary,
        ("collections", "defaultdict"): lambda _, __: {},
        ("_codecs", "encode"): _encode,
        ("numpy", "dtype"): _dtype,
    }
    | {
        (module, name): constructor
        for module in ("builtins", "__builtin__")
        for name, constructor in (("bytes", _encode), ("bytearray", _encode), ("set", _set), ("frozenset", _set))
    }
    | {
        (f"numpy.{core}.{module}", name): constructor
        for core in ("core", "_core")
        for module, name, constructor in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array_of_bytes),
        )
    }
)
