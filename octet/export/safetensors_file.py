"""Files of safetensors, read without torch and without running anything in them.

A file is the length of its header (8 bytes), the header, a JSON object with dtype, shape and place of each tensor by its name,
and the tensors' bytes. Source: the format's description in safetensors' README.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.export.stored_tensors import Storage, StoredTensor, UnreadTensor, item_bytes

SUFFIX = ".safetensors"
_CODES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bf16"},
    **{"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1"},
    **{"U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"},
}
_LONGEST_HEADER = 100_000_000  # as safetensors has it
_MOST_AXES, _LONGEST_AXIS = 32, 1 << 40
_METADATA = "__metadata__"


class _Damaged(Exception):
    """The file is no safetensors file, or is damaged."""


def read(path: Path) -> dict[str, object]:
    """The tensors of a file by their names: a StoredTensor, or an UnreadTensor where its dtype is none of numpy's.

    Args:
        path: A file of safetensors.

    Raises:
        OctetError: It is none, or is cut off or damaged.
    """
    raw = bytearray(path.read_bytes())
    try:
        size = int.from_bytes(raw[:8], "little")
        if len(raw) < 8 or size > min(_LONGEST_HEADER, len(raw) - 8):
            raise _Damaged("its header is cut off")
        header = _header(bytes(raw[8 : 8 + size]))
        return {name: _tensor(memoryview(raw)[8 + size :], header[name]) for name in header if name != _METADATA}
    except _Damaged as error:
        raise OctetError(f"{path}: not a file of safetensors, or damaged ({error}); fetch it again") from None


def _header(content: bytes) -> dict[str, object]:
    try:
        header = json.loads(content)
    except (ValueError, RecursionError):
        raise _Damaged("its header is no JSON") from None
    if not isinstance(header, dict):
        raise _Damaged("its header is no JSON object")
    return header


def _tensor(content: memoryview, entry: object) -> object:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            pass
        case _:
            raise _Damaged("a tensor lacks its dtype, shape or place")
    possible = len(shape) <= _MOST_AXES and all(type(edge) is int and 0 <= edge <= _LONGEST_AXIS for edge in shape)
    if not possible or not 0 <= start <= end <= len(content):
        raise _Damaged("a tensor has an impossible shape, or lies outside of the file")
    code = _CODES.get(dtype)
    if code is None:
        return UnreadTensor(f"a tensor of the dtype {printable(dtype, 40)}")
    count = math.prod(shape)
    if count * item_bytes(code) != end - start:
        raise _Damaged("a tensor has another number of bytes than its shape says")
    strides = [math.prod(shape[axis + 1 :]) if count else 0 for axis in range(len(shape))]
    return StoredTensor(Storage(code, count, "<", partial(_part, content, start, end)), 0, tuple(shape), tuple(strides))


def _part(content: memoryview, start: int, end: int) -> memoryview:
    return content[start:end]
