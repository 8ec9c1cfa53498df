"""Which images of a split are taken when not all are."""

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data.subset import balanced, front, hold_out

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
    assert hold_out(labels, None, "x").tolist() == hold_out(labels, 5, "x").tolist() == [2, 3, 5, 8, 9]
    with pytest.raises(OctetError, match="evaluate.limit: 6 hold-out images asked for; half of the split is 5"):
        hold_out(labels, 6, "evaluate.limit")


def test_what_int8_learns_from_does_not_judge_it():
    """Whatever the classes' sizes, and as far as the split has enough for both."""
    source = np.random.Generator(np.random.PCG64(0))
    even, random = np.repeat([0, 1, 2], 8), [source.geometric(0.4, size) for size in (1, 2, 7, 20, 31)]
    for labels in (even, *random, np.arange(9), np.array([0] + [1] * 9)):
        for judge in range(len(labels) // 2 + 1):
            judges = hold_out(labels, judge, "x")
            assert len(set(judges)) == judge
            for learn in range(len(labels) + 1):
                learned = front(labels, learn, "x")
                assert len(set(learned)) == learn
                assert set(learned) >= set(front(labels, learn // 2, "x"))
                assert len(set(learned) & set(judges)) == max(0, learn + judge - len(labels))
    assert [front(even, count, "x").tolist() for count in (5, 12)] == [
        balanced(even, count, "x").tolist() for count in (5, 12)
    ]


def test_a_rare_class_teaches_and_judges():
    labels = np.array([0] * 40 + [1] * 5000 + [2] * 5000)
    learned, judges = front(labels, 256, "x"), hold_out(labels, 1000, "x")
    assert (labels[learned] == 0).sum() == (labels[judges] == 0).sum() == 20
    assert not set(learned) & set(judges)
    with pytest.raises(OctetError, match="calibrate.images: 10041 images asked for, the split has 10040"):
        front(labels, 10_041, "calibrate.images")
