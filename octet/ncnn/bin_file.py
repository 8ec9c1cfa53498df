"""Weights as they lie in a .bin: a tag where there is one, the values, and the padding to a multiple of 4 bytes.

Source: ncnn's src/modelbin.cpp (ModelBinFromDataReader::load). Of fp16 and int8 weights ncnn reads a multiple of 4 bytes;
what fills the last 4 up it skips. Without a tag, and with those of fp32, a weight is a multiple of 4 bytes by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.ncnn.layer import TAG_FP16, TAG_FP32, TAG_FP32_SCALED, TAG_INT8, Tensor
from octet.ncnn.layout import Slot

PADDED_TO = 4  # bytes
_DTYPES: dict[int, type[np.float32 | np.float16 | np.int8]] = {
    TAG_FP32: np.float32,
    TAG_FP32_SCALED: np.float32,
    TAG_FP16: np.float16,
    TAG_INT8: np.int8,
}


def padding_bytes(size: int) -> int:
    """How many bytes of padding follow a weight of so many bytes.

    >>> [padding_bytes(size) for size in (3, 4, 5)]
    [1, 0, 3]
    """
    return -size % PADDED_TO


def read_weight(data: bytes, at: int, slot: Slot, where: str) -> tuple[Tensor, int]:
    """Reads one weight.

    Args:
        data: The whole .bin.
        at: Where the weight begins in it.
        slot: What is there.
        where: The file, layer and role, for errors.

    Returns:
        The weight, and where the next one begins.

    Raises:
        OctetError: The file ends before the weight does, or has an unknown tag.
    """
    tag: int | None = None
    dtype: np.dtype[Any] = np.dtype(np.float32)
    if slot.tagged:
        if at + 4 > len(data):
            raise OctetError(
                f"{where}: the file ends at byte {len(data)}, before this weight; it is cut off: make it again"
            )
        tag = int.from_bytes(data[at : at + 4], "little")
        if tag not in _DTYPES:
            raise OctetError(f"{where}: unknown tag 0x{tag:08X} at byte {at}; expected fp32, fp16 or int8 weights")
        at, dtype = at + 4, np.dtype(_DTYPES[tag])
    size = slot.count * dtype.itemsize
    end = at + size + padding_bytes(size)
    if end > len(data):
        raise OctetError(
            f"{where}: needs {end - at} bytes at byte {at}, but the file ends at byte {len(data)}; it is cut off: make it again"
        )
    values: npt.NDArray[np.generic] = np.frombuffer(data, dtype, slot.count, at)
    return Tensor(values, tag, data[at + size : end]), end


def weight_bytes(tensor: Tensor, slot: Slot) -> bytes:
    """One weight as it lies in the .bin. Raises ValueError where it is not what belongs there."""
    dtype = np.float32 if tensor.tag is None else _DTYPES[tensor.tag]
    if tensor.data.dtype != dtype or tensor.data.size != slot.count or (tensor.tag is not None) != slot.tagged:
        raise ValueError(
            f"{slot}: does not fit a {tensor.data.dtype} array of {tensor.data.size} with tag {tensor.tag}"
        )
    values = tensor.data.tobytes()
    head = b"" if tensor.tag is None else tensor.tag.to_bytes(4, "little")
    return head + values + tensor.padding.ljust(padding_bytes(len(values)), b"\0")
