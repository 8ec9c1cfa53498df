"""Data sets of image files: class folders, annotation files, unlabelled images, and what is wrong with them."""

import os
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from octet.core import params
from octet.core.errors import OctetError, Unreadable
from octet.core.params import Splits
from octet.data.config_split import ConfigSplit, from_json, to_json, with_entry
from octet.data.dataset import open_split
from octet.data.geometry import CenterCrop, Resize
from octet.data.images import Images
from octet.data.listing import timm_order
from octet.data.preprocess import Preprocess, save
from octet.data.subset import balanced
from octet.data.unreadable import Unread
from octet.evaluate.accuracy import accuracy
from octet.project.splits import check_links, check_splits
from tests.documents import ROOT

pytestmark = pytest.mark.unit

ANIMALS = ["cat", "dog", "owl"]
STEPS = Preprocess("RGB", [0.0] * 3, [1.0] * 3, [4, 5], ANIMALS, geometry=[Resize(4, 5, None, "bilinear", "cv2")])


def image(path: Path, value: int, height: int = 8, width: int = 10) -> None:
    """A PNG of one colour, whose red is the value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), (7, 9, value), np.uint8))


def red(data) -> list[int]:
    return [int(data.image(k)[0, 0, 0]) for k in range(len(data))]


@pytest.fixture
def folder(tmp_path):
    """Class folders for training and validation, two images a class and one more below."""
    for split, start in (("train", 0), ("val", 100)):
        for k, name in enumerate(ANIMALS):
            image(tmp_path / split / name / "b.PNG", start + 10 * k + 1)
            image(tmp_path / split / name / "a.png", start + 10 * k)
        image(tmp_path / split / "owl" / "more" / "c.jpeg.png", start + 50)
        (tmp_path / split / "owl" / "notes.txt").write_text("not an image")
    return tmp_path


def test_class_folders(folder):
    data = open_split(folder, "train", ANIMALS)
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert data.labelled
    assert data.classes == tuple(ANIMALS)
    assert [data.name(k) for k in (0, 1, 6)] == ["cat/a.png", "cat/b.PNG", "owl/more/c.jpeg.png"]
    assert red(data) == [0, 1, 10, 11, 20, 21, 50]
    assert data.image(0).dtype == np.uint8
    assert data.image(1)[0, 0].tolist() == [1, 9, 7], "RGB"
    assert len(open_split(folder, "test", ANIMALS)) == 7


def test_sorted_folders_give_the_labels_where_the_names_are_in_another_order(folder):
    turned = open_split(folder, "test", ["owl", "dog", "cat"])
    assert turned.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert turned.source.remarks[0] == (
        "class folders are labelled by their sorted order, as mmcls does it, and not by name: folder 'cat' is label 0, which "
        "is called 'owl'; folder 'owl' is label 2, which is called 'cat'"
    )
    assert str(turned.source) == "val (class folders in sorted order, 3)"


def test_a_name_that_differs_is_named(folder):
    some = open_split(folder, "test", ["cat", "dog", "barn owl"])
    assert "folder 'owl' is label 2, which is called 'barn owl'" in some.source.remarks[0]
    assert not open_split(folder, "test", ["n1", "n2", "n3"]).source.remarks[:-1]


def by_name(**more: bool) -> ConfigSplit:
    """A split of a model whose entry has `classes`, written to preprocess.json and read again."""
    return from_json(to_json({"test": ConfigSplit("", "layout", by_name=True, **more)}))["test"]


@pytest.mark.parametrize("config", [by_name(), by_name(timm=True)])
def test_names_in_the_order_of_the_outputs_give_the_labels(folder, config):
    data = open_split(folder, "test", ["owl", "cat", "dog"], config=config)
    assert [(data.names[k], data.labels[k]) for k in (0, 2, 4)] == [
        ("cat/a.png", 1),
        ("dog/a.png", 2),
        ("owl/a.png", 0),
    ]
    assert (str(data.source), data.classes) == ("val (class folders by their names, 3)", ("owl", "cat", "dog"))
    told = [remark for remark in data.source.remarks if "labelled by the names in 'classes'" in remark]
    assert len(told) == 1
    assert not open_split(folder, "test", ["cat", "dog", "owl"], config=config).source.remarks[:-1], (
        "but for the file that is no image"
    )
    assert open_split(folder, "test", ["n1", "n2", "n3"], config=config).labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    place = Splits.model_validate({"test": {"folder": "train"}})
    named = open_split(folder, "test", ["owl", "cat", "dog"], config=with_entry({"test": config}, place, "net")["test"])
    assert named.labels.tolist() == [1, 1, 2, 2, 0, 0, 0]


def test_names_of_which_only_some_are_folders_and_in_another_order(folder):
    with pytest.raises(
        OctetError, match=r"val: folders are called as classes are, in another order .*no class is called 'owl'"
    ):
        open_split(folder, "test", ["barn owl", "cat", "dog"], config=by_name())
    with pytest.raises(OctetError, match=r"no class is called 'cat', 'dog', 'owl'. Call each folder"):
        open_split(folder, "test", ["Owl", "Cat", "Dog"], config=by_name())
    some = open_split(folder, "test", ["cat", "dog", "barn owl"], config=by_name())
    assert some.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("wanted", "in_order"),
    [
        (["0", "1", "2", "10", "11"], False),
        (["class_1", "class_2", "class_10"], False),
        (["ant", "Bee", "Zebra"], False),
        (["n01440764", "n01443537"], True),
        (["b", "B"], False),  # of which timm, that sorts a set, has any order
    ],
)
def test_timm_s_order_of_class_folders(tmp_path, wanted, in_order):
    """Wanted is what timm's natural_key sorts them to. The weights do not tell who labelled a network's images."""
    assert timm_order(wanted[::-1]) == timm_order(sorted(wanted)) == wanted
    for k, name in enumerate(wanted):
        image(tmp_path / "val" / name / "1.png", k)
    numbers, of_timm = [f"number {k}" for k in range(len(wanted))], ConfigSplit("", "layout", timm=True)
    for classes, config in ((wanted, of_timm), (numbers, by_name(timm=True))):
        if in_order:
            assert open_split(tmp_path, "test", classes, config=config).labels.tolist() == list(range(len(wanted)))
        else:
            with pytest.raises(
                OctetError, match=r"The weights do not tell. Write the names .* as 'classes: \[name, …\]'"
            ) as error:
                open_split(tmp_path, "test", classes, config=config)
            label = next(k for k, name in enumerate(sorted(wanted)) if name != wanted[k])
            assert f"label {label} is {wanted[label]!r}, since timm's own order is {wanted[0]!r}, " in str(error.value)
            assert f"ImageFolder it is {sorted(wanted)[label]!r}, since the sorted order is {min(wanted)!r}, " in str(
                error.value
            )
    assert red(open_split(tmp_path, "test", numbers)) == [wanted.index(name) for name in sorted(wanted)], (
        "torchvision's"
    )
    data = open_split(tmp_path, "test", wanted, config=by_name(timm=True))
    assert data.labels.tolist() == red(data)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["Owl", "Dog", "Cat"], "folder 'cat' is label 0, which is called 'Owl'"),
        (["d o-g", "CAT", "owl."], "folder 'cat' is label 0, which is called 'd o-g'"),
        (["Cat", "DOG", "Owl"], ""),
        (
            ["cat", "dog", "Dog"],
            "folder 'owl' is label 2, which is called 'Dog'",
        ),  # as they stand: two differ by that alone
    ],
)
def test_names_are_compared_by_their_letters(folder, classes, told):
    naming = [remark for remark in open_split(folder, "test", classes).source.remarks if "not by name" in remark]
    assert (told in naming[0]) if told else not naming


def test_images_that_mmcls_leaves_out_or_takes_unseen_are_told(folder):
    """As its CustomDataset, which walks each class folder, hidden ones below included, and looks at nothing beside them."""
    from octet.export.mmcls_package import CustomDataset

    image(folder / "val" / "loose.png", 3)
    image(folder / "val" / "._loose.png", 3)
    (folder / "val" / "desktop.ini").write_text("x")
    image(folder / "val" / "cat" / ".ipynb_checkpoints" / "a-checkpoint.png", 3)
    test = open_split(folder, "test", ANIMALS)
    assert test.names == [info["img_info"]["filename"] for info in CustomDataset(str(folder / "val")).data_infos]
    assert test.source.remarks[-2:] == [
        f"{folder}/val: 1 images are in hidden folders and count, as in mmcls: 'cat/.ipynb_checkpoints/a-checkpoint.png'",
        f"{folder}/val: 1 images are in none of its class folders and left out, as in mmcls: 'loose.png'",
    ]


@pytest.mark.parametrize("is_other", [True, False])
def test_class_folders_that_one_split_alone_has_are_told(folder, monkeypatch, capsys, is_other):
    """Sorted, train's ant, dog, owl and val's cat, dog, owl have the same labels."""
    if is_other:
        (folder / "train" / "cat").rename(folder / "train" / "ant")
    monkeypatch.chdir(folder)
    Path("models/net").mkdir(parents=True)
    save(replace(STEPS, classes=["0", "1", "2"]), "models/net/preprocess.json")
    entry = next(iter(params.load(ROOT / "params.yaml").models.values()))
    check_splits("net", entry.model_copy(update={"data": str(folder)}), "test")
    told = "warning: net: class folders that only one of the two splits has: 'ant', 'cat'; each split's are labelled by"
    assert (told in capsys.readouterr().err) == is_other


@pytest.mark.parametrize("has_names", [True, False])
def test_a_folder_that_is_missing(folder, has_names):
    """mmcls stops where it has class names; otherwise it labels what is there from 0 on."""
    config = ConfigSplit("CustomDataset", "files", "val", has_names=has_names)
    classes = ["ant", "cat", "dog", "owl"]
    if has_names:
        with pytest.raises(
            OctetError, match="val: 3 class folders, the model has 4 classes.*no folder is called 'ant'"
        ):
            open_split(folder, "test", classes, config=config)
    else:
        data = open_split(folder, "test", classes, config=config)
        assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
        assert "3 class folders, the model has 4 classes" in data.source.remarks[0]


@pytest.mark.parametrize("has_names", [True, False])
def test_a_folder_too_many_and_a_hidden_one(folder, has_names):
    image(folder / "val" / ".thumbs" / "a.png", 3)
    config = ConfigSplit("CustomDataset", "files", "val", has_names=has_names)
    with pytest.raises(OctetError, match="val: 4 class folders.*No class is called '.thumbs'.*take '.thumbs' away"):
        open_split(folder, "test", ANIMALS, config=config)


@pytest.mark.parametrize("layout", ["class folders", "annotations", "images alone"])
@pytest.mark.parametrize("place", ["val", "val/dog", "val/dog/more", "meta"])
def test_a_folder_that_is_a_link_is_refused(folder, tmp_path_factory, layout, place):
    """DVC follows none, so it would not see that images or labels behind it change."""
    image(folder / "val" / "dog" / "more" / "new.png", 77)
    (folder / "meta").mkdir()
    if layout == "annotations":
        (folder / "meta/val.txt").write_text("dog/more/new.png 1\n")
    classes = () if layout == "images alone" else ANIMALS
    assert "dog/more/new.png" in open_split(folder, "test", classes).names
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "folder"
    (folder / place).rename(elsewhere)
    (folder / place).symlink_to(elsewhere)
    if place == "meta" and layout != "annotations":
        assert "dog/more/new.png" in open_split(folder, "test", classes).names
        return
    what = re.escape(f"{folder / place}: a link to a folder, and DVC does not see")
    with pytest.raises(OctetError, match=f"{what} .* changes\\. Put the folder itself there"):
        open_split(folder, "test", classes)


def test_a_link_that_came_after_the_evaluation(folder, tmp_path_factory):
    """`dvc repro` sees nothing of it; `make check` does."""
    whole, elsewhere = tmp_path_factory.mktemp("links") / "link", tmp_path_factory.mktemp("elsewhere")
    whole.symlink_to(folder)
    for data in (folder, whole, folder / "nowhere"):
        check_links(str(data))
    (folder / "val" / "owl" / "more" / "new").symlink_to(elsewhere)
    for data in (folder, whole):
        with pytest.raises(OctetError, match="val/owl/more/new: a link to a folder, and DVC does not see"):
            check_links(str(data))


def test_a_link_to_the_whole_data_set_and_links_to_images_are_followed(folder, tmp_path_factory):
    """DVC sees what changes behind these."""
    (folder / "val" / "dog" / "link.png").symlink_to(folder / "train" / "dog" / "a.png")
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(folder)
    data = open_split(link, "test", ANIMALS)
    assert "dog/link.png" in data.names
    assert len(data) == 8


@pytest.mark.parametrize("place", ["val/dog/{}.png", "val/{}/1.png", "val/dog/{}/1.png"])
@pytest.mark.parametrize("classes", [ANIMALS, ()])
def test_names_that_are_not_utf_8_are_refused(folder, place, classes):
    """As an archive made in another locale leaves them; predictions could not name such an image."""
    path = Path(os.fsdecode(os.fsencode(folder / place).replace(b"{}", b"caf\xe9")))
    if place == "val/{}/1.png":
        (folder / "val" / "dog").rename(path.parent)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((folder / "val/cat/a.png").read_bytes())
    with pytest.raises(OctetError, match=r"the name b'.*caf\\xe9.*' is not UTF-8"):
        open_split(folder, "test", classes)


@pytest.mark.parametrize("is_absolute", [True, False])
def test_annotations_that_name_images_elsewhere(folder, tmp_path_factory, is_absolute):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    image(elsewhere / "1.png", 1)
    start = elsewhere if is_absolute else os.path.relpath(elsewhere, folder / "val")
    (folder / "val.txt").write_text(f"{start}/1.png 0\n")
    with pytest.raises(
        OctetError, match=r"val\.txt: names images in .*elsewhere.*, outside .*, where DVC does not see"
    ):
        open_split(folder, "test", ANIMALS)


def test_endings_that_mmcls_leaves_out(folder):
    image(folder / "val" / "dog" / "c.webp", 3)
    data = open_split(folder, "test", ANIMALS)
    assert len(data) == 7
    assert "2 files are no images to mmcls and left out; images end in .jpg" in data.source.remarks[-1]


def test_a_file_of_test_labels_that_are_all_0_is_no_test_split(tmp_path):
    """As ImageNet's archive of annotation files has it."""
    for k in range(3):
        image(tmp_path / "val" / f"{k}.png", k)
        image(tmp_path / "test" / f"{k}.png", k)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/test.txt").write_text("0.png 0\n1.png 0\n2.png 0\n")
    with pytest.raises(
        OctetError, match=r"no data for the test split.*meta/test.txt: passed over, as every label in it is 0"
    ):
        open_split(tmp_path, "test", ANIMALS)
    (tmp_path / "meta/val.txt").write_text("0.png 0\n1.png 1\n2.png 2\n")
    data = open_split(tmp_path, "test", ANIMALS)
    assert data.labels.tolist() == [0, 1, 2]
    assert str(data.source) == "meta/val.txt (annotation file of the images in val)"
    assert "meta/test.txt: passed over" in data.source.remarks[0]
    (tmp_path / "meta/val.txt").write_text("0.png 2\n1.png 2\n2.png 2\n")
    assert "all of its 3 images have label 2 ('owl')" in open_split(tmp_path, "test", ANIMALS).source.remarks[-1]


def test_what_the_config_names_counts_before_what_lies_there(folder):
    """A config that says meta/other.txt, beside a val.txt."""
    (folder / "val.txt").write_text("cat/a.png 0\n")
    (folder / "other.txt").write_text("owl/b.PNG 2\ncat/a.png 0\n")
    config = ConfigSplit("ImageNet", "files", "val", "other.txt")
    assert open_split(folder, "test", ANIMALS, config=config).labels.tolist() == [2, 0]
    elsewhere = ConfigSplit("ImageNet", "files", "photos", "photos.txt")
    data = open_split(folder, "test", ANIMALS, config=elsewhere)
    assert data.labels.tolist() == [0]
    assert "what the config names, photos and photos.txt, is not in" in data.source.remarks[0]


def test_an_annotation_file_that_the_config_does_not_name_is_not_read_and_said(folder):
    (folder / "val.txt").write_text("cat/a.png 1\n")
    data = open_split(folder, "test", ANIMALS, config=ConfigSplit("CustomDataset", "files", "val"))
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert "val.txt: not read, since the config's data.test has no ann_file" in data.source.remarks[0]


def test_a_config_that_names_the_folder_itself(folder):
    config = ConfigSplit("CustomDataset", "files", ".")
    assert len(open_split(folder, "test", ANIMALS, config=config)) == 7, "train/ and val/ are no classes"
    assert len(open_split(folder / "val", "test", ANIMALS, config=config)) == 7


def named(folder: str, annotations: str | None = None, config: ConfigSplit | None = None) -> ConfigSplit:
    """The test split as a model's entry names it, written to preprocess.json and read again."""
    entry = Splits.model_validate({"test": {"folder": folder, "annotations": annotations}})
    return from_json(to_json(with_entry({"test": config} if config else {}, entry, "net")))["test"]


def test_what_the_entry_names_counts_before_the_config_and_what_lies_there(folder):
    (folder / "test/cat").mkdir(parents=True)
    (folder / "mine.txt").write_text("val/owl/b.PNG 2\nval/cat/a.png 0\n")
    (folder / "val" / "cat" / "c.gif").write_bytes((folder / "val" / "cat" / "a.png").read_bytes())
    config = ConfigSplit("ImageNet", "files", "train", "meta/train.txt", [".gif", ".png"], annotations_optional=True)
    data = open_split(folder, "test", ANIMALS, config=named("val/"))
    assert (len(data), str(data.source)) == (7, "val (class folders in sorted order, 3)")
    data = open_split(folder, "test", ANIMALS, config=named("val", None, config))
    assert data.names == [*[f"cat/{name}" for name in ("a.png", "b.PNG", "c.gif")], *open_names(folder)[2:]]
    data = open_split(folder, "test", ANIMALS, config=named(".", "mine.txt", config))
    assert (data.names, data.labels.tolist()) == (["val/owl/b.PNG", "val/cat/a.png"], [2, 0])
    assert str(data.source) == "mine.txt (annotation file of the images in .)"
    data = open_split(folder, "test", ANIMALS, config=named("val/dog"))
    assert (sorted(data.names), data.labelled) == (["a.png", "b.PNG"], False)
    data = open_split(folder, "test", (), config=named("val/dog"))
    assert sorted(data.names) == ["a.png", "b.PNG"], "a network without class scores"


def open_names(folder: Path) -> list[str]:
    return open_split(folder, "test", ANIMALS, config=ConfigSplit("", "files", "val")).names


@pytest.mark.parametrize(
    ("place", "classes", "message"),
    [
        (
            ("vall",),
            ANIMALS,
            "splits.test.folder: {}/vall: no such folder; {} has mine.txt, train, val. Put it there, or",
        ),
        (("no/val",), ANIMALS, "splits.test.folder: {}/no/val: no such folder. Put it there, or name another"),
        (("mine.txt",), ANIMALS, "splits.test.folder: {}/mine.txt: no such folder"),
        (
            ("val", "my.txt"),
            ANIMALS,
            "splits.test.annotations: {}/my.txt: no such file. Put it there, name another, or leave",
        ),
        (("val", "train"), ANIMALS, "splits.test.annotations: {}/train: no such file"),
        (
            ("val", "mine.txt"),
            ANIMALS,
            "splits.test: {}/mine.txt: line 2 is 'cat/a.png 3'; expected an image's path, a space",
        ),
        (("val",), ANIMALS[:2], "splits.test: {}/val: 3 class folders, the model has 2 classes"),
        (("val/cat/none",), ANIMALS, "splits.test: {}/val/cat/none: no image in it; expected files ending in .jpg"),
        (
            ("val", "mine.txt"),
            (),
            "splits.test.annotations: the model gives no class scores and needs no labels; leave it out",
        ),
    ],
)
def test_what_the_entry_names_and_is_not_there_is_an_error_with_its_key(folder, place, classes, message):
    (folder / "mine.txt").write_text("cat/b.PNG 0\ncat/a.png 3\n")
    if "none" in place[0]:
        (folder / place[0]).mkdir()
    with pytest.raises(OctetError) as error:
        open_split(folder, "test", classes, config=named(*place))
    assert str(error.value).startswith("params.yaml: models.net." + message.format(folder, folder))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_annotation_files_as_windows_writes_them(folder, start, end):
    """A name with a line separator of Unicode is one name, as in mmcls."""
    image(folder / "val" / "owl" / "a\u2028b\x0b.png", 3)
    lines = ["cat/a.png 0", "dog/a.png 1", "owl/a\u2028b\x0b.png 2", ""]
    (folder / "val.txt").write_bytes(start + end.join(lines).encode())
    data = open_split(folder, "test", ANIMALS)
    assert data.names == ["cat/a.png", "dog/a.png", "owl/a\u2028b\x0b.png"]
    assert [remark.partition(",")[0] for remark in data.source.remarks] == (
        [f"{folder / 'val.txt'}: begins with a byte order mark"] if start else []
    )


def test_sorted_folders_give_the_labels_where_names_differ(folder):
    data = open_split(folder, "test", ["first", "second", "third"])
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_folders_that_are_not_the_classes(folder):
    for classes in (["a", "b"], ["cat", "dog", "emu", "asp"]):
        with pytest.raises(
            OctetError, match=f"val: 3 class folders, the model has {len(classes)} classes.*No class is called"
        ):
            open_split(folder, "test", classes)


@pytest.mark.parametrize("left", [[], ["notes.heic"]])
def test_a_class_without_images_is_named(folder, left):
    """Where mmcls warns « Found no valid file in the folder dog »: it counts as 0 in the means of precision and the like."""
    for split in ("train", "val"):
        for file in (folder / split / "dog").iterdir():
            file.unlink()
        for name in left:
            (folder / split / "dog" / name).write_bytes(b"x")
    test, train = open_split(folder, "test", ANIMALS), open_split(folder, "train", ANIMALS)
    assert test.source.remarks[-1] == (
        "no image of 1 of the 3 classes: 'dog'. Each such class counts as 0 in the means of precision, recall and F1, as in "
        "mmcls"
    )
    assert train.source.remarks[-1] == "no image of 1 of the 3 classes: 'dog'. Calibration sees none of them"
    top = np.array([[label, 0] for label in test.labels])  # all right
    figures = accuracy(test.labels, top, ANIMALS)
    assert (figures.top1_pct, figures.precision_pct, figures.recall_pct, figures.f1_pct) == (100, *[66.6667] * 3)


def test_classes_without_images_of_an_annotation_file_are_named(folder):
    (folder / "val.txt").write_text("cat/a.png 0\ncat/b.PNG 0\ndog/a.png 4\n")
    remarks = open_split(folder, "test", [*ANIMALS, "pig", "rat", "yak"]).source.remarks
    assert remarks[0].startswith("no image of 4 of the 6 classes: 'dog', 'owl', 'pig', ….")


def test_class_folders_without_images(tmp_path):
    (tmp_path / "test" / "cat").mkdir(parents=True)
    with pytest.raises(OctetError, match=r"test: no image in its class folders; expected files ending in \.jpg"):
        open_split(tmp_path, "test", ["cat"])


@pytest.mark.parametrize("place", ["meta/val.txt", "val.txt"])
@pytest.mark.parametrize("prefix", ["", "val/"])
def test_annotation_files(tmp_path, place, prefix):
    for k in range(4):
        image(tmp_path / "val" / f"n {k}.png", k)
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{prefix}n {k}.png {k % 3}\n" for k in (3, 0, 2, 1)) + "\n")
    data = open_split(tmp_path, "test", ANIMALS)
    assert data.labels.tolist() == [0, 0, 2, 1]
    assert red(data) == [3, 0, 2, 1]
    assert data.name(0) == f"{prefix}n 3.png"


def test_an_annotation_file_that_is_not_text(folder):
    (folder / "val.txt").write_bytes(b"cat/a.png 0\n\xff 1\n")
    with pytest.raises(OctetError, match="val.txt: not UTF-8"):
        open_split(folder, "test", ANIMALS)


def test_an_annotation_file_counts_before_folders(folder):
    (folder / "meta").mkdir()
    (folder / "meta" / "val.txt").write_text("owl/b.PNG 1\n")
    assert open_split(folder, "test", ANIMALS).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "cat/a.png 0\ncat/z.png 0\nx.png 1\n",
            "2 of the 3 images that it names are not in .*val: 'cat/z.png', 'x.png'",
        ),
        ("cat/a.png 0\ncat/b.PNG 3\n", "line 2 is 'cat/b.PNG 3'; expected .* a label from 0 to 2"),
        ("cat/a.png\n", "line 1 is 'cat/a.png'; expected"),
        ("cat/a.png -1\n", "line 1 is"),
        ("\n", "has no line"),
    ],
)
def test_damaged_annotation_files(folder, lines, message):
    (folder / "val.txt").write_text(lines)
    with pytest.raises(OctetError, match=f"val.txt: {message}"):
        open_split(folder, "test", ANIMALS)


@pytest.mark.parametrize("name", ["train", "calibration"])
def test_unlabelled_images_calibrate_but_cannot_be_evaluated(tmp_path, name):
    for k in range(30):
        image(tmp_path / name / f"{k:02}.png", k)
    data = open_split(tmp_path, "train", ANIMALS)
    assert not data.labelled
    assert len(data) == 30
    few = [data.name(k) for k in balanced(data.labels, 8, "x")]
    assert few != sorted(few)
    assert sorted(red(data)) == list(range(30))
    assert set(few) < {data.name(k) for k in balanced(data.labels, 9, "x")}
    with pytest.raises(OctetError, match="no data for the test split"):
        open_split(tmp_path, "test", ANIMALS)


def test_a_test_folder_without_labels(tmp_path):
    """What lies there, or what the config names."""
    for k in range(3):
        for name in ("test", "pool"):
            image(tmp_path / name / f"{k}.png", k)
    for config in (None, ConfigSplit("CustomDataset", "files", folder="pool")):
        data = open_split(tmp_path, "test", ANIMALS, "color", config)
        assert (data.labelled, len(data)) == (False, 3)
        assert str(data.source) == f"{'pool' if config else 'test'} (images without labels)"


def test_a_test_folder_without_labels_gives_way_to_a_labelled_one(folder):
    """As ImageNet has it."""
    image(folder / "test" / "x.png", 3)
    assert len(open_split(folder, "test", ANIMALS)) == 7


@pytest.mark.parametrize("damage", [b"", b"not an image", None])
def test_one_image_that_cannot_be_read_is_left_out_and_named(folder, capsys, damage):
    path = folder / "train" / "dog" / "a.png"
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    data = open_split(folder, "train", ANIMALS)
    with pytest.raises(Unreadable, match="dog/a.png: not an image that OpenCV can decode, or damaged"):
        data.image(2)
    kept = Images(data, STEPS, np.arange(7)).readable("calibrate").indices
    assert kept.tolist() == [0, 1, 3, 4, 5, 6]
    output = capsys.readouterr().err
    assert "warning: calibrate: 1 of 7 images cannot be read" in output
    assert "dog/a.png" in output


def test_an_image_too_narrow_to_be_resized_is_left_out_and_named(folder, capsys):
    """It could be read, and ended calibration amid its work."""
    image(folder / "train" / "dog" / "a.png", 3, 1, 5000)
    short = Resize(8, -1, "short", "bilinear", "cv2")
    steps = Preprocess("RGB", [0.0] * 3, [1.0] * 3, [8, 8], ANIMALS, geometry=[short, CenterCrop(8, 8)])
    kept = Images(open_split(folder, "train", ANIMALS), steps, np.arange(7)).readable("calibrate")
    assert kept.indices.tolist() == [0, 1, 3, 4, 5, 6]
    assert "dog/a.png: an image of 5000x1 pixels, so narrow" in capsys.readouterr().err


def test_many_images_that_cannot_be_read_are_an_error(folder):
    for name in ("dog/a.png", "cat/a.png"):
        (folder / "train" / name).write_bytes(b"x")
    with pytest.raises(OctetError, match=r"(?s)more than 1 % of 7 images cannot be read; .*a\.png.*a\.png"):
        Images(open_split(folder, "train", ANIMALS), STEPS, np.arange(7)).readable("calibrate")
    many = Unread(1000, "evaluate")
    for _ in range(10):
        many.add(Unreadable("x"))
    with pytest.raises(OctetError, match="more than 1 % of 1,000"):
        many.add(Unreadable("x"))


def test_inputs_name_the_image_that_does_not_fit(folder):
    data = open_split(folder, "test", ANIMALS)
    images = Images(data, STEPS, np.array([3, 6]))
    assert images[1][:, 0, 0].tolist() == [150, 9, 7]
    assert [x[0, 0, 0] for x in images] == [111, 150]
    assert images[1:].names == [images.name(-1)] == ["owl/more/c.jpeg.png"]
    strict = Preprocess("RGB", [0.0] * 3, [1.0] * 3, [4, 5], ANIMALS)
    with pytest.raises(OctetError, match="owl/more/c.jpeg.png: an image of 10x8 pixels becomes 10x8"):
        Images(data, strict, np.array([3, 6]))[1]
