"""CIFAR-10's binary version: records of one label byte and 3072 pixel bytes, and no pickles.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, «binary version». A record is the label, then 1024 red, 1024
green and 1024 blue values, row by row. `batches.meta.txt` holds the class names, one a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octet.errors import OctetError
from octet.files import new_folder

_RECORD = 1 + 3 * 32 * 32
_TRAIN = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
_FILES = {"train": _TRAIN, "test": ("test_batch.bin",)}


@dataclass(frozen=True)
class Pictures:
    """Pictures as they lie on disk: uint8 RGB of shape (n, 32, 32, 3), labels of shape (n,), class names."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def write(folder: str | Path, train: tuple, test: tuple, classes: Sequence[str]) -> None:
    """Writes (images, labels) pairs, images uint8 RGB of shape (n, 3, 32, 32), as five training batches and one of test."""

    def records(images: np.ndarray, labels: np.ndarray) -> bytes:
        return np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1).tobytes()

    with new_folder(folder) as new:
        for name, images, labels in zip(_TRAIN, np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True):
            (new / name).write_bytes(records(images, labels))
        (new / "test_batch.bin").write_bytes(records(*test))
        (new / "batches.meta.txt").write_text("".join(f"{name}\n" for name in classes))


def read(folder: str | Path, split: str) -> Pictures:
    """Reads one split, 'train' or 'test'.

    Raises OctetError for a missing or empty folder, a missing batch, a batch that is no whole number of records, and
    a label without a class name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OctetError(
            f"{folder}: no such folder; expected CIFAR-10's binary files {', '.join(_FILES[split])} in it. "
            "'dvc repro' draws data/digits32; other data sets have to be put there"
        )
    meta = folder / "batches.meta.txt"
    if not meta.is_file():
        raise OctetError(f"{meta}: no such file; expected the class names, one a line, as CIFAR-10's binary version has")
    classes = tuple(line.strip() for line in meta.read_text().splitlines() if line.strip())
    parts = []
    for name in _FILES[split]:
        path = folder / name
        if not path.is_file():
            raise OctetError(f"{path}: no such file; the {split} split is {', '.join(_FILES[split])}")
        data = np.fromfile(path, np.uint8)
        if data.size == 0 or data.size % _RECORD:
            raise OctetError(
                f"{path}: {data.size} bytes; expected a whole number of {_RECORD}-byte records (one label, 3072 pixels). "
                "The file is cut off or not CIFAR-10's binary version: make or fetch it again"
            )
        part = data.reshape(-1, _RECORD)
        worst = int(part[:, 0].max())
        if worst >= len(classes):
            raise OctetError(
                f"{path}: a label is {worst}, but {meta.name} names {len(classes)} classes; the file is corrupt or belongs "
                "to another data set"
            )
        parts.append(part)
    rows = np.concatenate(parts)
    images = np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Pictures(images, rows[:, 0].astype(np.int64), classes)
