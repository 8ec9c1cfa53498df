"""mmpretrain 1.x configs are read in mmcls's form, without mmpretrain; what Octet or mmcls has not is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data.images import split_images
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
