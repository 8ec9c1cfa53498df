"""CIFAR-10 and CIFAR-100, in any of their layouts.

Binary version: records of the label (CIFAR-100: the coarse and the fine one), then 1024 red, 1024 green and 1024 blue
values, row by row; class names in a text file. Python version: pickles of dictionaries with the same values as numpy
arrays.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import new_folder
from octet.core.text_lines import say_mark
from octet.data.arrays import Labels, Pixels
from octet.data.cifar_layouts import BINARY10, Layout, check_md5, find
from octet.data.cifar_pickle import read_batch, read_names
from octet.data.listing import check_no_link
from octet.data.source import Source

_PIXELS = 3 * 32 * 32
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Batch:
    """A file: its name, the labels of its images, and rows that end in their pixels, of shape (n, 3072 or more)."""

    name: str
    labels: Labels
    rows: Bytes


class Cifar:
    """One split of CIFAR-10 or CIFAR-100; the binary version's images are read when asked for.

    Pickled as where it lies, to be opened again.

    Args:
        folder: Where its files or its archive lie.
        split: 'train' or 'test'.

    Attributes:
        labels: Of shape (n,).
        classes: Their names, by label.
        source: Which files they are.

    Raises:
        OctetError: For a missing folder or batch, one that is no whole number of records, a label without a class name,
            an archive with another checksum than the official one, and a pickle that holds more than numpy arrays.
    """

    labelled = True

    def __init__(self, folder: str | Path, split: str):
        folder = Path(folder)
        self._folder, self._split = folder, split
        if not folder.is_dir():
            raise OctetError(
                f"{folder}: no such folder; expected CIFAR-10 or CIFAR-100 in it, binary or python version"
            )
        layout, place = find(folder) or (BINARY10, folder)
        check_no_link(place, folder)
        remarks = list[str]()
        read = _archive(layout, place) if place.is_file() else lambda name: _file(place / name, layout, split)
        self.classes = _class_names(read(layout.names), layout, place / layout.names, remarks)
        self._batches = [_batch(read(name), layout, place / name, len(self.classes)) for name in layout.files[split]]
        self._starts = np.cumsum([0, *(len(batch.labels) for batch in self._batches)])
        self.source = Source(",".join(layout.files[split]), layout.title, remarks)
        self.labels: Labels = np.concatenate([batch.labels for batch in self._batches])

    def __reduce__(self) -> tuple[type[Cifar], tuple[Path, str]]:
        return Cifar, (self._folder.absolute(), self._split)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """An image: uint8 RGB of shape (32, 32, 3)."""
        batch, k = self._place(index)
        planes = batch.rows[k, -_PIXELS:]
        return np.ascontiguousarray(planes.reshape(3, 32, 32).transpose(1, 2, 0))

    def name(self, index: int) -> str:
        """Batch and number in it, as test_batch.bin:17."""
        batch, k = self._place(index)
        return f"{batch.name}:{k}"

    def _place(self, index: int) -> tuple[_Batch, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._batches[number], int(index - self._starts[number])


def write(folder: str | Path, train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes], classes: Sequence[str]) -> None:
    """Writes a data set in the layout of CIFAR-10's binary version, as five training batches and one of test.

    >>> import tempfile
    >>> images, labels = np.zeros((5, 3, 32, 32), np.uint8), np.arange(5, dtype=np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder, (images, labels), (images[:1], labels[:1]), "abcde")
    ...     Cifar(folder, "train").labels.tolist()
    [0, 1, 2, 3, 4]

    Args:
        folder: Which takes the place of what was there.
        train: Images, RGB of shape (n, 3, 32, 32), and labels, of shape (n,), both uint8.
        test: The same.
        classes: Their names, by label.
    """

    def records(images: Bytes, labels: Bytes) -> bytes:
        rows: Bytes = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
        return rows.tobytes()

    with new_folder(folder) as new:
        parts = np.array_split(train[0], 5), np.array_split(train[1], 5)
        for name, images, labels in zip(BINARY10.files["train"], *parts, strict=True):
            (new / name).write_bytes(records(images, labels))
        (new / "test_batch.bin").write_bytes(records(*test))
        (new / "batches.meta.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")


def _file(path: Path, layout: Layout, split: str) -> Bytes:
    """A file's bytes, read when they are looked at."""
    if not path.is_file():
        wanted = ", ".join((layout.names, *layout.files[split]))
        raise OctetError(f"{path}: no such file; {layout.title} has {wanted} for the {split} split")
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)


def _archive(layout: Layout, path: Path) -> Callable[[str], Bytes]:
    """A reader of the official archive's files."""
    check_md5(path, layout)
    wanted = {f"{layout.folder}/{name}": name for name in layout.all_files}
    content = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name in wanted else None  # None: a folder, too
            if file:
                content[wanted[member.name]] = file.read()
    return lambda name: np.frombuffer(content[name], np.uint8)


def _class_names(raw: Bytes, layout: Layout, path: Path, remarks: list[str]) -> tuple[str, ...]:
    if layout.keys:
        return read_names(raw.tobytes(), path, layout.keys[1], layout.title)
    say_mark(path, raw.tobytes(), remarks.append)
    try:
        text = raw.tobytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OctetError(f"{path}: not UTF-8; expected the names of {layout.title}'s classes, one a line") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _batch(raw: Bytes, layout: Layout, path: Path, n_classes: int) -> _Batch:
    if layout.keys:
        labels, rows = read_batch(raw.tobytes(), path, layout.keys[0], layout.title)
    else:
        labels, rows = _records(raw, layout, path)
    if labels.max() >= n_classes or labels.min() < 0:
        raise OctetError(
            f"{path}: a label is {labels.max()}, but {layout.names} names {n_classes} classes; the file is damaged "
            "or belongs to another data set"
        )
    return _Batch(path.name, labels, rows)


def _records(raw: Bytes, layout: Layout, path: Path) -> tuple[Labels, Bytes]:
    """Labels and rows of a file of the binary version."""
    record = layout.label_bytes + _PIXELS
    if raw.size == 0 or raw.size % record:
        raise OctetError(
            f"{path}: {raw.size} bytes; expected a whole number of {record}-byte records (a label and 3072 pixels). "
            f"The file is cut off or not {layout.title}: make or fetch it again"
        )
    rows = raw.reshape(-1, record)
    return rows[:, layout.label_bytes - 1].astype(np.int64), rows
