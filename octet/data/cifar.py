"""CIFAR-10 and CIFAR-100 as they lie on disk: binary version or python version, in folders or in the official archive.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. Binary version: records of the label (CIFAR-100: the coarse and
the fine one), then 1024 red, 1024 green and 1024 blue values, row by row; class names in a text file. Python version:
pickles of dictionaries with the same values as numpy arrays. Nothing but plain values and numpy arrays is unpickled.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError
from octet.core.files import new_folder
from octet.core.pickle_reader import BadPickle
from octet.core.pickled_arrays import CONSTRUCTORS, Array
from octet.core.pickles import loads

URL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """folder: within the official archive; files: of each split; names: file with the class names; keys: of labels and
    class names in the pickles; label_bytes: of a record in the binary version, the last of which counts.
    """

    title: str
    archive: str
    md5: str
    folder: str
    files: dict[str, tuple[str, ...]]
    names: str
    keys: tuple[str, str] | None
    label_bytes: int = 0

    @property
    def all_files(self) -> tuple[str, ...]:
        return self.names, *self.files["train"], *self.files["test"]


_FIVE = tuple(f"data_batch_{k}" for k in range(1, 6))
BINARY10 = Layout(
    "CIFAR-10's binary version",
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-10-batches-bin",
    {"train": tuple(f"{name}.bin" for name in _FIVE), "test": ("test_batch.bin",)},
    "batches.meta.txt",
    None,
    1,
)
BINARY100 = Layout(
    "CIFAR-100's binary version",
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    "cifar-100-binary",
    {"train": ("train.bin",), "test": ("test.bin",)},
    "fine_label_names.txt",
    None,
    2,
)
PYTHON10 = Layout(
    "CIFAR-10's python version",
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    "cifar-10-batches-py",
    {"train": _FIVE, "test": ("test_batch",)},
    "batches.meta",
    ("labels", "label_names"),
)
PYTHON100 = Layout(
    "CIFAR-100's python version",
    "cifar-100-python.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-python",
    {"train": ("train",), "test": ("test",)},
    "meta",
    ("fine_labels", "fine_label_names"),
)
LAYOUTS = (BINARY10, BINARY100, PYTHON10, PYTHON100)


def write(folder: str | Path, train: tuple, test: tuple, classes: Sequence[str]) -> None:
    """Writes (images, labels), images uint8 RGB of shape (n, 3, 32, 32), as five training batches and one of test."""

    def records(images: np.ndarray, labels: np.ndarray) -> bytes:
        return np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1).tobytes()

    with new_folder(folder) as new:
        parts = np.array_split(train[0], 5), np.array_split(train[1], 5)
        for name, images, labels in zip(BINARY10.files["train"], *parts, strict=True):
            (new / name).write_bytes(records(images, labels))
        (new / "test_batch.bin").write_bytes(records(*test))
        (new / "batches.meta.txt").write_text("".join(f"{name}\n" for name in classes))


def find(folder: Path) -> tuple[Layout, Path] | None:
    """The layout whose files lie in the folder, in the archive's own folder in it, or in the archive, and where."""
    for layout in LAYOUTS:
        for place in (folder, folder / layout.folder):
            if any((place / name).is_file() for name in layout.all_files):
                return layout, place
    for layout in LAYOUTS:
        if (folder / layout.archive).is_file():
            return layout, folder / layout.archive
    return None


class Cifar:
    """One split, 'train' or 'test', of CIFAR-10 or CIFAR-100; the binary version's images are read when asked for.

    labels: int64 of shape (n,). classes: names by label. Raises OctetError for a missing folder or batch, one that is
    no whole number of records, a label without a class name, an archive with another checksum than the official one,
    and a pickle that holds more than numpy arrays.
    """

    labelled = True

    def __init__(self, folder: str | Path, split: str):
        self._folder, self._split = folder, _ = Path(folder), split
        if not folder.is_dir():
            raise OctetError(
                f"{folder}: no such folder; expected CIFAR-10 or CIFAR-100 in it, binary or python version"
            )
        layout, place = find(folder) or (BINARY10, folder)
        read = _archive(layout, place) if place.is_file() else lambda name: _file(place / name, layout, split)
        batch = self._pickled if layout.keys else self._records
        self.classes = _class_names(read(layout.names), layout, place)
        self._files = [(name, *batch(read(name), layout, place / name)) for name in layout.files[split]]
        counts = [len(labels) for _, labels, _ in self._files]
        self._starts = np.cumsum([0, *counts])
        self.labels = np.concatenate([labels for _, labels, _ in self._files])

    def __reduce__(self):
        """Pickled as where it lies, to be opened again."""
        return Cifar, (self._folder.absolute(), self._split)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        """An image: uint8 RGB of shape (32, 32, 3)."""
        file, k = self._place(index)
        planes = self._files[file][2][k, -_PIXELS:]
        return np.ascontiguousarray(planes.reshape(3, 32, 32).transpose(1, 2, 0))

    def name(self, index: int) -> str:
        """Batch and number in it, as test_batch.bin:17."""
        file, k = self._place(index)
        return f"{self._files[file][0]}:{k}"

    def _place(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return file, int(index - self._starts[file])

    def _records(self, raw: np.ndarray, layout: Layout, path: Path) -> tuple[np.ndarray, np.ndarray]:
        record = layout.label_bytes + _PIXELS
        if raw.size == 0 or raw.size % record:
            raise OctetError(
                f"{path}: {raw.size} bytes; expected a whole number of {record}-byte records (a label and 3072 pixels). "
                f"The file is cut off or not {layout.title}: make or fetch it again"
            )
        rows = raw.reshape(-1, record)
        return self._checked(rows[:, layout.label_bytes - 1], layout, path), rows

    def _pickled(self, raw: np.ndarray, layout: Layout, path: Path) -> tuple[np.ndarray, np.ndarray]:
        content = _unpickle(raw.tobytes(), path)
        pixels, labels = content.get("data"), _whole_numbers(content.get(layout.keys[0]))
        rows = pixels.values if isinstance(pixels, Array) else None
        fits = rows is not None and rows.dtype == np.uint8 and rows.ndim == 2 and rows.shape[1] == _PIXELS
        if not fits or labels is None or len(labels) != len(rows) or not len(rows):
            raise OctetError(
                f"{path}: expected uint8 'data' of shape (n, 3072) and n '{layout.keys[0]}' in it, as in {layout.title}"
            )
        return self._checked(labels, layout, path), rows

    def _checked(self, labels: np.ndarray, layout: Layout, path: Path) -> np.ndarray:
        labels = labels.astype(np.int64)
        if labels.max() >= len(self.classes) or labels.min() < 0:
            raise OctetError(
                f"{path}: a label is {labels.max()}, but {layout.names} names {len(self.classes)} classes; the file is damaged "
                "or belongs to another data set"
            )
        return labels


def _file(path: Path, layout: Layout, split: str) -> np.ndarray:
    """A file's bytes, read when they are looked at."""
    if not path.is_file():
        wanted = ", ".join((layout.names, *layout.files[split]))
        raise OctetError(f"{path}: no such file; {layout.title} has {wanted} for the {split} split")
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)


def _archive(layout: Layout, path: Path) -> Callable[[str], np.ndarray]:
    """A reader of the official archive's files."""
    check_md5(path, layout.md5)
    with tarfile.open(path) as archive:
        wanted = {f"{layout.folder}/{name}" for name in layout.all_files}
        files = {m.name: archive.extractfile(m).read() for m in archive if m.name in wanted and m.isfile()}
    return lambda name: np.frombuffer(files[f"{layout.folder}/{name}"], np.uint8)


def check_md5(path: Path, md5: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise OctetError(
            f"{path}: its md5 is {found}, the official archive's {md5}; the file is damaged: fetch it again"
        )


def _class_names(raw: np.ndarray, layout: Layout, path: Path) -> tuple[str, ...]:
    path = path / layout.names
    if layout.keys:
        names = _unpickle(raw.tobytes(), path).get(layout.keys[1], ())
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise OctetError(f"{path}: expected a list of class names under '{layout.keys[1]}', as in {layout.title}")
        return tuple(names)
    try:
        text = raw.tobytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OctetError(f"{path}: not UTF-8; expected the names of {layout.title}'s classes, one a line") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _whole_numbers(values: object) -> np.ndarray | None:
    """A list, or an array, of whole numbers as int64 of shape (n,); None for anything else."""
    if isinstance(values, Array):
        found = values.values
        return found.astype(np.int64) if found is not None and found.ndim == 1 and found.dtype.kind in "iu" else None
    if not isinstance(values, list) or not all(isinstance(v, int) and abs(v) < 1 << 31 for v in values):
        return None
    return np.array(values, np.int64)


def _unpickle(raw: bytes, path: Path) -> dict[object, object]:
    try:
        loaded = loads(raw, CONSTRUCTORS)
        if loaded.opaque:
            raise BadPickle(f"it names {loaded.opaque[0]}")
    except BadPickle as error:
        raise OctetError(
            f"{path}: not a pickle of numpy arrays alone, or damaged ({error}); expected a batch of CIFAR's python version. "
            "Reading anything else could run code"
        ) from None
    if not isinstance(loaded.value, dict):
        raise OctetError(f"{path}: expected a pickled dictionary, found {type(loaded.value).__name__}")
    return loaded.value
