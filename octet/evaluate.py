"""evaluate: one model on the test split, in ncnn on all cores."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from octet.engine import Engine, map_images
from octet.errors import OctetError
from octet.files import read_bytes, rounded

TOP = 5
COLUMNS = ["actual", "predicted", "top5", "probability"]


def evaluate(
    engine: Engine, image: Callable[[int], np.ndarray], count: int, what: str, workers: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The five most likely classes of every image, best first, int64 of shape (count, 5), and the first's probability.

    image(k) is the k-th network input, fp32 of shape (3, H, W). Equal logits are ordered by class. The result does not
    depend on the number of workers. Memory does not grow with count but for the result itself.
    """

    def one(k: int) -> tuple[np.ndarray, float]:
        logits = engine(image(k)).astype(np.float64)
        if not np.isfinite(logits).all():
            raise OctetError(f"{what}: the logits of test image {k} are not finite")
        order = np.argsort(-logits, kind="stable")[:TOP]
        return order, float(1 / np.exp(logits - logits[order[0]]).sum())

    found = list(map_images(one, range(count), what, workers))
    return np.stack([order for order, _ in found]), np.array([probability for _, probability in found])


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


def predictions_csv(labels: np.ndarray, order: np.ndarray, probability: np.ndarray, classes: list[str]) -> str:
    """One line a picture: actual and predicted class, the five most likely, the first's probability."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for label, row, share in zip(labels, order, probability, strict=True):
        writer.writerow([classes[label], classes[row[0]], " | ".join(classes[k] for k in row), f"{share:.6f}"])
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
