"""make bench-mmpretrain: the same checkpoints in mmpretrain and in Octet, into docs/mmpretrain.md.

mmpretrain runs in .venv-mmpretrain (peer.py, peer_labels.py), Octet beside it without mmpretrain. Weights are random, from a
fixed seed. The document has two parts, networks and labels: what is run is written anew.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from octet.core.errors import OctetError, run
from octet.core.text import table
from octet.data.image_files import read
from octet.export.mmcls_pipeline import derive
from octet.export.mmcls_source import classifier
from tests.bench.mmpretrain import labels
from tests.bench.venv import ROOT, start

PYTHON = ROOT / ".venv-mmpretrain" / "bin" / "python"
DOCUMENT = ROOT / "docs" / "mmpretrain.md"
HEADING = "## Labels\n"
SHAPES = ((375, 500), (500, 333), (256, 256), (480, 640))  # height and width
ROWS = {
    "ResNet-18": "resnet/resnet18_8xb32_in1k.py",
    "ResNeXt-50": "resnext/resnext50-32x4d_8xb32_in1k.py",
    "SE-ResNet-50": "seresnet/seresnet50_8xb32_in1k.py",
    "Res2Net-50": "res2net/res2net50-w14-s8_8xb32_in1k.py",
    "CSPDarkNet-50": "cspnet/cspdarknet50_8xb32_in1k.py",
    "VGG-11": "vgg/vgg11bn_8xb32_in1k.py",
    "DenseNet-121": "densenet/densenet121_4xb256_in1k.py",
    "RegNetX-400MF": "regnet/regnetx-400mf_8xb128_in1k.py",
    "RepVGG-A0": "repvgg/repvgg-A0_8xb32_in1k.py",
    "MobileNetV2": "mobilenet_v2/mobilenet-v2_8xb32_in1k.py",
    "MobileNetV3 small": "mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py",
    "ShuffleNetV1": "shufflenet_v1/shufflenet-v1-1x_16xb64_in1k.py",
    "ShuffleNetV2": "shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py",
    "EfficientNet-B0": "efficientnet/efficientnet-b0_8xb32_in1k.py",
    "ConvNeXt-T": "convnext/convnext-tiny_32xb128_in1k.py",
    "VAN-T": "van/van-tiny_8xb128_in1k.py",
    "PoolFormer-S12": "poolformer/poolformer-s12_32xb128_in1k.py",
    "EfficientFormer-L1": "efficientformer/efficientformer-l1_8xb128_in1k.py",
    "ViT-B/16": "vision_transformer/vit-base-p16_64xb64_in1k.py",
    "DeiT-T": "deit/deit-tiny_4xb256_in1k.py",
    "DeiT-T, distilled": "deit/deit-tiny-distilled_4xb256_in1k.py",
    "T2T-ViT-14": "t2t_vit/t2t-vit-t-14_8xb64_in1k.py",
    "MViTv2-T": "mvit/mvitv2-tiny_8xb256_in1k.py",
    "Swin-T": "swin_transformer/swin-tiny_16xb64_in1k.py",
}
TEXT = """# mmpretrain beside Octet

Octet reads mmpretrain's configs and checkpoints without mmpretrain ([how](own-models.md#from-mmpretrain)). This table has the
same checkpoints in both: mmpretrain's own test pipeline, `data_preprocessor` and network, and Octet's. Weights are random, from
a fixed seed, and lie in files as mmengine's Runner writes them. `make bench-mmpretrain` made it, with {versions}; {n} images a
row, of {shapes} pixels, half of them JPEG and half PNG.

- pixels: how many bytes differ before they are normalized, of all.
- input: the largest difference of a normalized pixel. mmpretrain divides by std in fp32, Octet multiplies by 1/std as mmcls
  does, so the last bit may differ.
- logits: the largest difference, as a share of the logits' spread.

{table}

T2T-ViT differs, and so will other networks whose attention has a `qk_scale`: mmpretrain 1.2.0 multiplies by the root of a head's
width there, where mmcls and the papers divide by it (its attention divides by the scale that it gets). Octet computes as mmcls
does: with that one number changed in mmcls, the difference is 2.5e-4. Check the fp32 top-1 of such a model.
"""


@dataclass(frozen=True)
class Parity:
    """What differs between Octet and mmpretrain: bytes, the largest difference of inputs, and of logits by their spread."""

    pixels: int
    inputs: float
    logits: float


def compare(folder: Path, name: str) -> Parity:
    """Runs a row's checkpoint as Octet does. folder: as peer.py leaves it."""
    config, checkpoint = folder / f"{name}.py", folder / f"{name}.pth"
    with np.load(folder / f"{name}.npz") as recorded:
        pixels, inputs, logits = recorded["pixels"], recorded["inputs"], recorded["logits"]
    settings, classes, network = classifier(str(config), str(checkpoint), False)
    steps = derive(settings, str(config), classes)
    plain = replace(steps, mean=[0.0] * steps.channels, std=[1.0] * steps.channels)
    images = [read(path, steps.color_type) for path in sorted((folder / "images").iterdir())]
    ours = np.stack([steps(image) for image in images])
    with torch.no_grad():
        mine = np.concatenate([network(torch.from_numpy(x[None])).numpy() for x in ours])
    different = int((np.stack([plain(image) for image in images]) != pixels).sum())
    return Parity(different, float(abs(ours - inputs).max()), float(abs(mine - logits).max() / np.ptp(logits)))


def draw(folder: Path) -> None:
    """Images of soft shapes and noise, in sizes unlike each other."""
    folder.mkdir()
    random = np.random.Generator(np.random.PCG64(0))
    for k, (height, width) in enumerate(SHAPES):
        soft = cv2.resize(
            random.integers(0, 256, (9, 12, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
        )
        noise = random.integers(0, 32, soft.shape, dtype=np.uint8)
        cv2.imwrite(str(folder / f"{k}.{('jpg', 'png')[k % 2]}"), cv2.addWeighted(soft, 0.9, noise, 1, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--find", default="", help="only networks with this in their name, and not the document")
    parser.add_argument("--labels", action="store_true", help="only the labels")
    given = parser.parse_args()
    rows = {name: config for name, config in ROWS.items() if given.find in name}
    if not rows:
        raise OctetError(f"no such row; there are {', '.join(ROWS)}")
    networks, _, of_labels = DOCUMENT.read_text().partition("\n" + HEADING)
    if not given.labels:
        networks = beside_networks(rows)
    if given.labels or len(rows) == len(ROWS):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            lines = labels.compare(folder, PYTHON)
            of_labels = labels.TEXT.format(
                versions=_versions(folder),
                table=table(lines, ["data set", "images", "paths, order, labels"], markdown=True),
            ).removeprefix(HEADING)
        DOCUMENT.write_text(f"{networks}\n{HEADING}{of_labels}")


def _versions(folder: Path) -> str:
    """The peer's, as it left them."""
    versions = json.loads((folder / "versions.json").read_text())
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def beside_networks(rows: dict[str, str]) -> str:
    """The document's part on networks. rows: their configs by name."""
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "images")
        keys = {name: name.replace("/", "-") for name in rows}
        (folder / "rows.json").write_text(json.dumps({keys[name]: config for name, config in rows.items()}))
        start([PYTHON, Path(__file__).with_name("peer.py"), folder], ROOT)
        for name, config in rows.items():
            parity = compare(folder, keys[name])
            lines.append([name, f"`{config}`", str(parity.pixels), f"{parity.inputs:.1e}", f"{parity.logits:.1e}"])
            print(*lines[-1], flush=True)
        return TEXT.format(
            versions=_versions(folder),
            n=len(SHAPES),
            shapes=", ".join(f"{width}×{height}" for height, width in SHAPES),
            table=table(lines, ["network", "config", "pixels", "input", "logits"], markdown=True),
        )


if __name__ == "__main__":
    run(main)
