"""Which images of a split are taken when not all are."""

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data.subset import balanced, hold_out

pytestmark = pytest.mark.unit


def test_balanced_subsets():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert balanced(labels, 3, "x").tolist() == [0, 4, 6]
    assert balanced(labels, 6, "x").tolist() == [0, 1, 4, 5, 6, 7]
    assert balanced(labels, 10, "x").tolist() == list(range(10))
    assert set(balanced(labels, 4, "x")) <= set(balanced(labels, 7, "x"))
    with pytest.raises(OctetError, match="calibrate.images: 11 images asked for, the split has 10"):
        balanced(labels, 11, "calibrate.images")


def test_balanced_is_in_turn_from_every_class():
    """As by a loop over the classes, which took a minute for a million images of 21,843 classes."""
    source = np.random.Generator(np.random.PCG64(0))
    for count, classes in ((1, 1), (50, 7), (50, 80)):
        labels = source.integers(0, classes, count)
        rank = [int((labels[:k] == label).sum()) for k, label in enumerate(labels)]
        turns = sorted(range(count), key=lambda k: (rank[k], labels[k], k))
        for take in range(count + 1):
            assert balanced(labels, take, "x").tolist() == sorted(turns[:take])
    many = np.arange(1_000_000) * 7919 % 100_000
    assert balanced(many, 100_000, "x").tolist() == list(range(100_000))


def test_hold_out_images_come_from_the_end():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert hold_out(labels, 3, "x").tolist() == [3, 5, 9]
    assert hold_out(labels, None, "x").tolist() == hold_out(labels, 5, "x").tolist() == [2, 3, 4, 5, 9]
    many = np.arange(1000) * 7 % 10
    assert not set(hold_out(many, 500, "x")) & set(balanced(many, 500, "x"))
    with pytest.raises(OctetError, match="evaluate.limit: 6 hold-out images asked for; half of the split is 5"):
        hold_out(labels, 6, "evaluate.limit")
