"""The file of weights whose integers GPTQ or fine-tuning chose: rounding.npz, written by the stage round, read by quantize."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import read_bytes, write_bytes

# What zipfile and numpy raise for a damaged archive, and for a damaged head of an array, which numpy parses as Python.
_DAMAGED: tuple[type[Exception], ...] = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
)
_DAMAGED += (zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, TypeError, tokenize.TokenError)


@dataclass(frozen=True)
class GptqWeights:
    """What GPTQ, or fine-tuning, chose for one layer.

    Args:
        weight: The integers, int8 of shape (n,), in the order of the .bin.
        bias: What the layer's bias gains, fp32 of shape (outputs,).
        weight_scales: The weights' scales that fine-tuning learned, fp32 of shape (scales,); None: the table's.
        input_scale: That of the input, fp32 of shape (1,), as a table has it; None: the table's.
    """

    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.float32]
    weight_scales: npt.NDArray[np.float32] | None = None
    input_scale: npt.NDArray[np.float32] | None = None


def save(weights: Mapping[str, GptqWeights], path: Path) -> None:
    """Writes layers' weights, by name, as an .npz: the same bytes for the same content."""
    arrays = {f"{name}/{part}": array for name, one in weights.items() for part, array in _arrays(one).items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> dict[str, GptqWeights]:
    """The layers' weights, by name; empty where weights round to the nearest.

    Raises:
        OctetError: The file is missing or damaged.
    """
    raw = read_bytes(path, "the stage round makes it")
    try:
        loaded = np.load(io.BytesIO(raw), allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        if any(member.compress_type != zipfile.ZIP_STORED for member in loaded.zip.infolist()):
            raise ValueError("compressed, so that a small file may unpack to any size")
        with loaded as arrays:
            names = dict.fromkeys(key.rpartition("/")[0] for key in arrays.files)
            weights = {name: GptqWeights(*(_array(arrays, f"{name}/{part}") for part in _PARTS)) for name in names}
        for one in weights.values():
            for part, array in _arrays(one).items():
                dtype = np.int8 if part == "weight" else np.float32
                if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                    raise ValueError("not a flat array of int8 or fp32")
                if part.endswith(("scale", "scales")) and not (np.isfinite(array) & (array > 0)).all():
                    raise ValueError("a scale that is not above zero")
        return weights
    except _DAMAGED:
        raise OctetError(f"{path}: not an .npz of rounded weights, or damaged; run the stage round again") from None


_PARTS = tuple(field.name for field in fields(GptqWeights))
_OPTIONAL = {field.name for field in fields(GptqWeights) if field.default is None}


def _arrays(one: GptqWeights) -> dict[str, npt.NDArray[Any]]:
    """Those that are there, by name."""
    return {part: array for part in _PARTS if (array := getattr(one, part)) is not None}


def _array(arrays: np.lib.npyio.NpzFile, key: str) -> Any:
    """An array of the file; None where it may be absent and is."""
    return arrays[key] if key in arrays.files or key.rpartition("/")[2] not in _OPTIONAL else None
