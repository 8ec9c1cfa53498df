"""digits32's pictures, CIFAR-10's binary layout, and balanced subsets."""

import hashlib

import numpy as np
import pytest

from octet.data import cifar, digits32
from octet.data.cifar import Cifar
from octet.data.subset import balanced, held_out
from octet.errors import OctetError

pytestmark = pytest.mark.unit


def test_digits32_is_the_same_bytes_everywhere():
    """Literal hash: the shipped checkpoint was trained on these pictures."""
    images, labels = digits32.draw(500, seed=0, split=1)
    assert images.shape == (500, 3, 32, 32) and images.dtype == np.uint8
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == (
        "d97e8faabfed0bb78692931cc2fe60c80f0a3a48b055f7ea3e69b922a7c14f05"
    )
    assert np.bincount(labels).tolist() == [50] * 10


def test_digits32_does_not_depend_on_workers_and_differs_by_seed_and_split():
    one, _ = digits32.draw(1000, seed=3, split=0, workers=1)
    four, _ = digits32.draw(1000, seed=3, split=0, workers=4)
    assert np.array_equal(one, four)
    assert not np.array_equal(one, digits32.draw(1000, seed=4, split=0)[0])
    assert not np.array_equal(one, digits32.draw(1000, seed=3, split=1)[0])


@pytest.fixture
def folder(tmp_path):
    random = np.random.Generator(np.random.PCG64(0))
    train = random.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8), np.arange(10, dtype=np.uint8) % 3
    test = random.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8), np.array([2, 1, 0, 0], np.uint8)
    cifar.write(tmp_path / "set", train, test, ["cat", "dog", "owl"])
    return tmp_path / "set", train, test


def test_written_and_read_back(folder):
    path, train, test = folder
    for split, (images, labels) in (("train", train), ("test", test)):
        data = Cifar(path, split)
        assert data.labels.tolist() == labels.tolist() and data.classes == ("cat", "dog", "owl")
        for k in range(len(data)):
            assert np.array_equal(data.image(k), images[k].transpose(1, 2, 0))
    record = (path / "test_batch.bin").read_bytes()[:3073]
    assert record[0] == 2 and record[1:1025] == test[0][0, 0].tobytes()


def test_missing_and_empty_folder(tmp_path):
    with pytest.raises(OctetError, match="nowhere: no such folder"):
        Cifar(tmp_path / "nowhere", "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OctetError, match=r"batches\.meta\.txt: no such file"):
        Cifar(tmp_path / "empty", "test")


def test_damaged_batches(folder):
    path, _, _ = folder
    batch = path / "test_batch.bin"
    whole = batch.read_bytes()
    for bad, message in (
        (b"", "0 bytes; expected a whole number of 3073-byte records"),
        (whole[:-1], "12291 bytes; expected a whole number"),
        (b"\x09" + whole[1:], "a label is 9, but batches.meta.txt names 3 classes"),
    ):
        batch.write_bytes(bad)
        with pytest.raises(OctetError, match=f"test_batch.bin: {message}"):
            Cifar(path, "test")
    batch.unlink()
    with pytest.raises(OctetError, match="test_batch.bin: no such file; the test split is test_batch.bin"):
        Cifar(path, "test")


def test_balanced_subsets():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert balanced(labels, 3, "x").tolist() == [0, 4, 6]
    assert balanced(labels, 6, "x").tolist() == [0, 1, 4, 5, 6, 7]
    assert balanced(labels, 10, "x").tolist() == list(range(10))
    assert set(balanced(labels, 4, "x")) <= set(balanced(labels, 7, "x"))
    with pytest.raises(OctetError, match="calibrate.images: 11 pictures asked for, the split has 10"):
        balanced(labels, 11, "calibrate.images")


def test_held_out_pictures_come_from_the_end():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert held_out(labels, 3, "x").tolist() == [3, 5, 9]
    assert held_out(labels, None, "x").tolist() == held_out(labels, 5, "x").tolist() == [2, 3, 4, 5, 9]
    many = np.arange(1000) * 7 % 10
    assert not set(held_out(many, 500, "x")) & set(balanced(many, 500, "x"))
    with pytest.raises(OctetError, match="evaluate.limit: 6 held-out pictures asked for; half of the split is 5"):
        held_out(labels, 6, "evaluate.limit")
