"""evaluate: one model on the test split, in ncnn on all cores."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError, Unreadable
from octet.core.files import read_bytes, rounded
from octet.core.parallel import BLOCK, map_shards, reading_ahead
from octet.data.unreadable import Unread

TOP = 5
COLUMNS = ["image", "actual", "predicted", "probability", "top5", "top5_probability"]
_SEPARATOR = " | "


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image. top: the five most likely classes, best first, with their probabilities."""

    image: str
    actual: str
    top: list[str]
    probabilities: list[float]

    @property
    def right(self) -> bool:
        return self.top[0] == self.actual


def evaluate(
    engine: Callable[[np.ndarray], np.ndarray],
    images: Sequence[np.ndarray],
    what: str,
    workers: int | None = None,
    readers: int = 0,
    scheduler: str | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which images could be read, int64 of shape (n,); the five most likely classes of each, best first, int64 of shape
    (n, 5), and their probabilities.

    engine(x): the logits of a network's input, for any thread. images: inputs, fp32 of shape (C, H, W). Those that cannot
    be read are named; too many raise OctetError. Equal logits are ordered by class. The result does not depend on the
    number of workers (octet/core/parallel.py, as scheduler), nor on that of readers, which read images ahead of them on
    this machine. Memory does not grow with the number of images but for the result itself.
    """

    def work(shard: range) -> tuple[list[tuple[int, np.ndarray, np.ndarray]], list[Unreadable]]:
        done, unreadable = [], []
        for start in range(0, len(shard), BLOCK):
            ready = []
            for k in shard[start : start + BLOCK]:
                try:
                    ready.append((k, read(k)))
                except Unreadable as problem:
                    unreadable.append(problem)
            for k, x in ready:
                logits = engine(x)
                if not np.isfinite(logits).all():
                    raise OctetError(f"{what}: the logits of test image {k} are not finite")
                done.append((k, *top(logits)))
        return done, unreadable

    unread, found, count = Unread(len(images), what), [], len(images)
    with (
        reading_ahead(images, readers) if readers and not scheduler else nullcontext(images.__getitem__) as read,
        map_shards(work, count, what, workers, scheduler) as shards,
    ):
        for done, unreadable in shards:
            found += done
            for problem in unreadable:
                unread.add(problem)
    unread.report()
    found.sort(key=lambda result: result[0])
    if not found:
        raise OctetError(f"{what}: not one image can be read")
    kept, order, probabilities = (np.stack(values) for values in zip(*found, strict=True))
    return kept, order, probabilities


def top(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The five most likely classes of one image, best first (equal logits by class), and their softmax, fp64."""
    order = np.argsort(-logits, kind="stable")[:TOP]
    shares = np.exp(logits.astype(np.float64) - logits[order[0]])
    return order, shares[order] / shares.sum()


def figures(labels: np.ndarray, order: np.ndarray, classes: list[str]) -> dict:
    """n, top-1 and top-5, and the means of precision, recall and F1 over all classes, in percent, as metrics JSON."""
    rows = by_class(labels, order[:, 0], classes)
    means = {key: rounded(np.mean([row[key] for row in rows]), 4) for key in ("precision_pct", "recall_pct", "f1_pct")}
    return {
        "n_images": len(labels),
        "top1_pct": rounded(100 * (order[:, 0] == labels).mean(), 4),
        "top5_pct": rounded(100 * (order == labels[:, None]).any(axis=1).mean(), 4),
        **means,
    }


def by_class(labels: np.ndarray, predicted: np.ndarray, classes: list[str]) -> list[dict]:
    """One row a class: precision, recall and F1 in percent, and support, the number of its images.

    As mmcls's test computes them (mmcls/core/evaluation/eval_metrics.py): 0 where there is nothing to divide by. A
    class's recall is the top-1 of its images.
    """
    said, there = (np.bincount(values, minlength=len(classes)) for values in (predicted, labels))
    right = np.bincount(labels[predicted == labels], minlength=len(classes))
    precision, recall = (100 * right / np.maximum(count, 1) for count in (said, there))
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float32).eps)
    return [
        {"class": name, "precision_pct": p, "recall_pct": r, "f1_pct": f, "support": int(n)}
        for name, p, r, f, n in zip(classes, precision, recall, f1, there, strict=True)
    ]


def distinct(classes: Sequence[str]) -> list[str]:
    """The class names, with its number behind each that others have too (ImageNet has two cranes)."""
    return [f"{name} ({k})" if classes.count(name) > 1 else name for k, name in enumerate(list(classes))]


def predictions_csv(
    images: Sequence[str], labels: np.ndarray, order: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> str:
    """One line an image: actual and predicted class, its probability, and the same for the five most likely."""
    rows = []
    for image, label, best, shares in zip(images, labels, order, probabilities, strict=True):
        names, texts = [classes[k] for k in best], [f"{share:.6f}" for share in shares]
        rows.append([image, classes[label], names[0], texts[0], _SEPARATOR.join(names), _SEPARATOR.join(texts)])
    return to_csv(COLUMNS, rows)


def read_predictions(path: Path) -> list[Prediction]:
    """The rows of a predictions file, in its order."""
    rows = list(csv.DictReader(io.StringIO(read_bytes(path, "the stage evaluate makes it").decode())))
    if not rows or set(COLUMNS) - set(rows[0]):
        raise OctetError(
            f"{path}: expected a table with the columns {', '.join(COLUMNS)}; run the stage evaluate again"
        )
    return [
        Prediction(
            row["image"],
            row["actual"],
            row["top5"].split(_SEPARATOR),
            [float(share) for share in row["top5_probability"].split(_SEPARATOR)],
        )
        for row in rows
    ]


def to_csv(columns: list[str], rows: list[list]) -> str:
    """A table with a head, one line a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
