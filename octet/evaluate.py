"""evaluate: one model on the test split, in ncnn on all cores."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from octet.data.left_out import LeftOut
from octet.engine import Engine, map_images, reading_ahead
from octet.errors import OctetError, Unreadable
from octet.files import read_bytes, rounded

TOP = 5
COLUMNS = ["picture", "actual", "predicted", "top5", "probability"]


def evaluate(
    engine: Engine,
    image: Callable[[int], np.ndarray],
    count: int,
    what: str,
    workers: int | None = None,
    readers: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which images could be read, int64 of shape (n,); the five most likely classes of each, best first, int64 of shape
    (n, 5), and the first's probability.

    image(k) is the k-th network input, fp32 of shape (C, H, W), k < count. Those that cannot be read are named; too many
    raise OctetError. Equal logits are ordered by class. The result does not depend on the number of workers, nor on that
    of readers, which read images ahead of them. Memory does not grow with count but for the result itself.
    """

    left_out = LeftOut(count, what)

    def one(k: int) -> tuple[int, np.ndarray, float] | None:
        try:
            x = image(k)
        except Unreadable as problem:
            return left_out.add(problem)
        logits = engine(x).astype(np.float64)
        if not np.isfinite(logits).all():
            raise OctetError(f"{what}: the logits of test image {k} are not finite")
        order = np.argsort(-logits, kind="stable")[:TOP]
        return k, order, float(1 / np.exp(logits - logits[order[0]]).sum())

    with reading_ahead(image, count, readers) if readers else nullcontext(image) as image:
        found = [result for result in map_images(one, range(count), what, workers) if result is not None]
    left_out.report()
    if not found:
        raise OctetError(f"{what}: not one picture can be read")
    kept, order, probability = (np.stack(values) for values in zip(*found, strict=True))
    return kept, order, probability


def figures(labels: np.ndarray, order: np.ndarray, classes: list[str]) -> dict:
    """top-1 and top-5 in percent, n, and top-1 by class, as metrics JSON."""
    right = order[:, 0] == labels
    by_class = {
        name: rounded(100 * right[labels == k].mean(), 4) for k, name in enumerate(classes) if (labels == k).any()
    }
    return {
        "n_images": len(labels),
        "top1_pct": rounded(100 * right.mean(), 4),
        "top5_pct": rounded(100 * (order == labels[:, None]).any(axis=1).mean(), 4),
        "top1_pct_by_class": by_class,
    }


def predictions_csv(
    pictures: Sequence[str], labels: np.ndarray, order: np.ndarray, probability: np.ndarray, classes: list[str]
) -> str:
    """One line a picture: its name, actual and predicted class, the five most likely, the first's probability."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for picture, label, row, share in zip(pictures, labels, order, probability, strict=True):
        writer.writerow([picture, classes[label], classes[row[0]], " | ".join(classes[k] for k in row), f"{share:.6f}"])
    return text.getvalue()


def read_predictions(path: Path) -> tuple[list[str], list[str], list[float]]:
    """The actual and the predicted classes of a predictions file, and the predicted one's probability, in its order."""
    text = read_bytes(path, "the stage evaluate makes it").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or set(COLUMNS) - set(rows[0]):
        raise OctetError(
            f"{path}: expected a table with the columns {', '.join(COLUMNS)}; run the stage evaluate again"
        )
    columns = zip(*((row["actual"], row["predicted"], float(row["probability"])) for row in rows), strict=True)
    actual, predicted, probability = map(list, columns)
    return actual, predicted, probability
