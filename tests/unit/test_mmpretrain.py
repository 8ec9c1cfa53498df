"""mmpretrain 1.x configs are read in mmcls's form, without mmpretrain; what Octet or mmcls has not is named."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.core.params import Splits
from octet.data import cifar
from octet.data.config_split import with_entry
from octet.data.images import split_images
from octet.data.preprocess import load, save
from octet.export import checkpoint
from octet.export.mmcls_model import build, read_config
from octet.export.mmcls_pipeline import derive
from octet.export.mmcls_source import MmclsSource
from octet.export.mmpretrain.weights import as_mmcls_names
from tests.bench.mmpretrain.__main__ import compare

pytestmark = pytest.mark.unit

MODEL = """
model = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='ResNet', depth=18, out_indices=(3, ), init_cfg=dict(type='Pretrained', checkpoint='x.pth')),
    neck=dict(type='mmpretrain.models.necks.gap.GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=512, loss=dict(type='mmpretrain.LabelSmoothLoss')))
"""
DATA = """
default_scope = 'mmpretrain'
data_preprocessor = dict(num_classes=3, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=16, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=(14, 12)),
    dict(type='PackInputs'),
]
test_dataloader = dict(batch_size=32, dataset=dict(
    type='CustomDataset', data_root='data/my', data_prefix='val', metainfo=dict(classes=['a', 'b', 'c']),
    pipeline=test_pipeline))
"""


def written(folder: Path, text: str, name: str = "config.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_config_is_read_in_mmcls_form(tmp_path):
    path = written(tmp_path, MODEL + DATA)
    config = read_config(path)
    steps = derive(config, path)
    assert (steps.channel_order, steps.size, steps.classes) == ("RGB", [12, 14], ["a", "b", "c"])  # mmcv 2 has (w, h)
    assert (steps.mean, steps.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert steps.geometry[0].edge == "short"
    assert (steps.splits["test"].folder, steps.splits["test"].annotations) == ("val", None)
    assert type(build(config, path).backbone).__name__ == "ResNet"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("test_dataloader = dict(dataset=dict(pipeline={{_base_.test_pipeline}}))", [12, 14]),
        (
            "own = _base_.test_pipeline\ntest_dataloader = dict(dataset=dict(pipeline={{_base_.test_pipeline}}))",
            [12, 14],
        ),
        ("_base_.test_dataloader.dataset.pipeline[2]['crop_size'] = 8", [8, 8]),
        (
            "_base_['test_pipeline'][2]['crop_size'] = 10\n_base_.test_dataloader.dataset.pipeline = _base_.test_pipeline",
            [10, 10],
        ),
        ("size = {{'$OCTET_TEST_SIZE:6'}}\n_base_.test_dataloader.dataset.pipeline[2].crop_size = size", [6, 6]),
        ("test_dataloader = dict(dataset=dict(data_root='{{ fileDirname }}'))", [12, 14]),
    ],
)
def test_mmengines_text_forms_of_inheriting(tmp_path, own, expected):
    written(tmp_path, MODEL, "model.py")
    written(tmp_path, DATA, "data.py")
    path = written(tmp_path, f"_base_ = ['model.py', './data.py']\n{own}\n")
    assert derive(read_config(path), path).size == expected


LAZY = "from mmengine.config import read_base\nwith read_base():\n    from .model import *\n"
CASES = {
    "lazy": (LAZY, r"line 1 imports .* lazy form .*dump\('plain.py'\)"),
    "classes as types": ("from mmpretrain.models import ResNet\nmodel = dict(type=ResNet)\n", "lazy form"),
    "a package's config": ("_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'\n", "config of an installed package"),
    "no dataloader": (MODEL + "default_scope = 'mmpretrain'\n", "neither test_dataloader nor val_dataloader"),
    "unknown network": (MODEL.replace("'ResNet'", "'XCiT'") + DATA, "model.backbone: mmcls 0.25.*no 'XCiT'.*ONNX=file"),
    "unknown option": (MODEL.replace("depth=18", "depth=18, use_grn=True") + DATA, "ResNet has no option 'use_grn'"),
    "unknown arch": (
        MODEL.replace("type='ResNet', depth=18", "type='MobileNetV3', arch='small_050'") + DATA,
        "MobileNetV3 has no arch 'small_050'; it has small, large",
    ),
    "unknown step": (MODEL + DATA.replace("ResizeEdge", "Albu"), r"test_dataloader.dataset.pipeline: .* step 'Albu'"),
    "keep_ratio": (
        MODEL + DATA.replace("'ResizeEdge', scale=16, edge='short'", "'Resize', scale=(16, 16), keep_ratio=True"),
        "Resize has keep_ratio, which gives every image another size",
    ),
    "padding": (MODEL + DATA.replace("num_classes=3, mean", "pad_size_divisor=32, mean"), "pad_size_divisor"),
    "no std": (MODEL + DATA.replace("std=[58.395, 57.12, 57.375], ", ""), "expected mean and std"),
    "other classifier": (MODEL.replace("mmpretrain.ImageClassifier", "MAE") + DATA, "model.type is 'MAE'"),
    "no pipeline": (MODEL + DATA.replace("    pipeline=test_pipeline", ""), "test_dataloader.dataset: has no pipeline"),
    "size differs": (
        MODEL + DATA.replace("    dict(type='CenterCrop', crop_size=(14, 12)),\n", ""),
        "test_dataloader.dataset.pipeline: the network's input would have another size",
    ),
    "another library's scope": (
        MODEL.replace("'ResNet'", "'mmdet.ResNet'") + DATA,
        "model.backbone: .*no 'mmdet.ResNet'",
    ),
    "a model that is none": (DATA + "model = 5\n", "has no 'model'; expected an mmcls or mmpretrain config"),
    "data_preprocessor a list": (
        MODEL + DATA.replace("dict(num_classes=3, mean=", "[3] or dict(mean="),
        "data_preprocessor: expected a dictionary with mean and std",
    ),
    "mean a number": (
        MODEL + DATA.replace("[123.675, 116.28, 103.53]", "5"),
        "mean is 5 and std .*; expected a list each",
    ),
    "std 0": (
        MODEL + DATA.replace("58.395", "0"),
        "Normalize has mean .* and std .0.0, 57.12.*; expected numbers, and no 0",
    ),
    "size 0": (MODEL + DATA.replace("scale=16", "scale=0"), "mmcls cannot build it: Resize: a value is not allowed"),
    "split": (
        MODEL + DATA.replace("'CustomDataset'", "'ImageNet', split='dev'"),
        r"test_dataloader.dataset.split is 'dev'; expected train or val or test",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_taken_is_named(tmp_path, case):
    text, message = CASES[case]
    written(tmp_path, MODEL, "model.py")
    path = written(tmp_path, text)
    with pytest.raises(OctetError, match=message) as error:
        derive(read_config(path), path)
    assert str(error.value).startswith(path)


def test_a_number_of_classes_that_is_none_is_named(tmp_path):
    """mmcls's error, and only by export: what looks at the steps alone has no need of it."""
    path = written(tmp_path, MODEL.replace("num_classes=3", "num_classes='three'") + DATA)
    source = MmclsSource(path, str(tmp_path / "net.pth"), False)
    assert source.look().classes == ["a", "b", "c"]
    with pytest.raises(
        OctetError, match="config.py: mmcls cannot build the model: TypeError: ImageClassifier: LinearClsHead"
    ):
        source.export(13)


def test_mmpretrains_own_modules_are_not_imported(tmp_path):
    path = written(tmp_path, MODEL + DATA + "custom_imports = dict(imports=['mmpretrain.models'])\n")
    assert "custom_imports" not in read_config(path)


@pytest.mark.parametrize("has_annotations", [False, True])
def test_imagenets_split_has_its_labels_in_a_file_or_in_class_folders(tmp_path, has_annotations):
    """As mmpretrain's ImageNet: meta/val.txt where it is there. A folder test/ of class folders is another split."""
    for split in ("test", "val"):
        for folder in ("n1", "n2", "n3"):
            (tmp_path / split / folder).mkdir(parents=True)
            assert cv2.imwrite(str(tmp_path / split / folder / f"{split}.png"), np.zeros((20, 20, 3), np.uint8))
    if has_annotations:
        (tmp_path / "meta").mkdir()
        (tmp_path / "meta" / "val.txt").write_text("n1/val.png 2\nn3/val.png 0\n")
    text = DATA.replace(
        "type='CustomDataset', data_root='data/my', data_prefix='val'", "type='ImageNet', data_root='x', split='val'"
    )
    path = written(tmp_path, MODEL + text)
    images = split_images(tmp_path, "test", derive(read_config(path), path), None, "evaluate.limit")
    names = [images.dataset.name(k) for k in range(len(images))]
    assert names == (["n1/val.png", "n3/val.png"] if has_annotations else ["n1/val.png", "n2/val.png", "n3/val.png"])
    assert images.labels.tolist() == ([2, 0] if has_annotations else [0, 1, 2])


@pytest.mark.parametrize(
    ("split", "test_mode"), [("split='test'", True), ("split='train'", False), ("test_mode=True", False)]
)
def test_cifars_split_is_its_own_word_and_not_test_mode(tmp_path, split, test_mode):
    text = DATA.replace(
        "type='CustomDataset', data_root='data/my', data_prefix='val'", f"type='CIFAR10', data_root='c', {split}"
    )
    text = (
        text[: text.index("test_pipeline = [")]
        + "test_pipeline = [dict(type='PackInputs')]\n"
        + text[text.index("test_dataloader") :]
    )
    path = written(tmp_path, MODEL + text.replace("to_rgb=True", "to_rgb=False"))
    config = read_config(path)
    assert config.data.test.test_mode is test_mode
    assert derive(config, path).channel_order == "RGB"


INNER = "type='CustomDataset', data_root='data/my', data_prefix='val'"
PICKED = {
    "KFoldDataset": (
        "type='KFoldDataset', fold=0, num_splits=5, test_mode=True, dataset=dict(",
        ")",
        ".type is 'KFoldDataset'",
    ),
    "scope": ("type='mmpretrain.KFoldDataset', dataset=dict(", ")", ".type is 'KFoldDataset'"),
    "ClassBalancedDataset": (
        "type='ClassBalancedDataset', oversample_thr=0.1, dataset=dict(",
        ")",
        ".type is 'ClassBalancedDataset'",
    ),
    "indices": ("indices=500, ", "", ".indices is 500"),
    "the last ones": ("indices=-2, ", "", ".indices is -2"),
    "none at all": ("indices=[], ", "", ".indices is []"),
    "indices, repeated": (
        "type='RepeatDataset', times=3, dataset=dict(indices=[0, 2], ",
        ")",
        ".dataset.indices is [0, 2]",
    ),
}


def drawn(root: Path) -> None:
    """Class folders val/a, val/b, val/c of two images each, and fold.txt, which lists one of each."""
    for name in "abc":
        for k in range(2):
            (root / "val" / name).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / "val" / name / f"{k}.png"), np.zeros((20, 20, 3), np.uint8))
    (root / "fold.txt").write_text("a/0.png 0\nb/0.png 1\nc/0.png 2\n")


@pytest.mark.parametrize("case", PICKED)
def test_what_takes_some_of_the_test_images_is_named(tmp_path, case):
    """Judged by all of val/, a model of k-fold validation would be judged by images that it was trained on."""
    before, after, place = PICKED[case]
    drawn(tmp_path)
    text = DATA.replace(INNER, before + INNER).replace("pipeline=test_pipeline))", f"pipeline=test_pipeline)){after}")
    path = written(tmp_path, MODEL + text)
    steps = derive(read_config(path), path)
    save(steps, tmp_path / "preprocess.json")
    assert load(tmp_path / "preprocess.json") == steps
    with pytest.raises(OctetError, match="'splits.test' of the model's entry; or take a config without it") as error:
        split_images(tmp_path, "test", steps, None, "evaluate.limit")
    assert str(error.value).startswith(
        f"{path}: test_dataloader.dataset{place}: it does not take each image there once"
    )
    entry = Splits.model_validate({"test": {"folder": "val", "annotations": "fold.txt"}})
    named = split_images(tmp_path, "test", replace(steps, splits=with_entry(steps.splits, entry, "net")), None, "x")
    assert named.names == ["a/0.png", "b/0.png", "c/0.png"]
    (tmp_path / "val").rename(tmp_path / "test")  # which the config does not name
    assert len(split_images(tmp_path, "test", steps, None, "evaluate.limit")) == 6


def test_its_copy_in_mmcls_form_names_it_too(tmp_path):
    drawn(tmp_path)
    path = written(tmp_path, MODEL + DATA.replace(INNER, f"indices=4, {INNER}"))
    copy = written(tmp_path, read_config(path).pretty_text, "copy.py")
    with pytest.raises(OctetError, match=r"config.py: test_dataloader.dataset.indices is 4: it does not take each"):
        split_images(tmp_path, "test", derive(read_config(copy), copy), None, "evaluate.limit")


def test_a_fold_of_cifar_is_named(tmp_path):
    pixels, labels = np.zeros((5, 3, 32, 32), np.uint8), np.zeros(5, np.uint8)
    cifar.write(tmp_path, (pixels, labels), (pixels, labels), ["a", "b", "c"])
    config = f"type='KFoldDataset', test_mode=True, dataset=dict({INNER.replace('CustomDataset', 'CIFAR10')}"
    text = DATA.replace(INNER, config).replace("pipeline=test_pipeline))", "pipeline=[dict(type='PackInputs')])))")
    path = written(tmp_path, MODEL + text)
    with pytest.raises(OctetError, match=r"test_dataloader.dataset.type is 'KFoldDataset': it does not take each"):
        split_images(tmp_path, "test", derive(read_config(path), path), None, "evaluate.limit")


@pytest.mark.parametrize(
    "wrapper",
    [
        "type='RepeatDataset', times=3, dataset=dict(",
        "type='ConcatDataset', datasets=[dict(",
        "type='mmengine.RepeatDataset', times=3, dataset=dict(indices=None, ",
    ],
)
def test_a_wrapper_that_takes_all_test_images_alike_changes_nothing(tmp_path, wrapper):
    plain = written(tmp_path, MODEL + DATA, "plain.py")
    end = "])" if "[" in wrapper else ")"
    text = DATA.replace(INNER, wrapper + INNER).replace("pipeline=test_pipeline))", f"pipeline=test_pipeline){end})")
    path = written(tmp_path, MODEL + text)
    assert derive(read_config(path), path) == derive(read_config(plain), plain)


@pytest.mark.parametrize("kind", ["KFoldDataset", "ClassBalancedDataset", "ConcatDataset", "indices"])
def test_what_training_takes_is_calibrations_no_matter(tmp_path, kind):
    inner = f"dict({INNER.replace('val', 'train')}, pipeline=test_pipeline)"
    wrapped = {
        "ConcatDataset": f"dict(type='ConcatDataset', datasets=[{inner}, {inner}])",
        "indices": f"dict({inner}, indices=2)",
    }.get(kind, f"dict(type='{kind}', dataset={inner})")
    path = written(tmp_path, MODEL + DATA + f"train_dataloader = dict(dataset={wrapped})\n")
    splits = derive(read_config(path), path).splits
    assert splits["test"].folder == "val"
    if kind == "ConcatDataset":
        assert "train" not in splits
    else:
        assert (splits["train"].reads, splits["train"].folder, splits["train"].picked_by) == ("files", "train", "")


@pytest.mark.parametrize("inner", ["type='Food101'", "type='CustomDataset', with_label=False, data_prefix='val'"])
def test_what_is_picked_of_a_data_set_that_is_read_in_an_unknown_way_is_named(tmp_path, inner):
    wrapped = f"dict(type='KFoldDataset', dataset=dict({inner}, pipeline=test_pipeline))"
    path = written(tmp_path, MODEL + DATA + f"test_dataloader = dict(dataset={wrapped})\n")
    assert "KFoldDataset" in derive(read_config(path), path).splits["test"].picked_by


def test_several_test_sets_in_one_are_refused(tmp_path):
    inner = f"dict({INNER}, pipeline=test_pipeline)"
    text = f"test_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[{inner}, {inner}]))\n"
    path = written(tmp_path, MODEL + DATA + text)
    with pytest.raises(OctetError, match="test_dataloader.dataset.pipeline: ConcatDataset has several data sets"):
        derive(read_config(path), path)


@pytest.mark.parametrize("kind", ["BaseDataset", "Food101"])
def test_a_data_set_that_mmcls_has_not_is_said(tmp_path, kind):
    """BaseDataset's labels are in a JSON file, which is not read."""
    drawn(tmp_path)
    path = written(tmp_path, MODEL + DATA.replace("'CustomDataset'", f"'{kind}', ann_file='val.json'"))
    images = split_images(tmp_path, "test", derive(read_config(path), path), None, "evaluate.limit")
    assert images.source.remarks == [
        f"how the config's data set, {kind}, labels images is not known; taken is what lies there"
    ]


def test_weights_get_mmcls_names():
    weights = {"backbone.a": 1, "head.fc.weight": 2, "data_preprocessor.mean": 3, "other": 4}
    renamed = as_mmcls_names(weights, {"backbone.a", "head.layers.head.weight"})
    assert renamed == {"backbone.a": 1, "head.layers.head.weight": 2, "other": 4}
    assert as_mmcls_names({"head.fc.weight": 2}, {"head.fc.weight", "head.layers.head.weight"}) == {"head.fc.weight": 2}


def test_a_checkpoint_of_mmengines_gives_mmpretrains_pixels_and_logits():
    """Recorded with mmpretrain 1.2.0 by tests/bench/mmpretrain/peer.py: a tiny ResNet, two images."""
    parity = compare(Path(__file__).with_name("mmpretrain_1_2"), "network")
    assert parity.pixels == 0
    assert parity.inputs < 1e-6
    assert parity.logits < 1e-5


def test_mmengines_objects_are_stepped_over_and_class_names_read(capsys):
    path = Path(__file__).with_name("mmpretrain_1_2") / "network.pth"
    content = checkpoint.read(path)
    assert content.classes == ["class 0", "class 1", "class 2"]
    assert "mmengine.logging.history_buffer.HistoryBuffer" in capsys.readouterr().err
