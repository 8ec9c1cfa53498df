"""CIFAR-10 as JPEG class folders in zips (../shared/cifar10-jpeg), written as CIFAR-10's binary version, and its model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np

from octet.data.cifar import write

SHARED = Path(__file__).parents[3] / "shared"
PICTURES, CHECKPOINT = SHARED / "cifar10-jpeg", SHARED / "checkpoints" / "resnet18_cifar10_jpeg.pth"


def convert(folder: Path) -> None:
    """Writes the data set. The n-th pictures of all classes follow one another, so any part of it is balanced."""
    splits, classes = {}, ()
    for split in ("train", "test"):
        with zipfile.ZipFile(PICTURES / f"{split}.zip") as pictures:
            names = [name.split("/") for name in pictures.namelist() if name.endswith(".jpg")]
            classes = sorted({name[1] for name in names})
            names.sort(key=lambda name: (name[2], name[1]))
            rows = [_decode(pictures.read("/".join(name))) for name in names]
        labels = np.array([classes.index(name[1]) for name in names], np.uint8)
        splits[split] = np.stack(rows), labels
    write(folder, splits["train"], splits["test"], classes)


def _decode(raw: bytes) -> np.ndarray:
    """uint8 RGB of shape (3, 32, 32)."""
    bgr = cv2.imdecode(np.frombuffer(io.BytesIO(raw).getbuffer(), np.uint8), cv2.IMREAD_COLOR)
    return bgr[:, :, ::-1].transpose(2, 0, 1)
