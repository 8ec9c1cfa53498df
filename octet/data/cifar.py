"""CIFAR-10's binary version: records of one label byte and 3072 pixel bytes, and no pickles.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, «binary version». A record is the label, then 1024 red, 1024
green and 1024 blue values, row by row. `batches.meta.txt` holds the class names, one a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from octet.errors import OctetError
from octet.files import new_folder

_RECORD = 1 + 3 * 32 * 32
_TRAIN = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
_FILES = {"train": _TRAIN, "test": ("test_batch.bin",)}


def write(folder: str | Path, train: tuple, test: tuple, classes: Sequence[str]) -> None:
    """Writes (images, labels), images uint8 RGB of shape (n, 3, 32, 32), as five training batches and one of test."""

    def records(images: np.ndarray, labels: np.ndarray) -> bytes:
        return np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1).tobytes()

    with new_folder(folder) as new:
        for name, images, labels in zip(_TRAIN, np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True):
            (new / name).write_bytes(records(images, labels))
        (new / "test_batch.bin").write_bytes(records(*test))
        (new / "batches.meta.txt").write_text("".join(f"{name}\n" for name in classes))


class Cifar:
    """One split, 'train' or 'test', of a data set in CIFAR-10's binary version; pictures are read when asked for.

    labels: int64 of shape (n,). classes: names by label. Raises OctetError for a missing or empty folder, a missing
    batch, one that is no whole number of records, and a label without a class name.
    """

    def __init__(self, folder: str | Path, split: str):
        folder = Path(folder)
        if not folder.is_dir():
            raise OctetError(
                f"{folder}: no such folder; expected CIFAR-10's binary files {', '.join(_FILES[split])} in it. "
                "'dvc repro' draws data/digits32; other data sets have to be put there"
            )
        self.classes = self._class_names(folder / "batches.meta.txt")
        self._places: list[tuple[Path, int]] = []
        labels = []
        for name in _FILES[split]:
            part = self._batch_labels(folder / name, split)
            labels.append(part)
            self._places += [(folder / name, k) for k in range(len(part))]
        self.labels = np.concatenate(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        """A picture: uint8 RGB of shape (32, 32, 3)."""
        path, k = self._places[index]
        planes = np.fromfile(path, np.uint8, _RECORD - 1, offset=k * _RECORD + 1)
        return np.ascontiguousarray(planes.reshape(3, 32, 32).transpose(1, 2, 0))

    @staticmethod
    def _class_names(meta: Path) -> tuple[str, ...]:
        if not meta.is_file():
            raise OctetError(
                f"{meta}: no such file; expected the class names, one a line, as CIFAR-10's binary version has"
            )
        return tuple(line.strip() for line in meta.read_text().splitlines() if line.strip())

    def _batch_labels(self, path: Path, split: str) -> np.ndarray:
        if not path.is_file():
            raise OctetError(f"{path}: no such file; the {split} split is {', '.join(_FILES[split])}")
        size = path.stat().st_size
        if size == 0 or size % _RECORD:
            raise OctetError(
                f"{path}: {size} bytes; expected a whole number of {_RECORD}-byte records (a label and 3072 pixels). "
                "The file is cut off or not CIFAR-10's binary version: make or fetch it again"
            )
        labels = np.fromfile(path, np.uint8).reshape(-1, _RECORD)[:, 0].astype(np.int64)
        if labels.max() >= len(self.classes):
            raise OctetError(
                f"{path}: a label is {labels.max()}, but batches.meta.txt names {len(self.classes)} classes; the file is "
                "damaged or belongs to another data set"
            )
        return labels
