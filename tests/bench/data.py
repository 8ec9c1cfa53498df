"""make bench-data: reading images keeps up with the network.

2,000 JPEGs of ImageNet's sizes, made of gradients and noise, through mmcls's MobileNetV2 with random weights: one
reading thread beside one that computes, against the same network fed with ready tensors; and both cores, against what
the times of reading and of computing allow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from octet.core.errors import run
from octet.core.folder import NcnnFiles
from octet.core.parallel import cores, map_ordered
from octet.core.text import table
from octet.data import preprocess
from octet.data.dataset import open_split
from octet.data.images import Images
from octet.evaluate.evaluate import evaluate
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine
from octet.ncnn.machine import machine

CONFIG = "mobilenet_v2/mobilenet-v2_8xb32_in1k.py"
PARTS = 4  # a round takes one: the phases lie close together in time, since a machine's speed drifts
SIZES = [(375, 500)] * 5 + [(500, 375)] * 2 + [(333, 500), (480, 640), (768, 1024)]  # [height, width]; ImageNet's mix


def images(folder: Path, count: int) -> None:
    """Writes the JPEGs and their annotation file. Waves of three colours and grey noise, of about 90 kB at 375x500."""
    random = np.random.Generator(np.random.PCG64(0))
    noise = random.normal(0, 14, (1024, 1024)).astype(np.float32)
    seeds = random.random((count, 12), np.float32)
    (folder / "val").mkdir(parents=True)

    def write(k: int) -> str:
        height, width = SIZES[k % len(SIZES)]
        y, x = np.mgrid[:height, :width].astype(np.float32) / 60
        a = seeds[k]
        waves = [128 + 100 * np.sin(x * (2 * a[c] - 1) + y * (2 * a[c + 3] - 1) + 6 * a[c + 6]) for c in range(3)]
        top, left = (int(v * (1024 - n + 1)) for v, n in ((a[9], height), (a[10], width)))
        image = np.stack(waves, axis=-1) + noise[top : top + height, left : left + width, None]
        name = f"{k:04}.jpg"
        cv2.imwrite(str(folder / "val" / name), np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
        return f"{name} {k % 1000}\n"

    (folder / "val.txt").write_text("".join(map_ordered(write, range(count), "drawing")))


def network(folder: Path) -> preprocess.Preprocess:
    """Writes fp32.param and .bin of the network with random weights."""
    import torch

    from octet.export.mmcls_model import build, read_config
    from octet.export.mmcls_pipeline import derive
    from octet.export.onnx_model import LogitsModel, to_onnx

    torch.manual_seed(0)
    settings = read_config(CONFIG)
    steps = derive(settings, CONFIG)
    model = build(settings, CONFIG)
    model.init_weights()
    onnx = to_onnx(LogitsModel(model).eval(), (3, *steps.size), 13, CONFIG)
    (folder / "fp32.onnx").write_bytes(onnx)
    convert(folder / "fp32.onnx", NcnnFiles.named(folder, "fp32"), [steps(x) for x in steps.noise(2)])
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="images")
    parser.add_argument("--rounds", type=int, default=20, help=f"each takes one of {PARTS} parts of the images")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images(folder, args.count)
        steps = network(folder)
        medians = measure(folder, steps, args.count, args.rounds)
    about = machine()
    sizes = json.dumps(steps.size)
    print(f"MobileNetV2 fp32, input {sizes}, {args.count:,} JPEGs, medians of {args.rounds} rounds in turn")
    print(f"{about['cpu']}, {cores()} cores, ncnn {about['ncnn']}\n")
    print(tables(medians))


def tables(medians: dict[str, float]) -> str:
    """What was measured, in Markdown."""
    reading, computing = medians["reading_ms"], medians["computing_ms"]
    one = [
        ["ready tensors", f"{medians['ready']:.1f}", ""],
        ["JPEG files", f"{medians['files']:.1f}", f"{100 * medians['files_share']:.1f} %"],
    ]
    every = [
        ["reading alone", f"{reading:.2f}", "", ""],
        ["computing alone", f"{computing:.2f}", "", ""],
        ["what both times allow", f"{reading + computing:.2f}", f"{medians['allowed']:.1f}", ""],
        ["both", "", f"{medians['both']:.1f}", f"{100 * medians['both_share']:.1f} %"],
    ]
    parts = [
        table(one, ["one thread reads, one computes", "images/s", "share"], markdown=True),
        table(every, [f"{cores()} threads", "ms per image and thread", "images/s", "share"], markdown=True),
    ]
    return "\n\n".join(parts)


def measure(folder: Path, steps: preprocess.Preprocess, count: int, rounds: int) -> dict[str, float]:
    """Medians over the rounds; shares are medians of the rounds' own."""
    engine = Engine(folder / "fp32.param", folder / "fp32.bin")
    data = open_split(folder, "test", steps.classes, steps.color_type)
    tensors = list(Images(data, steps, np.arange(16)))
    parts = [Images(data, steps, part) for part in np.array_split(np.arange(count), PARTS)]
    rows = [one_round(engine, tensors, parts[k % PARTS], k % 2 == 1) for k in range(rounds)]
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def one_round(engine: Engine, tensors: list[np.ndarray], images: Images, backwards: bool) -> dict[str, float]:
    """Images a second, milliseconds per image and thread, and shares of what could be; every other round backwards."""
    n, every = len(images), cores()
    ready = [tensors[k % len(tensors)] for k in range(n)]
    works: dict[str, Callable[[], object]] = {
        "ready": lambda: evaluate(engine, ready, "tensors", 1),
        "files": lambda: evaluate(engine, images, "files", 1, readers=1),
        "reading": lambda: sum(1 for _ in map_ordered(images.__getitem__, range(n), "reading", every)),
        "both": lambda: evaluate(engine, images, "both", every),
        "computing": lambda: evaluate(engine, ready, "computing", every),
    }
    rates = {name: _rate(n, works[name]) for name in (reversed(works) if backwards else works)}
    reading, computing = (every / rates[name] for name in ("reading", "computing"))
    allowed = every / (reading + computing)
    times = {"reading_ms": 1000 * reading, "computing_ms": 1000 * computing, "allowed": allowed}
    shares = {"files_share": rates["files"] / rates["ready"], "both_share": rates["both"] / allowed}
    return rates | times | shares


def _rate(n: int, work: Callable[[], object]) -> float:
    """Images a second."""
    start = time.perf_counter()
    work()
    return n / (time.perf_counter() - start)


if __name__ == "__main__":
    run(main)
