"""CIFAR's layouts: binary and python version, unpacked and archived; damaged and hostile files."""

import hashlib
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data import cifar, cifar_layouts
from octet.data.cifar import Cifar
from octet.data.dataset import open_split

pytestmark = pytest.mark.unit


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
        assert data.labels.tolist() == labels.tolist()
        assert data.classes == ("cat", "dog", "owl")
        for k in range(len(data)):
            assert np.array_equal(data.image(k), images[k].transpose(1, 2, 0))
    record = (path / "test_batch.bin").read_bytes()[:3073]
    assert record[0] == 2
    assert record[1:1025] == test[0][0, 0].tobytes()


def test_a_byte_order_mark_before_the_class_names_is_said(folder):
    path, _, _ = folder
    assert Cifar(path, "test").source.remarks == []
    names = path / "batches.meta.txt"
    names.write_bytes(b"\xef\xbb\xbf" + names.read_bytes())
    data = Cifar(path, "test")
    assert data.classes == ("cat", "dog", "owl")
    assert [remark.partition(",")[0] for remark in data.source.remarks] == [f"{names}: begins with a byte order mark"]


def test_a_folder_of_batches_that_is_a_link_is_refused(folder, tmp_path):
    """DVC follows a link to the whole data set, and none in it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / cifar_layouts.BINARY10.folder).symlink_to(folder[0])
    with pytest.raises(OctetError, match="cifar-10-batches-bin: a link to a folder, and DVC does not see"):
        Cifar(tmp_path / "in", "test")
    (tmp_path / "link").symlink_to(folder[0])
    assert len(Cifar(tmp_path / "link", "test")) == 4


def test_names_of_images(folder):
    path, _, _ = folder
    train = Cifar(path, "train")
    assert [train.name(k) for k in (0, 1, 2, 9)] == [
        f"data_batch_{a}.bin:{b}" for a, b in ((1, 0), (1, 1), (2, 0), (5, 1))
    ]


def python_batches(folder, hundred: bool, numbers: int = 2) -> tuple[np.ndarray, list[int]]:
    """A python version in miniature, with the keys of the original: all images of its training split, and the labels."""
    random = np.random.Generator(np.random.PCG64(1))
    files = ["train", "test"] if hundred else [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    folder.mkdir(parents=True)
    images, labels = [], []
    for name in files:
        data = random.integers(0, 256, (numbers, 3072), dtype=np.uint8)
        output = [int(v) for v in random.integers(0, 3, numbers)]
        content = {"data": data, "filenames": ["x.png"] * numbers, "batch_label": name}
        content |= {"fine_labels": output, "coarse_labels": [0] * numbers} if hundred else {"labels": output}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        if "test" not in name:
            images.append(data)
            labels += output
    key = "fine_label_names" if hundred else "label_names"
    (folder / ("meta" if hundred else "batches.meta")).write_bytes(
        pickle.dumps({key: ["cat", "dog", "owl"]}, protocol=2)
    )
    return np.concatenate(images), labels


@pytest.mark.parametrize("hundred", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_python_version(tmp_path, hundred, inside):
    folder = (
        tmp_path / "set" / ("cifar-100-python" if hundred else "cifar-10-batches-py") if inside else tmp_path / "set"
    )
    images, labels = python_batches(folder, hundred)
    data = open_split(tmp_path / "set", "train", ["cat", "dog", "owl"])
    assert data.labels.tolist() == labels
    assert data.classes == ("cat", "dog", "owl")
    for k in range(len(data)):
        assert np.array_equal(data.image(k), images[k].reshape(3, 32, 32).transpose(1, 2, 0))
    assert len(open_split(tmp_path / "set", "test", ["cat", "dog", "owl"])) == 2


def test_a_pickle_as_python_2_wrote_it(tmp_path):
    """Protocol 2 of Python 2: text is bytes; literal bytes of {'data': array([[7, ...]], uint8), 'labels': [1]}."""
    pixels = bytes(range(256)) * 12
    raw = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T\x00\x0c\x00\x00" + pixels + b"tbU\x06labelsq\x08]q\tK\x01au."
    )
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}, protocol=2))
    (tmp_path / "test_batch").write_bytes(raw)
    data = Cifar(tmp_path, "test")
    assert data.labels.tolist() == [1]
    assert data.image(0)[0, :3].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    assert data.name(0) == "test_batch:0"


class Evil:
    def __reduce__(self):
        return (open, ("ran", "w"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), r"not a pickle of numpy arrays alone.*it names \w+.open.*could run code"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [Evil()]}, "it names"),
        ([1], "expected a pickled dictionary, found list"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "expected uint8 'data' of shape .n, 3072. and n 'labels'"),
        ({"data": np.zeros((1, 3071), np.uint8), "labels": [0]}, "expected uint8 'data'"),
        ({"data": np.zeros((1, 3072)), "labels": [0]}, "expected uint8 'data'"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [3]}, "a label is 3, but batches.meta names 3 classes"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": ["cat"]}, "and n 'labels' in it"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "and n 'labels' in it"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": np.array(1)}, "expected uint8 'data'"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [[1]]}, "expected uint8 'data'"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [10**30]}, "expected uint8 'data'"),
        (None, "not a pickle of numpy arrays alone, or damaged"),
    ],
)
def test_damaged_and_hostile_pickles(tmp_path, monkeypatch, content, message):
    python_batches(tmp_path / "set", hundred=False)
    (tmp_path / "set" / "test_batch").write_bytes(
        b"\x80\x02}" if content is None else pickle.dumps(content, protocol=2)
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OctetError, match=f"test_batch: .*{message}"):
        Cifar("set", "test")
    assert not (tmp_path / "ran").exists()


def test_class_names_that_are_none(tmp_path):
    folder = tmp_path / "set"
    python_batches(folder, hundred=False)
    for content, message in (
        (pickle.dumps({"label_names": None}), "batches.meta: expected a list of class names under 'label_names'"),
        (pickle.dumps({"label_names": ["cat", 2]}), "batches.meta: expected a list of class names"),
        (b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f", "batches.meta: not a pickle of numpy arrays alone, or damaged"),
    ):
        (folder / "batches.meta").write_bytes(content)
        with pytest.raises(OctetError, match=message):
            Cifar(folder, "test")


def test_class_names_that_are_no_text(folder):
    path, _, _ = folder
    (path / "batches.meta.txt").write_bytes(b"cat\n\xff\n")
    with pytest.raises(OctetError, match="batches.meta.txt: not UTF-8; expected the names"):
        Cifar(path, "test")


def test_cifar100_s_binary_version_counts_the_fine_label(tmp_path):
    record = b"\x13\x01" + bytes(3072)
    (tmp_path / "train.bin").write_bytes(record * 3)
    (tmp_path / "test.bin").write_bytes(record + b"\x01\x00" + b"\xff" * 3072)
    (tmp_path / "fine_label_names.txt").write_text("apple\nbaby\n\n")
    data = open_split(tmp_path, "test", ["apple", "baby"])
    assert data.labels.tolist() == [1, 0]
    assert data.image(1).min() == 255
    with pytest.raises(OctetError, match="has 2 classes, the model 100"):
        open_split(tmp_path, "test", [str(k) for k in range(100)])


def test_the_official_archive(folder, tmp_path, monkeypatch):
    """An archive with the official one's folder in it, whose checksum is made the official one."""
    path, train, _test = folder
    archive = tmp_path / "found" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        file.add(path, "cifar-10-batches-bin")
    with pytest.raises(OctetError, match="cifar-10-binary.tar.gz: its md5 is .*, the official archive's c32a1d4ab"):
        open_split(archive.parent, "test", ["cat", "dog", "owl"])
    official = replace(cifar_layouts.BINARY10, md5=hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(cifar_layouts, "LAYOUTS", (official,))
    data = open_split(archive.parent, "train", ["cat", "dog", "owl"])
    assert data.labels.tolist() == train[1].tolist()
    assert np.array_equal(data.image(7), train[0][7].transpose(1, 2, 0))


def test_missing_and_empty_folder(tmp_path):
    with pytest.raises(OctetError, match="nowhere: no such folder"):
        Cifar(tmp_path / "nowhere", "test")
    with pytest.raises(OctetError, match="nowhere: no such folder"):
        open_split(tmp_path / "nowhere", "test", ["a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(OctetError, match=r"batches\.meta\.txt: no such file"):
        Cifar(tmp_path / "empty", "test")
    with pytest.raises(OctetError, match="empty: no data for the test split; expected CIFAR-10 .* found nothing"):
        open_split(tmp_path / "empty", "test", ["a"])


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
    with pytest.raises(
        OctetError, match="test_batch.bin: no such file; CIFAR-10's binary version has batches.meta.txt, test_batch.bin"
    ):
        Cifar(path, "test")
