"""CIFAR-10 and CIFAR-100 as they lie on disk: binary or python version, in folders or in the official archive.

Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import checksum

URL = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Layout:
    """One version of the data set.

    Args:
        title: What it is called in messages.
        archive: The official archive's file name.
        md5: The archive's.
        folder: The files' folder in it.
        files: The files of each split.
        names: The file with the class names.
        keys: Of labels and class names in the python version's pickles; None: the binary version.
        label_bytes: How many labels stand before the pixels in the binary version; the last counts.
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
        """The names of all its files."""
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


def check_md5(archive: Path, layout: Layout) -> None:
    """Raises OctetError where an archive is not the official one."""
    md5 = checksum(archive, "md5")
    if md5 != layout.md5:
        raise OctetError(
            f"{archive}: its md5 is {md5}, the official archive's {layout.md5}; the file is damaged: fetch it again"
        )
