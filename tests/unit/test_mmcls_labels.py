"""Labels, files, their order and the accuracy are mmcls's own, for every layout: its build_dataset and evaluate beside Octet."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data import cifar, preprocess
from octet.data.images import split_images
from octet.evaluate.accuracy import accuracy
from octet.export.mmcls_model import read_config
from octet.export.mmcls_pipeline import derive
from tests.documents import ROOT

pytestmark = pytest.mark.unit

DOCUMENT = "docs/own-models.md"
WRONG = 4  # every so many images, the prediction is another class


@dataclass(frozen=True)
class Layout:
    """A data set on disk.

    Args:
        words: It, as the document names it.
        folders: The class folders.
        classes: The model's class names.
        settings: Of the config's data set; {root} is the data set's folder.
        annotations: Does a file val.txt have the labels?
        nested: Where a class's images lie in its folder.
    """

    words: str
    folders: list[str]
    classes: list[str]
    settings: dict = field(default_factory=dict)
    annotations: str = ""
    nested: str = ""


ANIMALS = ["ant", "mole", "zebra"]
VAL = {"data_prefix": "{root}/val"}
LAYOUTS = [
    Layout(
        "class folders, names in their order", ANIMALS, ANIMALS, VAL | {"type": "CustomDataset", "classes": ANIMALS}
    ),
    Layout(
        "class folders, `classes` in another order",
        ANIMALS,
        ["zebra", "ant", "mole"],
        VAL | {"type": "CustomDataset", "classes": ["zebra", "ant", "mole"]},
    ),
    Layout(
        "class folders `0` to `11`",
        [str(k) for k in range(12)],
        [str(k) for k in range(12)],
        VAL | {"type": "CustomDataset", "classes": [str(k) for k in range(12)]},
    ),
    Layout(
        "class folders `n01440764`, …, and words as names",
        ["n01440764", "n01443537", "n01484850"],
        ["tench", "goldfish", "great white shark"],
        VAL | {"type": "ImageNet", "classes": ["tench", "goldfish", "great white shark"]},
    ),
    Layout("class folders, no `classes`", ANIMALS, ANIMALS, VAL | {"type": "CustomDataset"}),
    Layout(
        "nested folders", ANIMALS, ANIMALS, VAL | {"type": "CustomDataset", "classes": ANIMALS}, nested=".more/and/"
    ),
    Layout(
        "extensions of the config's own",
        ANIMALS,
        ANIMALS,
        VAL | {"type": "CustomDataset", "classes": ANIMALS, "extensions": [".PNG"]},
    ),
    Layout("ImageNet21k's class folders", ANIMALS, ANIMALS, VAL | {"type": "ImageNet21k", "classes": ANIMALS}),
    Layout(
        "CustomDataset, annotation file",
        ANIMALS,
        ["zebra", "ant", "mole"],
        VAL | {"type": "CustomDataset", "classes": ["zebra", "ant", "mole"], "ann_file": "{root}/val.txt"},
        "val.txt",
    ),
    Layout(
        "ImageNet, meta/val.txt beside an unlabelled meta/test.txt",
        ["."],
        ["tench", "goldfish", "great white shark"],
        VAL | {"type": "ImageNet", "classes": ["a", "b", "c"], "ann_file": "{root}/meta/val.txt"},
        "meta/val.txt",
    ),
    Layout(
        "ImageNet21k, annotation file",
        ANIMALS,
        ANIMALS,
        VAL | {"type": "ImageNet21k", "classes": ANIMALS, "ann_file": "{root}/meta/val.txt"},
        "meta/val.txt",
    ),
    Layout(
        "`test_mode=False`, which changes nothing of files",
        ANIMALS,
        ANIMALS,
        VAL | {"type": "CustomDataset", "classes": ANIMALS, "test_mode": False},
    ),
]
FILES = [dict(type="LoadImageFromFile"), dict(type="Resize", size=8)]


def draw(root: Path, layout: Layout) -> None:
    """Images whose red is what is predicted for them, files that are none, and the annotation file."""
    lines, count = [], len(layout.classes)
    for k in range(5 * count):
        folder = sorted(layout.folders)[k % len(layout.folders)]
        label = k % count if layout.annotations else k % len(layout.folders)
        path = (
            root
            / "val"
            / folder
            / (layout.nested if k % 2 else "")
            / f"{(k * 7) % 50}.{('png', 'PNG', 'jpeg.png')[k % 3]}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        predicted = (label + (k % WRONG == 0)) % count
        assert cv2.imwrite(str(path), np.full((8, 8, 3), (7, 9, predicted), np.uint8))
        lines.append(f"{path.relative_to(root / 'val').as_posix()} {label}")
    for name in ("notes.txt", ".hidden.png", "a.webp"):
        (path.parent / name).write_bytes(b"no image")
    (root / "train").mkdir()
    if layout.annotations:
        (root / "meta").mkdir()
        (root / layout.annotations).write_text("".join(f"{line}\n" for line in reversed(lines)))
        (root / "meta" / "test.txt").write_text("".join(f"{k}.png 0\n" for k in range(9)))


def config_of(path: Path, root: Path, settings: dict, pipeline: list, count: int) -> Path:
    """Writes the config of a model with that data set."""
    values = {
        key: value.replace("{root}", str(root)) if isinstance(value, str) else value for key, value in settings.items()
    }
    steps = [*pipeline, dict(type="ImageToTensor", keys=["img"]), dict(type="Collect", keys=["img"], meta_keys=())]
    path.write_text(
        f"model = dict(head=dict(num_classes={count}))\ndata = dict(test={values | {'pipeline': steps}!r})\n"
    )
    return path


def beside_mmcls(config: Path, root: Path, classes: list[str]) -> tuple[float, float]:
    """mmcls's top-1 and Octet's on the same predictions; labels, order and images are compared on the way."""
    from mmcls.datasets import build_dataset

    settings = read_config(str(config))
    theirs = build_dataset(settings.data.test, default_args={"test_mode": True})
    steps = derive(settings, str(config), classes)
    preprocess.save(steps, config.with_suffix(".json"))
    assert preprocess.load(config.with_suffix(".json")) == steps
    ours = split_images(root, "test", preprocess.load(config.with_suffix(".json")), None, "evaluate.limit")
    infos = [
        theirs.get_data_info(k) if hasattr(theirs, "get_data_info") else theirs.data_infos[k]
        for k in range(len(theirs))
    ]
    assert ours.labels is not None
    assert ours.labels.tolist() == [int(info["gt_label"]) for info in infos]
    if "img_info" in infos[0]:
        assert ours.names == [info["img_info"]["filename"] for info in infos]
    predicted = []
    for k in range(len(ours)):
        image = theirs[k]["img"].numpy()
        assert np.array_equal(image, ours[k])
        red = image[2] if "img_info" in infos[0] else image[0]
        predicted.append(int(red[0, 0]))
    top = np.stack([np.roll(np.arange(len(classes)), -label) for label in predicted])[:, :5]
    if hasattr(theirs, "get_data_info"):  # ImageNet21k forgets what its evaluate asks for
        theirs.data_infos = infos
    scores = np.eye(len(classes))[predicted]
    figures = accuracy(ours.labels, top, classes)
    by_mmcls = theirs.evaluate(list(scores), metric=["accuracy", "precision", "recall"], metric_options={"topk": (1,)})
    assert figures.precision_pct == pytest.approx(by_mmcls["precision"], abs=1e-4)
    assert figures.recall_pct == pytest.approx(by_mmcls["recall"], abs=1e-4)
    return by_mmcls["accuracy_top-1"], figures.top1_pct


def row(words: str, figures: tuple[float, float]) -> str:
    return f"| {words} | {figures[0]:.2f} % | {figures[1]:.2f} % |"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.words)
@pytest.mark.filterwarnings("ignore")
def test_files(layout, tmp_path):
    draw(tmp_path / "set", layout)
    config = config_of(tmp_path / "net.py", tmp_path / "set", layout.settings, FILES, len(layout.classes))
    figures = beside_mmcls(config, tmp_path / "set", layout.classes)
    assert figures[0] == pytest.approx(figures[1], abs=1e-4)
    assert row(layout.words, figures) in (ROOT / DOCUMENT).read_text().splitlines(), row(layout.words, figures)


@pytest.mark.parametrize("hundred", [False, True], ids=["CIFAR10", "CIFAR100"])
@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
@pytest.mark.parametrize("test_mode", [True, False])
def test_cifar(hundred, binary, test_mode, tmp_path, monkeypatch):
    """Octet reads either version, mmcls the python version of the same images."""
    from mmcls import datasets

    kind, random = getattr(datasets, "CIFAR100" if hundred else "CIFAR10"), np.random.Generator(np.random.PCG64(3))
    classes, root = [f"c{k}" for k in range(3)], tmp_path / "set"
    (root / kind.base_folder).mkdir(parents=True)
    splits = {}
    for name, _ in [*kind.train_list, *kind.test_list]:
        labels = random.integers(0, 3, 11)
        pixels = random.integers(0, 3, (11, 3, 32, 32), dtype=np.uint8)
        content = {"data": pixels.reshape(11, -1), "fine_labels" if hundred else "labels": labels.tolist()}
        (root / kind.base_folder / name).write_bytes(pickle.dumps(content, protocol=2))
        splits.setdefault("test" in name, []).append((pixels, labels.astype(np.uint8)))
    (root / kind.base_folder / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: classes}, protocol=2))
    for what in ("train_list", "test_list"):
        monkeypatch.setattr(kind, what, [[name, None] for name, _ in getattr(kind, what)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": None})
    settings = {"type": kind.__name__, "data_prefix": "{root}", "test_mode": test_mode}
    config = config_of(tmp_path / "net.py", root, settings, [], 3)
    data = root
    if binary:
        data = tmp_path / "binary"
        whole = [tuple(np.concatenate(part) for part in zip(*splits[test], strict=True)) for test in (False, True)]
        if hundred:
            data.mkdir()
            for name, (pixels, labels) in zip(("train.bin", "test.bin"), whole, strict=True):
                records = [bytes([0, label]) + image.tobytes() for image, label in zip(pixels, labels, strict=True)]
                (data / name).write_bytes(b"".join(records))
            (data / "fine_label_names.txt").write_text("".join(f"{name}\n" for name in classes))
        else:
            cifar.write(data, *whole, classes)
    figures = beside_mmcls(config, data, classes)
    assert figures[0] == pytest.approx(figures[1], abs=1e-4)
    words = f"{kind.__name__}, {'binary' if binary else 'python'} version{'' if test_mode else ', `test_mode=False`'}"
    assert row(words, figures) in (ROOT / DOCUMENT).read_text().splitlines(), row(words, figures)


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST"])
@pytest.mark.parametrize("ending", ["png", "bmp"])
@pytest.mark.filterwarnings("ignore")
def test_mnist_as_class_folders(kind, ending, tmp_path):
    """mmcls reads MNIST's own files, Octet the same pixels as grey images in class folders: the same inputs and labels."""
    from mmcls import datasets

    random = np.random.Generator(np.random.PCG64(7))
    labels, images = np.repeat(np.arange(10, dtype=np.uint8), 2), random.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    of_mmcls, data = tmp_path / "mnist", tmp_path / "set"
    of_mmcls.mkdir()
    for split in ("train", "t10k"):
        sizes = (len(images)).to_bytes(4, "big"), (28).to_bytes(4, "big")
        (of_mmcls / f"{split}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\x03" + sizes[0] + 2 * sizes[1] + images.tobytes()
        )
        (of_mmcls / f"{split}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + sizes[0] + labels.tobytes())
    for k, (label, pixels) in enumerate(zip(labels, images, strict=True)):
        path = data / "test" / str(label) / f"{k:02}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)
    pipeline = [dict(type="Resize", size=32), dict(type="Normalize", mean=[33.46], std=[78.87], to_rgb=True)]
    config = config_of(tmp_path / "net.py", of_mmcls, {"type": kind, "data_prefix": "{root}"}, pipeline, 10)
    theirs = datasets.build_dataset(read_config(str(config)).data.test, default_args={"test_mode": True})
    steps = derive(read_config(str(config)), str(config))
    assert steps.classes == list(theirs.CLASSES)
    ours = split_images(data, "test", steps, None, "evaluate.limit")
    assert ours.labels is not None
    assert ours.labels.tolist() == theirs.get_gt_labels().tolist()
    assert all(np.array_equal(ours[k], theirs[k]["img"].numpy()) for k in range(len(theirs)))
    with pytest.raises(
        OctetError, match=r"no data for the test split; expected CIFAR.*a folder for each class.*found t10k-images-idx3"
    ):
        split_images(of_mmcls, "test", steps, None, "evaluate.limit")


def wrapped(path: Path, wrapper: str) -> str:
    """Puts the config's data.test into a wrapper; where {} stands, it is."""
    path.write_text(path.read_text() + f"inner = data['test']\ndata = dict(test={wrapper.format('inner')})\n")
    return str(path)


@pytest.mark.parametrize(
    ("wrapper", "place"),
    [
        ("dict(type='KFoldDataset', num_splits=5, dataset={})", "data.test.type is 'KFoldDataset'"),
        (
            "dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset={})",
            "data.test.type is 'ClassBalancedDataset'",
        ),
        (
            "dict(type='RepeatDataset', times=2, dataset=dict(type='KFoldDataset', dataset={}))",
            "data.test.dataset.type is 'KFoldDataset'",
        ),
    ],
)
def test_a_wrapper_that_takes_some_of_the_test_images_is_refused(tmp_path, wrapper, place):
    layout = LAYOUTS[0]
    draw(tmp_path / "set", layout)
    path = wrapped(config_of(tmp_path / "net.py", tmp_path / "set", layout.settings, FILES, 3), wrapper)
    with pytest.raises(OctetError, match="does not take") as error:
        split_images(tmp_path / "set", "test", derive(read_config(path), path), None, "x")
    assert str(error.value).startswith(f"{path}: {place}: it does not take each image there once")


@pytest.mark.parametrize("wrapper", ["dict(type='RepeatDataset', times=2, dataset={})", "[{}]"])
@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_that_takes_all_test_images_alike_changes_nothing(tmp_path, wrapper):
    """mmcls's top-1 over the images twice is that over the images."""
    from mmcls.datasets import build_dataset

    layout = LAYOUTS[0]
    draw(tmp_path / "set", layout)
    plain = config_of(tmp_path / "net.py", tmp_path / "set", layout.settings, FILES, 3)
    inner = derive(read_config(str(plain)), "net.py")
    path = wrapped(plain, wrapper)
    assert derive(read_config(path), "net.py") == inner
    theirs = build_dataset(read_config(path).data.test)
    ours = split_images(tmp_path / "set", "test", inner, None, "x")
    assert len(theirs) % len(ours) == 0
    assert all(np.array_equal(theirs[k]["img"].numpy(), ours[k % len(ours)]) for k in range(len(theirs)))


@pytest.mark.parametrize("wrapper", ["dict(type='ConcatDataset', datasets=[{0}, {0}])", "[{0}, {0}]"])
def test_several_test_sets_in_one_are_refused(tmp_path, wrapper):
    path = wrapped(config_of(tmp_path / "net.py", tmp_path, LAYOUTS[0].settings, FILES, 3), wrapper)
    with pytest.raises(OctetError, match=r"net.py: data.test.pipeline: ConcatDataset has several data sets"):
        derive(read_config(path), path)


@pytest.mark.filterwarnings("ignore")
def test_where_mmcls_stops_octet_does(tmp_path):
    from mmcls.datasets import build_dataset

    draw(tmp_path / "set", LAYOUTS[0])
    (tmp_path / "set" / "val" / ".thumbs").mkdir()
    config = config_of(tmp_path / "net.py", tmp_path / "set", LAYOUTS[0].settings, FILES, 3)
    with pytest.raises(AssertionError, match="number of subfolders .4. doesn't match"):
        build_dataset(read_config(str(config)).data.test)
    with pytest.raises(OctetError, match="4 class folders, the model has 3 classes"):
        split_images(tmp_path / "set", "test", derive(read_config(str(config)), "net.py"), None, "x")


def test_data_sets_that_octet_cannot_judge(tmp_path):
    settings = {"type": "VOC", "data_prefix": "{root}", "ann_file": "{root}/x.txt"}
    config = config_of(tmp_path / "net.py", tmp_path, settings, FILES, 3)
    with pytest.raises(OctetError, match=r"data\.test: VOC gives an image several labels"):
        derive(read_config(str(config)), str(config))


def test_a_data_set_that_labels_in_its_own_way_is_said(tmp_path):
    layout = LAYOUTS[0]
    draw(tmp_path / "set", layout)
    (tmp_path / "set" / "val").rename(tmp_path / "set" / "test")
    settings = {"type": "CUB", "data_prefix": "{root}/images", "ann_file": "{root}/x", "classes": layout.classes}
    steps = derive(read_config(str(config_of(tmp_path / "net.py", tmp_path / "set", settings, FILES, 3))), "net.py")
    images = split_images(tmp_path / "set", "test", steps, None, "x")
    assert "how the config's data set, CUB, labels images is not known" in images.source.remarks[0]


@pytest.mark.filterwarnings("ignore")
def test_links_are_followed_as_mmcls_does_it(tmp_path):
    """Files; of folders, which DVC does not follow, it says so."""
    layout = LAYOUTS[0]
    draw(tmp_path / "set", layout)
    mole = tmp_path / "set" / "val" / "mole"
    (tmp_path / "set" / "val" / "ant" / "one.png").symlink_to(next(mole.glob("*.PNG")))
    config = config_of(tmp_path / "net.py", tmp_path / "set", layout.settings, FILES, 3)
    ours, theirs = beside_mmcls(config, tmp_path / "set", layout.classes)
    assert ours == pytest.approx(theirs, abs=1e-4)
    mole.rename(tmp_path / "mole")
    mole.symlink_to(tmp_path / "mole")
    with pytest.raises(OctetError, match="val/mole: a link to a folder, and DVC does not see"):
        split_images(tmp_path / "set", "test", derive(read_config(str(config)), "net.py"), None, "x")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_class_files(tmp_path, start, capsys):
    """As mmcls reads them, but for a byte order mark; one that is not UTF-8 is named."""
    from mmcls.datasets import CustomDataset

    file = tmp_path / "classes.txt"
    file.write_bytes(start + "cat \r\ntwo words\n猫\u2028 fish\n".encode())
    settings = {"type": "CustomDataset", "data_prefix": "{root}/val", "classes": str(file)}
    config = config_of(tmp_path / "net.py", tmp_path, settings, FILES, 3)
    theirs = CustomDataset.get_classes(str(file))
    assert derive(read_config(str(config)), "net.py").classes == [name.removeprefix("\ufeff") for name in theirs]
    assert (f"warning: {file}: begins with a byte order mark, which is left out" in capsys.readouterr().err) == bool(
        start
    )
    file.write_bytes("cat\n狗\n".encode("gbk"))
    with pytest.raises(OctetError, match=r"classes\.txt: not UTF-8 .*expected the names that the config's"):
        derive(read_config(str(config)), "net.py")
