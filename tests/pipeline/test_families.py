"""Tiny networks of the families that export rewrites, against mmcls's and torch's own computation of them."""

import importlib
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.core.folder import NcnnFiles
from octet.core.logits import spread_difference
from octet.data.preprocess import Preprocess
from octet.graph.layers import is_int8
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine
from octet.ncnn.net import load_net
from octet.quantize.int8_files import write
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.pipeline

FOLDER = Path(__file__).parents[2] / "octet/export/rewrites"
SWIN = dict(embed_dims=16, depths=[2, 2], num_heads=[2, 2])
TWINS = dict(
    embed_dims=[8, 16, 16, 16],
    depths=[2, 1, 1, 1],
    num_heads=[1, 2, 2, 2],
    patch_sizes=[4, 2, 2, 1],
    strides=[4, 2, 2, 1],
    mlp_ratios=[2, 2, 2, 2],
    sr_ratios=[4, 2, 1, 1],
)
LOCAL = dict(type="DW", kernel_size=7)
GLOBAL = dict(type="GF", h=4, w=3)
BACKBONES = {
    "ViT": dict(
        type="VisionTransformer",
        arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=48),
        img_size=48,
        patch_size=16,
    ),
    # 12x12 patches in windows of 5: padded, shifted and masked; the second stage has 6x6
    "Swin": dict(type="SwinTransformer", arch=SWIN, img_size=48, window_size=5, out_indices=(1,)),
    # The second stage's windows are larger than its 6x6 patches.
    "Swin v2": dict(
        type="SwinTransformerV2",
        arch=SWIN | dict(extra_norm_every_n_blocks=0),
        img_size=48,
        window_size=8,
        out_indices=(1,),
        pad_small_map=True,
    ),
    # 12x12 patches in windows of 5: padded on both sides, the case with a mask
    "Twins": dict(type="SVT", arch=TWINS | dict(window_sizes=[5, 3, 3, 3]), norm_after_stage=True),
    "T2T": dict(
        type="T2T_ViT",
        img_size=48,
        embed_dims=32,
        num_layers=1,
        t2t_cfg=dict(token_dims=8),
        layer_cfgs=dict(num_heads=2, feedforward_channels=48),
    ),
    "TNT": dict(
        type="TNT",
        arch=dict(embed_dims_outer=32, embed_dims_inner=8, num_layers=2, num_heads_outer=2, num_heads_inner=2),
        img_size=48,
        patch_size=16,
    ),
    "MViT": dict(
        type="MViT",
        arch=dict(embed_dims=16, num_layers=3, num_heads=1, downscale_indices=[1]),
        img_size=48,
        out_scales=-1,
    ),
    "MobileNetV3": dict(type="MobileNetV3", arch="small"),
    "HorNet-GF": dict(
        type="HorNet",
        arch=dict(
            base_dim=8,
            depths=[1, 1, 1, 1],
            orders=[2, 2, 3, 3],
            dw_cfg=[LOCAL, GLOBAL, GLOBAL, LOCAL],
        ),
        scale=1 / 3,
    ),
    "ResNeSt": dict(
        type="ResNeSt",
        depth=50,
        stem_channels=8,
        base_channels=8,
        num_stages=1,
        strides=(2,),
        dilations=(1,),
        out_indices=(0,),
    ),
    "RepVGG": dict(
        type="RepVGG",
        arch=dict(
            num_blocks=[1, 1, 2, 1], width_factor=[0.125] * 4, group_layer_map={3: 2}, se_cfg=dict(ratio=4, divisor=1)
        ),
        out_indices=(3,),
    ),
    "RepMLP": dict(
        type="RepMLPNet",
        arch=dict(channels=[8, 16], depths=[1, 1], sharesets_nums=[1, 4]),
        img_size=48,
        patch_size=4,
        out_indices=(1,),
        reparam_conv_kernels=(1, 3),
    ),
}

CHANNELS = {"ViT": 32, "Swin": 32, "Swin v2": 32, "Twins": 16, "T2T": 32, "TNT": 32, "MViT": 32, "HorNet-GF": 64}
CHANNELS |= {"MobileNetV3": 576, "ResNeSt": 32, "RepVGG": 64, "RepMLP": 16}
STEPS = Preprocess("RGB", [128.0] * 3, [64.0] * 3, [48, 48], [])


def torch_vit():
    """A ViT whose attention is torch's own, as torchvision's is: 48x48 images as 9 patches and a token, two blocks."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.between = torch.nn.LayerNorm(32), torch.nn.LayerNorm(32)
            self.attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)
            self.body = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.GELU(), torch.nn.Linear(64, 32))

        def forward(self, x):
            tokens = self.before(x)
            x = x + self.attention(tokens, tokens, tokens, need_weights=False)[0]
            return x + self.body(self.between(x))

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = torch.nn.Conv2d(3, 32, 16, 16)
            self.token, self.places = (torch.nn.Parameter(torch.randn(1, n, 32)) for n in (1, 10))
            self.blocks = torch.nn.Sequential(Block(), Block(), torch.nn.LayerNorm(32))
            self.head = torch.nn.Linear(32, 10)

        def forward(self, x):
            patches = self.patches(x).flatten(2).transpose(1, 2)
            return self.head(self.blocks(torch.cat([self.token, patches], 1) + self.places)[:, 0])

    return Classifier().eval()


@pytest.fixture(scope="module", params=[*BACKBONES, "torch's ViT"])
def network(request):
    """The network with random weights, and images: eight that its batch norms have seen, and four others."""
    from mmcv import Config

    from octet.export.mmcls_model import build
    from octet.export.onnx_model import LogitsModel
    from tests.bench.zoo.weights import images, randomize

    name = request.param
    images = images(STEPS, 12, seed=0)
    if name not in BACKBONES:
        result = torch_vit()
        randomize(result, result, images[:8])
        return result, images[:8], images[8:]
    kind = "VisionTransformerClsHead" if name in ("ViT", "T2T") else "LinearClsHead"
    neck = dict(type="GlobalAveragePooling") if name not in ("ViT", "T2T", "TNT", "HorNet-GF") else None
    head = dict(type=kind, num_classes=10, in_channels=CHANNELS[name])
    model = dict(type="ImageClassifier", backbone=BACKBONES[name], neck=neck, head=head)
    classifier = build(Config(dict(model=model)), name)
    result = LogitsModel(classifier).eval()
    randomize(classifier, result, images[:8])
    return result, images[:8], images[8:]


def logits(network, images):
    import torch

    with torch.no_grad():
        return np.concatenate([network(torch.from_numpy(x[None])).numpy() for x in images])


def test_it_computes_the_same(network):
    from octet.export.apply_rewrites import rewritten
    from octet.export.onnx_model import deploy

    network, _, images = network
    network, wanted = deepcopy(network), logits(network, images)
    assert wanted.std(axis=0).mean() > 0.02 * wanted.std()  # else anything is the same
    deploy(network)
    with rewritten(network):
        result = logits(network, images)
    assert spread_difference(result, wanted) < 1e-5
    assert not any("forward" in vars(module) for module in network.modules())


def test_every_file_s_rewrites_are_of_classes_with_a_forward():
    """mmcls and torch have them where the rewrites say; one that was renamed would go unnoticed."""
    from octet.export.apply_rewrites import collected, modules

    assert {path.stem for path in FOLDER.glob("[!_]*.py")} == {
        module.__name__.rpartition(".")[2] for module in modules()
    }
    for name in collected("REWRITES"):
        module, _, kind = name.rpartition(".")
        assert "forward" in vars(getattr(importlib.import_module(module), kind)), name
    assert set(collected("OPERATORS")) == {"aten::sum"}


def test_it_converts_and_runs_in_int8(network, tmp_path):
    from octet.export.onnx_model import to_onnx

    network, seen, images = network
    wanted = logits(network, images)
    onnx, (fp32, int8) = tmp_path / "fp32.onnx", (NcnnFiles.named(tmp_path, name) for name in ("fp32", "int8"))
    onnx.write_bytes(to_onnx(deepcopy(network), (3, 48, 48), 13, "tiny"))
    convert(onnx, fp32, images)
    engine = Engine(*fp32)
    assert spread_difference(np.stack([engine(x) for x in images]), wanted) < 1e-3
    net, target = load_net(*fp32), nets.DOTPROD
    # Parameter 12: by the batch, which ncnn has since July 2026 only.
    assert not [layer.name for layer in net.layers if layer.type == "Reshape" and 12 in layer.params]
    quantized = quantize(net, calibrate(net, seen, nets.settings("mse"), target), target, [], "")
    write(quantized, *int8, images[0])
    engine = Engine(*int8)
    lost = np.square(np.stack([engine(x) for x in images]) - wanted).sum() / np.square(wanted - wanted.mean()).sum()
    assert sum(is_int8(layer) for layer in quantized.layers) >= 5
    assert 0 < lost < 0.2
