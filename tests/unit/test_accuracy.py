"""The figures of accuracy, by hand."""

import numpy as np
import pytest

from octet.core import files
from octet.evaluate.accuracy import ClassAccuracy, accuracy, by_class
from octet.evaluate.evaluate import evaluate
from octet.evaluate.predictions import predictions_csv, read_predictions
from tests import nets

pytestmark = pytest.mark.unit


def test_figures_by_hand():
    order = np.array([[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [2, 1, 0, 3, 4], [5, 4, 3, 2, 1]])
    labels, classes = np.array([0, 0, 0, 1]), ["a", "b", "c", "d", "e", "f"]
    rows = by_class(labels, order[:, 0], classes)
    assert rows[0] == ClassAccuracy("a", precision_pct=100, recall_pct=100 / 3, f1_pct=50, support=3)
    assert rows[1:] == [ClassAccuracy("b", 0, 0, 0, 1)] + [ClassAccuracy(name, 0, 0, 0, 0) for name in "cdef"]
    # Unweighted means over all six classes, those without an image among them, as in mmcls.
    means = {"precision_pct": 16.6667, "recall_pct": 5.5556, "f1_pct": 8.3333}
    whole = accuracy(labels, order, classes, n_unreadable=2, split_source="val (class folders)")
    assert whole.to_json() == {
        "n_images": 4,
        "top1_pct": 25.0,
        "top5_pct": 100.0,
        "n_unreadable": 2,
        "split_source": "val (class folders)",
        **means,
    }


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_than_five_classes(tmp_path, count):
    classes, images = ["cat", "dog", "owl"][:count], nets.images(6)
    top = evaluate(lambda x: x.reshape(-1)[:count], images, "x", 1)
    assert top.classes.shape == top.probabilities.shape == (6, count)
    labels = np.arange(6) % count
    whole = accuracy(labels, top.classes, classes)
    assert whole.top5_pct == 100
    assert whole.top1_pct == files.decimals(100 * (top.classes[:, 0] == labels).mean(), 4)
    rows = top.predictions([f"{k}.png" for k in range(6)], labels, classes)
    files.write_text(tmp_path / "p.csv", predictions_csv(rows))
    assert [row.top for row in read_predictions(tmp_path / "p.csv")] == [row.top for row in rows]
