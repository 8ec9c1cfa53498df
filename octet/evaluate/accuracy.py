"""Accuracy as mmcls's own test computes it: top-1, top-5, and precision, recall and F1 by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import decimals, read_dataclass
from octet.data.arrays import Labels

MEASURES = ("top1_pct", "top5_pct", "precision_pct", "recall_pct", "f1_pct")


@dataclass(frozen=True)
class Accuracy:
    """fp32.json and int8.json: the accuracy of one model on one split, in percent; its fields are the file's keys.

    Of images without labels it has no accuracy: those keys are None here, and missing in the file.

    Args:
        n_images: How many images it is measured on.
        top1_pct: On how many of them the most likely class is the label.
        top5_pct: On how many the label is among the five most likely classes.
        precision_pct: The mean of all classes' precision; recall_pct and f1_pct alike.
        n_unreadable: How many images more could not be read.
        split_source: Where images and labels come from: a place in the data set's folder, and what it is.
    """

    n_images: int
    top1_pct: float | None = None
    top5_pct: float | None = None
    precision_pct: float | None = None
    recall_pct: float | None = None
    f1_pct: float | None = None
    n_unreadable: int = 0
    split_source: str = ""

    @classmethod
    def load(cls, path: Path) -> Accuracy:
        """Reads the file. Raises OctetError where it is missing or another one."""
        figures = read_dataclass(cls, path, made_by := "the stage evaluate makes it")
        if len({getattr(figures, key) is None for key in MEASURES}) > 1:
            raise OctetError(f"{path}: expected all of the keys {', '.join(MEASURES)}, or none; {made_by}")
        return figures

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class ClassAccuracy:
    """How well a model tells one class, in percent.

    Args:
        name: The class's.
        precision_pct: How many of the images that were taken for it are of it.
        recall_pct: How many of its images were taken for it.
        f1_pct: The harmonic mean of the two.
        support: How many images are of it.
    """

    name: str
    precision_pct: float
    recall_pct: float
    f1_pct: float
    support: int


def accuracy(
    labels: Labels | None,
    top: npt.NDArray[np.int64],
    classes: Sequence[str],
    n_unreadable: int = 0,
    split_source: str = "",
) -> Accuracy:
    """The accuracy of a model.

    >>> top = np.array([[0, 1], [1, 0], [0, 1]])
    >>> accuracy(np.array([0, 1, 1]), top, ["cat", "dog"]).top1_pct
    66.6667

    Args:
        labels: The images' labels, of shape (n,); None: they have none, and so no figure but their number.
        top: The most likely classes of each, best first, of shape (n, 5), or fewer where there are fewer classes.
        classes: The names of all classes, by label; those without an image count in the means, as in mmcls.
        n_unreadable: How many images more could not be read.
        split_source: Where images and labels come from.
    """
    if labels is None:
        return Accuracy(len(top), n_unreadable=n_unreadable, split_source=split_source)
    rows = by_class(labels, top[:, 0], classes)
    return Accuracy(
        n_images=len(labels),
        top1_pct=_percent(top[:, 0] == labels),
        top5_pct=_percent((top == labels[:, None]).any(axis=1)),
        precision_pct=decimals(float(np.mean([row.precision_pct for row in rows])), 4),
        recall_pct=decimals(float(np.mean([row.recall_pct for row in rows])), 4),
        f1_pct=decimals(float(np.mean([row.f1_pct for row in rows])), 4),
        n_unreadable=n_unreadable,
        split_source=split_source,
    )


def by_class(labels: Labels, predicted: Labels, classes: Sequence[str]) -> list[ClassAccuracy]:
    """One row a class, in their order; 0 where there is nothing to divide by.

    >>> by_class(np.array([0, 1, 1]), np.array([0, 1, 0]), ["cat", "dog"])[1]
    ClassAccuracy(name='dog', precision_pct=100.0, recall_pct=50.0, f1_pct=66.66666666666667, support=2)

    As mmcls's test computes them (mmcls/core/evaluation/eval_metrics.py). A class's recall is the top-1 of its images.

    Args:
        labels: The images' labels, of shape (n,).
        predicted: The most likely class of each, of shape (n,).
        classes: The names of all classes, by label.
    """
    count = len(classes)
    n_predicted, support = (np.bincount(values, minlength=count) for values in (predicted, labels))
    n_right = np.bincount(labels[predicted == labels], minlength=count)
    precision, recall = (100 * n_right / np.maximum(n, 1) for n in (n_predicted, support))
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float32).eps)
    columns = precision.tolist(), recall.tolist(), f1.tolist(), support.tolist()
    return [ClassAccuracy(*row) for row in zip(classes, *columns, strict=True)]


def _percent(hits: npt.NDArray[np.bool_]) -> float:
    return decimals(100 * float(hits.mean()), 4)
