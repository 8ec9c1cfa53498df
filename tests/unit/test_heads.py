"""Heads that do not end in a softmax are refused by name, and class names that a file cannot carry by their number."""

import csv
import io
import json
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from octet.core import files
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.data.class_names import check_names, problem
from octet.evaluate.predictions import Prediction, distinct, predictions_csv, read_predictions
from octet.export.export import export
from octet.export.heads import SOFTMAX_HEADS, check_head, heads
from octet.export.mmcls_model import build, build_classifier, mmcls, read_config
from octet.export.mmcls_source import MmclsSource
from octet.predict.dump import dump

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore")]

BACKBONE = dict(type="ResNet_CIFAR", depth=18, stem_channels=8, base_channels=8, num_stages=4, out_indices=(3,))
SEVERAL = ["MultiLabelClsHead", "MultiLabelLinearClsHead", "CSRAClsHead"]
MORE = {"StackedLinearClsHead": {"mid_channels": [8]}, "CSRAClsHead": {"num_heads": 1, "lam": 0.1}}


def classifier(kind: str):
    """A small classifier with that head."""
    head = {"type": kind, **MORE.get(kind, {})}
    if kind not in ("ClsHead", "MultiLabelClsHead"):
        head |= {"num_classes": 3, "in_channels": [64, 64] if kind == "ConformerHead" else 64}
    return build_classifier(dict(type="ImageClassifier", backbone=BACKBONE, head=head)).eval()


def test_every_head_of_mmcls_is_known():
    of_mmcls = {
        kind for kind in mmcls.models.HEADS.module_dict.values() if kind.__module__.startswith("mmcls.models.heads.")
    }
    assert of_mmcls == {*SOFTMAX_HEADS, *(getattr(heads, name) for name in SEVERAL)}


@pytest.mark.parametrize("kind", [kind.__name__ for kind in SOFTMAX_HEADS])
def test_heads_that_end_in_a_softmax(kind):
    check_head(classifier(kind), "net.py")


@pytest.mark.parametrize("kind", SEVERAL)
def test_heads_that_end_in_sigmoids_are_refused(kind):
    with pytest.raises(OctetError, match=f"net.py: the head {kind} gives an image several labels by sigmoids"):
        check_head(classifier(kind), "net.py")


class Plain(heads.LinearClsHead):
    """Another loss, say."""


class Squared(heads.LinearClsHead):
    def simple_test(self, x, softmax=True, post_process=True):
        return super().simple_test(x, softmax, False) ** 2


class Halved(heads.LinearClsHead):
    def post_process(self, pred):
        return super().post_process(pred / 2)


class Sigmoid(heads.MultiLabelLinearClsHead):
    pass


def test_heads_of_one_s_own():
    for kind, message in (
        (Plain, None),
        (Squared, "the head Squared tests in a way of its own"),
        (Halved, "the head Halved tests in a way of its own"),
        (Sigmoid, "the head Sigmoid gives an image several labels"),
    ):
        model = classifier("LinearClsHead")
        model.head = kind(3, 64)
        if message is None:
            check_head(model, "net.py")
        else:
            with pytest.raises(OctetError, match=message):
                check_head(model, "net.py")
    model.head = torch.nn.Linear(64, 3)
    with pytest.raises(OctetError, match="the head Linear tests in a way of its own"):
        check_head(model, "net.py")


def exported(folder, kind: str, names: list[str]):
    """Exports a small classifier, whose checkpoint names the classes."""
    model = classifier(kind)
    model_config = dict(type="ImageClassifier", backbone=BACKBONE, neck=dict(type="GlobalAveragePooling"))
    model_config["head"] = dict(type=kind, num_classes=3, in_channels=64)
    pipeline = [dict(type="ImageToTensor", keys=["img"]), dict(type="Collect", keys=["img"])]
    data = dict(test=dict(type="CIFAR10", data_prefix="data/x", pipeline=pipeline))
    (folder / "net.py").write_text(f"model = {model_config!r}\ndata = {data!r}\n")
    torch.save({"meta": {"CLASSES": names}, "state_dict": model.state_dict()}, folder / "net.pth")
    source = MmclsSource(str(folder / "net.py"), str(folder / "net.pth"), False)
    export(source, 13, folder / "fp32.onnx", folder / "preprocess.json")


def test_export_refuses_them(tmp_path):
    with pytest.raises(OctetError, match=r"net\.py: the head MultiLabelLinearClsHead gives an image several labels"):
        exported(tmp_path, "MultiLabelLinearClsHead", ["a", "b", "c"])
    assert not (tmp_path / "fp32.onnx").exists()


@pytest.mark.parametrize("name", ["two\nlines", "two\rlines", "a\tb", "a\0b", "a\u2028b", "a\x85b", "", "  ", "\x1c"])
def test_names_that_no_line_holds_are_refused(name, tmp_path):
    with pytest.raises(
        OctetError, match=r"net\.pth: the name of class 1, .*; a class name is one line of text\. Change it"
    ):
        exported(tmp_path, "LinearClsHead", ["a", name, "c"])
    assert not (tmp_path / "preprocess.json").exists()


def test_names_of_all_other_kinds_are_exported(tmp_path):
    names = ["a | b \\ c", '$5 or $10, "quoted"', "crane"]
    exported(tmp_path, "LinearClsHead", names)
    assert json.loads((tmp_path / "preprocess.json").read_text())["classes"] == names


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.text(
    "| \\$\"',{}\u200b\ufeff%_é猫", max_size=9
)


@given(st.lists(NAMES, min_size=1, max_size=6), st.data())
def test_a_name_is_carried_to_the_end_or_refused(tmp_path_factory, names, data):
    """Predictions, dump and labels.txt have it as it is, or export refuses it: labels.txt has one line a class."""
    if any(problem(name) for name in names):
        with pytest.raises(OctetError, match="net.pth: the name of class"):
            check_names(names, "net.pth")
        return
    check_names(names, "net.pth")
    classes = distinct(names)
    if len(set(names)) == len(names):
        assert classes == names
    labels = "".join(f"{name}\n" for name in names)
    assert labels.splitlines() == names
    assert io.StringIO(labels).read().split("\n")[:-1] == names
    folder = ModelFolder("net", tmp_path_factory.mktemp("p"))
    top = data.draw(st.permutations(classes))[:5]
    row = Prediction("1.png", classes[0], top, [round(1 / (k + 1), 6) for k in range(len(top))])
    for precision in ("fp32", "int8"):
        files.write_text(folder.predictions(precision), predictions_csv([row]))
        assert read_predictions(folder.predictions(precision)) == [row]
    out = folder.root / "dump.jsonl"
    assert dump(folder, out) == 1
    line = json.loads(out.read_text())
    assert line["label"] == classes[0]
    assert [pair["class"] for pair in line["int8"]] == top
    table = files.csv_text(["class", "n"], [[name, 1] for name in classes])
    assert [cells[0] for cells in csv.reader(io.StringIO(table, newline=""))][1:] == classes


def test_what_is_refused_is_what_splits_lines():
    """All that Python, C++ and editors may take for the end of a line."""
    for code in np.flatnonzero([len(f"a{chr(code)}b".splitlines()) > 1 for code in range(0x3000)]):
        assert problem(f"a{chr(code)}b"), unicodedata.name(chr(code), hex(code))


def test_a_type_that_nothing_registers_is_named_with_what_to_do(tmp_path):
    config = tmp_path / "net.py"
    config.write_text('model = dict(type="ImageClassifier", backbone=dict(type="Plain"))\ndata = dict()\n')
    with pytest.raises(
        OctetError,
        match=r"net.py: mmcls cannot build the model: ImageClassifier: Plain is not in the models registry. Is the type's name "
        "right, and the module that registers it in the config's custom_imports?",
    ):
        build(read_config(str(config)), str(config))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("", "names.txt: has no class names; expected those that the config's data.test.classes has, one a line"),
        (
            "a\nb\n",
            "net.py: 2 class names, but the model of .*net.py has 3 outputs; set data.test.classes of the config to",
        ),
    ],
)
def test_names_of_the_config_that_are_not_the_model_s(tmp_path, names, message):
    exported(tmp_path, "LinearClsHead", ["a", "b", "c"])
    config, checkpoint, listed = (tmp_path / name for name in ("net.py", "net.pth", "names.txt"))
    torch.save({"state_dict": torch.load(checkpoint, weights_only=True)["state_dict"]}, checkpoint)
    listed.write_text(names)
    text = config.read_text()
    config.write_text(text.replace("'type': 'CIFAR10'", f"'type': 'CIFAR10', 'classes': {str(listed)!r}"))
    assert config.read_text() != text
    with pytest.raises(OctetError, match=message):
        MmclsSource(str(config), str(checkpoint), False).export(13)
