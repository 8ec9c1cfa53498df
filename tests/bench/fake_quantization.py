"""A small network that torch trains with fake quantization, and what ncnn makes of it beside what was trained.

    python -m tests.bench.fake_quantization train data/digits32 qat.onnx      # minutes of one core
    make quantize ONNX=qat.onnx PREPROCESS=qat.yaml DATA=data/digits32 MODEL=qat
    python -m tests.bench.fake_quantization compare data/digits32 qat.onnx models/qat

`train` writes qat.yaml, too: what happens to an image. docs/own-models.md has the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from octet.core.folder import NcnnFiles
from octet.core.logits import kl_divergences
from octet.ncnn.engine import Engine, logits
from octet.ncnn.net import load_net

BATCH, EPOCHS, QUANTIZED_STEPS = 128, 4, 300
MEAN, STD = 128, 64


class Network(nn.Module):
    """8 layers with weights: a residual sum, a max pool, a depthwise convolution, ReLU and ReLU6."""

    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(*_conv(3, 16, 3), *_conv(16, 32, 3, stride=2))
        self.block = nn.Sequential(*_conv(32, 32, 3), *_conv(32, 32, 3)[:2])
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        wide = _conv(32, 32, 3, groups=32, kind=nn.ReLU6) + _conv(32, 64, 1, kind=nn.ReLU6)
        self.back = nn.Sequential(*wide, *_conv(64, 64, 3, stride=2), nn.AdaptiveAvgPool2d(1))
        self.classes = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.front(x)
        x = self.pool(self.relu(self.block(x) + x))
        return self.classes(torch.flatten(self.back(x), 1))


def _conv(channels, outputs, size, stride=1, groups=1, kind=nn.ReLU) -> list[nn.Module]:
    conv = nn.Conv2d(channels, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), kind()]


def read(folder: Path, pattern: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as uint8 of shape (n, 3, 32, 32), and labels."""
    rows = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, 3073) for path in sorted(folder.glob(pattern))])
    return torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(rows[:, 0].astype(np.int64))


def fit(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int, rate: float) -> None:
    """Trains, with shifted, inverted and recoloured images."""
    random, warm_up = torch.Generator().manual_seed(0), 0.15
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for step in range(steps):
        done = step / steps
        cosine = 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))
        optimizer.param_groups[0]["lr"] = rate * (done / warm_up if done < warm_up else cosine)
        pick = torch.randint(len(images), (BATCH,), generator=random)
        dy, dx = (int(v) for v in torch.randint(5, (2,), generator=random))
        x = F.pad(images[pick].float(), (2, 2, 2, 2), mode="replicate")[:, :, dy : dy + 32, dx : dx + 32]
        x = x[:, torch.randperm(3, generator=random)]
        x = torch.where(torch.randint(2, (BATCH, 1, 1, 1), generator=random).bool(), 255 - x, x)
        optimizer.zero_grad()
        F.cross_entropy(network((x - MEAN) / STD), labels[pick]).backward()
        optimizer.step()


def train(data: Path, path: Path) -> None:
    """Trains in fp32, then with fake quantization (torch.ao, by FX), and exports; a YAML file beside it has the pre-processing."""
    from torch.ao.quantization import (
        FakeQuantize,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
        QConfig,
        QConfigMapping,
        disable_observer,
    )
    from torch.ao.quantization.quantize_fx import prepare_qat_fx

    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = read(data, "data_batch_*.bin")
    network = Network().train()
    fit(network, images, labels, EPOCHS * len(images) // BATCH, 0.15)
    print(f"torch, fp32: top-1 {top1_pct(network, data):.2f} %", flush=True)
    by_channel = {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric, "quant_min": -128, "quant_max": 127}
    config = QConfig(
        activation=FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255),
        weight=FakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver, **by_channel),
    )
    example = torch.zeros(1, 3, 32, 32)
    prepared = prepare_qat_fx(network.train(), QConfigMapping().set_global(config), (example,))
    fit(prepared, images, labels, QUANTIZED_STEPS, 0.01)
    prepared.eval().apply(disable_observer)
    print(f"torch, fake quantization: top-1 {top1_pct(prepared, data):.2f} %")
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(prepared, (example,), str(path), opset_version=13, dynamo=False)
    path.with_suffix(".yaml").write_text(f"size: [32, 32]\nchannel_order: RGB\nmean: {MEAN}\nstd: {STD}\n")


@torch.no_grad()
def top1_pct(network: nn.Module, data: Path) -> float:
    """On the test images."""
    images, labels = read(data, "test_batch.bin")
    network.eval()
    right = [
        (network((x.float() - MEAN) / STD).argmax(1) == y).sum()
        for x, y in zip(images.split(250), labels.split(250), strict=True)
    ]
    return 100 * float(sum(right)) / len(labels)


def compare(data: Path, path: Path, folder: Path) -> None:
    """Prints top-1, and the KL divergence from the file itself in ONNX Runtime, its logits before they are rounded."""
    images, labels = read(data, "test_batch.bin")
    inputs, right = ((images.float() - MEAN) / STD).numpy(), labels.numpy()
    model = onnx.load(path)
    producers = {node.output[0]: node for node in model.graph.node}
    while producers[name := model.graph.output[0].name].op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
        model.graph.output[0].name = producers[name].input[0]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )  # it fuses some into what it refuses
    wanted = _run(onnxruntime.InferenceSession(model.SerializeToString(), options), inputs)
    answers = {"as trained, in ONNX Runtime": wanted}
    for precision in ("fp32", "int8"):
        net = load_net(*NcnnFiles.named(folder, precision))
        answers[f"ncnn {precision}"] = logits(Engine.of(net), list(inputs), precision)
    for engine in sorted(folder.glob("engines/*.onnx")):
        answers[engine.stem] = _run(onnxruntime.InferenceSession(str(engine)), inputs)
    for name, values in answers.items():
        kl = kl_divergences(wanted, values)
        agree = 100 * (values.argmax(1) == wanted.argmax(1)).mean()
        spread = kl.std() / math.sqrt(len(kl))
        top1 = 100 * (values.argmax(1) == right).mean()
        shown = f"KL {1e5 * kl.mean():.1f} ± {1e5 * spread:.1f}e-5 nats"
        print(f"{name}: top-1 {top1:.2f} %, as trained on {agree:.2f} %, {shown}")


def _run(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[None]})[0].reshape(1, -1) for x in inputs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "compare"))
    parser.add_argument("data", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.step == "train":
        train(given.data, given.onnx)
    else:
        compare(given.data, given.onnx, given.model)


if __name__ == "__main__":
    main()
