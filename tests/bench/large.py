"""make bench-large: int8's speed in each engine on ResNet-50 at 224x224, with random weights, beside the engines' own int8.

The embedded models' images have 32x32 pixels; this has ImageNet's size. The engines run in .venv-bench
(tests/bench/peers.py), in turn in one process, batch 1. Nothing is kept but what is printed.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from octet.calibrate.calibrate import calibrate
from octet.core.errors import run
from octet.core.folder import NcnnFiles
from octet.core.parallel import cores
from octet.core.text import table
from octet.export.export import export
from octet.export.mmcls_model import build, read_config
from octet.graph.profiles import target
from octet.ncnn.convert import convert
from octet.ncnn.machine import machine
from octet.ncnn.net import load_net, save_net
from octet.qdq.network import load
from octet.quantize.quantize import quantize
from tests import nets
from tests.bench.octets import write as write_octets
from tests.bench.pairs import speeds
from tests.bench.peers import OCTET_IN, OPENVINO_INT8, UINT8
from tests.bench.venv import ROOT, quantize_peers, time_peers
from tests.bench.zoo.measure import random_network

CONFIG = "resnet/resnet50_8xb32_in1k.py"
FP32, NCNN = "ncnn fp32", ("dotprod", "ncnn2int8")
ROWS = [
    FP32,
    *(f"ncnn int8 {kernels}" for kernels in NCNN),
    *("ONNX Runtime fp32", UINT8, OCTET_IN["onnxruntime"]),
    *("OpenVINO fp32", OPENVINO_INT8, OCTET_IN["openvino"]),
]


def make(folder: Path) -> None:
    """Writes all models, and the images that the peers calibrate with and run on, into a folder."""
    settings = read_config(CONFIG)
    network = random_network(build(settings, CONFIG), settings, CONFIG, folder)
    seen, unseen = network.images
    onnx, fp32 = folder / "fp32.onnx", NcnnFiles.named(folder, "fp32")
    export(network.source, 13, onnx, folder / "preprocess.json")
    (folder / "weights.pth").unlink()
    convert(onnx, fp32, unseen)
    net = load_net(*fp32)
    for kernels in NCNN:
        profile = target(kernels)
        int8 = quantize(net, calibrate(net, seen, nets.settings("mse"), profile), profile, [], "the table")
        save_net(int8, *NcnnFiles.named(folder, f"int8 {kernels}"))
    write_octets(load(onnx), seen, nets.settings("mse"), folder)
    for name, images in (("calibrate", seen), ("test", unseen)):
        np.save(folder / f"{name}.npy", np.stack(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    os.chdir(ROOT)
    threads = sorted({1, cores()})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder)
        quantize_peers(folder, [UINT8, OPENVINO_INT8])
        timed = time_peers(folder, rounds, threads, ROWS)
    fps = {n: {row: 1000 / float(np.median(times)) for row, times in timed.latency_ms[str(n)].items()} for n in threads}
    rows = [[row, *(f"{fps[n][row]:.1f}" for n in threads), f"{fps[1][row] / fps[1][FP32]:.2f}"] for row in ROWS]
    heads = ["ResNet-50, 224x224", *(f"FPS, {n} thread{'s' if n > 1 else ''}" for n in threads), f"of {FP32}"]
    print(table(rows, heads, "l" + "r" * len(threads) + "r", markdown=True))
    print(speeds(timed.latency_ms))
    print(f"n = {rounds} rounds; {machine()['cpu']}; {', '.join(f'{k} {v}' for k, v in timed.versions.items())}")


if __name__ == "__main__":
    run(main)
