"""Every head of mmcls that Octet takes answers as in mmcls: the probabilities of the exported model are simple_test's."""

import numpy as np
import onnxruntime
import pytest
import torch

from octet.evaluate.evaluate import top
from octet.export.heads import SOFTMAX_HEADS
from octet.export.mmcls_model import build_classifier
from octet.export.mmcls_source import MmclsSource

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore")]

N_CLASSES = 7
RESNET = dict(type="ResNet_CIFAR", depth=18, stem_channels=8, base_channels=8, num_stages=4, out_indices=(3,))
VIT = dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=32, patch_size=16)
POOLED = dict(backbone=RESNET, neck=dict(type="GlobalAveragePooling"))
CONFORMER = dict(type="Conformer", arch=dict(embed_dims=96, channel_ratio=1, num_heads=2, depths=3))
EFFICIENTFORMER = dict(
    type="EfficientFormer",
    arch=dict(layers=[1, 1, 1, 2], embed_dims=[8, 8, 8, 16], downsamples=[False, True, True, True], vit_num=1),
)
# By the head's name: what comes before it, and what it needs beside the number of classes.
NETWORKS = {
    "ClsHead": (dict(backbone=dict(type="LeNet5", num_classes=N_CLASSES)), None),
    "LinearClsHead": (POOLED, dict(in_channels=64)),
    "StackedLinearClsHead": (POOLED, dict(in_channels=64, mid_channels=[8], act_cfg=dict(type="HSwish"))),
    "VisionTransformerClsHead": (
        dict(backbone=dict(type="VisionTransformer", **VIT)),
        dict(in_channels=16, hidden_dim=8),
    ),
    "DeiTClsHead": (dict(backbone=dict(type="DistilledVisionTransformer", **VIT)), dict(in_channels=16)),
    "ConformerHead": (dict(backbone=CONFORMER), dict(in_channels=[256, 96])),
    "EfficientFormerClsHead": (
        dict(backbone=EFFICIENTFORMER, neck=dict(type="GlobalAveragePooling", dim=1)),
        dict(in_channels=16),
    ),
}


def test_there_is_a_network_for_each():
    assert list(NETWORKS) == [kind.__name__ for kind in SOFTMAX_HEADS]


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_exported_model_s_probabilities_are_those_of_mmcls(kind, tmp_path):
    before, more = NETWORKS[kind]
    head = dict(type=kind) if more is None else dict(type=kind, num_classes=N_CLASSES, **more)
    config = dict(type="ImageClassifier", **before, head=head)
    torch.manual_seed(0)
    model = build_classifier(config).eval()
    for name, weights in model.named_parameters():
        if name.startswith(
            ("head.", "backbone.classifier.")
        ):  # answers that differ from one class to another, and from image to image
            torch.nn.init.normal_(weights, 0, 0.5)
    grey, edge = kind == "ClsHead", 224 if kind == "EfficientFormerClsHead" else 32
    mean, std = ([128.0], [64.0]) if grey else ([128.0] * 3, [64.0] * 3)
    pipeline = [
        dict(type="LoadImageFromFile", color_type="grayscale" if grey else "color"),
        dict(type="Resize", size=(edge, edge)),
        dict(type="Normalize", mean=mean, std=std, to_rgb=False),
        dict(type="ImageToTensor", keys=["img"]),
        dict(type="Collect", keys=["img"]),
    ]
    data = dict(test=dict(type="CustomDataset", data_prefix="data/x", pipeline=pipeline))
    (tmp_path / "net.py").write_text(f"model = {config!r}\ndata = {data!r}\n")
    names = [f"class {k}" for k in range(N_CLASSES)]
    torch.save({"meta": {"CLASSES": names}, "state_dict": model.state_dict()}, tmp_path / "net.pth")
    exported = MmclsSource(str(tmp_path / "net.py"), str(tmp_path / "net.pth"), False).export(13)
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    images = np.stack(exported.images[:2])  # two, as LeNet in mmcls answers no batch of one
    with torch.no_grad():
        answers = model(torch.from_numpy(images), img_metas=[{}, {}], return_loss=False)
    for x, expected in zip(images, map(np.asarray, answers), strict=True):
        assert expected.sum() == pytest.approx(1, abs=1e-5)
        assert expected.max() > 1.2 / N_CLASSES
        order, probabilities = top(session.run(None, {"input": x[None]})[0][0])
        assert probabilities == pytest.approx(expected[order], abs=1e-4)
        assert order[0] == expected.argmax()
