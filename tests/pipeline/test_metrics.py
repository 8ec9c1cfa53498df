"""Precision, recall, F1 and support against mmcls's own."""

import numpy as np
import pytest

from octet.evaluate.accuracy import accuracy, by_class
from octet.evaluate.evaluate import top
from octet.export.mmcls_model import mmcls

pytestmark = pytest.mark.pipeline


def test_the_figures_are_those_of_mmcls_s_test():
    oracle = mmcls.core.evaluation
    random = np.random.Generator(np.random.PCG64(0))
    classes, labels = [str(k) for k in range(12)], random.integers(0, 10, 300)  # of two classes there is no image
    scores = random.normal(0, 1, (300, 12)).astype(np.float32)
    scores[np.arange(300), labels] += 1
    scores[:, 3] = -9  # a class that no image is taken for
    order = np.stack([top(row)[0] for row in scores])
    for mode in ("none", "macro"):
        wanted = list(oracle.precision_recall_f1(scores, labels, average_mode=mode))
        wanted.append(oracle.support(scores, labels, average_mode=mode))
        rows = by_class(labels, order[:, 0], classes)
        ours = [[getattr(row, key) for row in rows] for key in ("precision_pct", "recall_pct", "f1_pct", "support")]
        if mode == "macro":
            means = accuracy(labels, order, classes)
            ours = [means.precision_pct, means.recall_pct, means.f1_pct, means.n_images]
        for mine, theirs in zip(ours, wanted, strict=True):
            assert np.allclose(mine, theirs, atol=1e-4)
