"""Tensors of a checkpoint that nobody vouches for, read without running any of its code.

torch.save writes a pickle. It names storages, which are plain numbers in the file, and for each tensor says how it lies in one: by
an offset, a size and strides. This reads both, checks every number, and makes numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from octet.core.pickle_reader import BadPickle, Constructor, Global, Opaque, Reader

# What storages hold, by the name of their class: numpy's code for it, or that of the upper half of a float32.
_CODES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "UntypedStorage": "u1",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
    "QInt8Storage": "i1",
    "QUInt8Storage": "u1",
    "QInt32Storage": "i4",
    "QUInt4x2Storage": "u1",
    "QUInt2x4Storage": "u1",
}
_NEWER = {"torch.uint16": "u2", "torch.uint32": "u4", "torch.uint64": "u8"}  # dtypes that lie in untyped storages
_MOST_AXES, _MOST_ELEMENTS = 32, 1 << 40
_UNREAD = {
    "_rebuild_qtensor": "a quantized tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor on the device 'meta', which holds no numbers",
    "_rebuild_wrapper_subclass": "a tensor of a class of its own",
    "_rebuild_device_tensor_from_numpy": "a tensor of another device than CPU and GPU",
    "_rebuild_device_tensor_from_cpu_tensor": "a tensor of another device than CPU and GPU",
}


class UnreadTensor(Opaque):
    """In the place of a tensor that is no plain one. what: what it is."""


def code_of(kind: object) -> str:
    """What a storage of that class holds, as numpy's code. Raises BadPickle for an unknown class."""
    code = _CODES.get(kind.name) if isinstance(kind, Global) and kind.module.split(".")[0] == "torch" else None
    if code is None:
        raise BadPickle(f"it has a storage of the unknown kind {kind if isinstance(kind, Global) else 'of no class'}")
    return code


def item_bytes(code: str) -> int:
    """The size of one number of that code."""
    return 2 if code == "bf16" else np.dtype(code).itemsize


def _nothing() -> memoryview:
    raise BadPickle("the file lacks its numbers")


@dataclass(eq=False)
class Storage:
    """A row of numbers in a file.

    Args:
        code: What they are, numpy's code for it, or 'bf16'.
        count: How many.
        order: '<' or '>': which byte of a number is first.
        raw: Gives their bytes. Raises BadPickle where the file lacks them, or they are damaged.
    """

    code: str
    count: int
    order: str
    raw: Callable[[], memoryview] = _nothing

    @cached_property
    def numbers(self) -> npt.NDArray[np.generic]:
        """The numbers as the file has them, of shape (count,); bfloat16 as uint16. Raises BadPickle."""
        size, raw = self.count * item_bytes(self.code), self.raw()
        if len(raw) < size:
            raise BadPickle("the file lacks some of its numbers")
        code = {"bf16": "u2", "?": "u1"}.get(self.code, self.code)
        return np.frombuffer(raw[:size], f"{self.order}{code}")

    def part(self, start: int, count: int, code: str | None = None) -> Storage:
        """Some of it as a storage: `count` numbers of another code, from one of its own on. Raises BadPickle."""
        code = code or self.code
        first, size = start * item_bytes(self.code), count * item_bytes(code)
        if first + size > self.count * item_bytes(self.code):
            raise BadPickle("a storage is part of one that is smaller")
        return Storage(code, count, self.order, lambda: self.raw()[first : first + size])


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """How a tensor lies in its storage: from which number on, its shape, and how far its neighbours on each axis are."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def values(self) -> npt.NDArray[np.generic]:
        """The tensor in this machine's byte order, numbers with a point as fp32.

        Takes memory as its shape says, which is for the caller to compare with what it expects: a file can say of a few
        numbers that they are many. Raises BadPickle where the tensor reaches beyond its numbers.
        """
        numbers, code = self.storage.numbers, self.storage.code
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape:
            numbers, last = np.zeros(1, numbers.dtype), 0
        if last >= len(numbers):
            raise BadPickle("it reaches beyond its numbers")
        steps = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[min(self.offset, last) :], self.shape, steps)
        if code == "bf16":
            halves = view.astype(np.uint32)
            return np.left_shift(halves, np.uint32(16), out=halves).view(np.float32)
        if code == "?":
            return view.astype(np.bool_)
        with np.errstate(over="ignore"):  # it becomes infinite, which the caller finds
            return view.astype(np.float32 if view.dtype.kind == "f" else view.dtype.newbyteorder("="))


def _rebuild(_: Reader, arguments: tuple[object, ...]) -> object:
    """_rebuild_tensor and _rebuild_tensor_v2: storage, offset, shape, strides, whether a gradient, hooks, metadata."""
    tensor = _tensor(arguments)
    if isinstance(tensor, StoredTensor) and len(arguments) > 6 and arguments[6]:
        return UnreadTensor("a tensor that is the negative of its numbers")
    return tensor


def _rebuild_newer(_: Reader, arguments: tuple[object, ...]) -> object:
    """_rebuild_tensor_v3: as _v2, of an untyped storage, with the dtype before the metadata."""
    dtype = str(arguments[6]) if len(arguments) > 6 and isinstance(arguments[6], Global) else ""
    whole = arguments[0]
    if not isinstance(whole, Storage) or dtype not in _NEWER or any(arguments[7:]):
        return UnreadTensor(f"a tensor of the dtype {dtype}")
    count = whole.count * item_bytes(whole.code) // item_bytes(_NEWER[dtype])
    return _tensor((whole.part(0, count, _NEWER[dtype]), *arguments[1:4]))


def _tensor(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (Opaque() as unread, *_):
            return unread
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
            sizes = _counts(shape)
            steps = _counts(strides)
            if storage.code.startswith("c"):
                return UnreadTensor("a complex tensor")
            if offset >= 0 and len(sizes) == len(steps) <= _MOST_AXES and math.prod(sizes) <= _MOST_ELEMENTS:
                return StoredTensor(storage, offset, sizes, steps)
    raise BadPickle("it has a tensor without storage, offset, shape and strides")


def _counts(values: tuple[object, ...]) -> tuple[int, ...]:
    """The values as integers from 0 to what an array can have. Raises BadPickle for others."""
    good = tuple(value for value in values if isinstance(value, int) and 0 <= value <= _MOST_ELEMENTS)
    if len(good) != len(values):
        raise BadPickle("it has a tensor with an impossible shape or stride")
    return good


def _first(_: Reader, arguments: tuple[object, ...]) -> object:
    """A parameter is its tensor, a size its numbers."""
    if not arguments:
        raise BadPickle("it has a parameter without a tensor")
    return arguments[0]


def _of_a_type(reader: Reader, arguments: tuple[object, ...]) -> object:
    """_rebuild_from_type_v2: the function that rebuilds the tensor, its class, the function's arguments, a state."""
    if len(arguments) < 3:
        raise BadPickle("it has a tensor without its arguments")
    return reader.call(arguments[0], arguments[2])


def _unread(what: str) -> Constructor:
    return lambda _, __: UnreadTensor(what)


TORCH: Mapping[tuple[str, str], Constructor] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_newer,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type"): _of_a_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_a_type,
    ("torch.tensor", "_rebuild_from_type"): _of_a_type,
    ("torch", "Size"): _first,
    ("torch", "device"): lambda _, __: Opaque("torch.device"),
} | {("torch._utils", name): _unread(what) for name, what in _UNREAD.items()}
