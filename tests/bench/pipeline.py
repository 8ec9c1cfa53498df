"""make bench-pipeline: how fast the stages are on this machine, and that memory does not grow with the images.

Reads what `make quantize` made for the default model. Speeds that are compared are taken in turn in one run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from octet.calibrate.calibrate import calibrate
from octet.calibrate.methods import threshold
from octet.core import params
from octet.core.errors import run
from octet.core.folder import ModelFolder
from octet.core.parallel import cores
from octet.core.registry import computing_calibrators
from octet.core.text import table
from octet.data import preprocess
from octet.data.dataset import Dataset, open_split
from octet.data.images import Images
from octet.data.subset import balanced, front
from octet.evaluate.evaluate import evaluate
from octet.graph.profiles import target
from octet.ncnn.engine import Engine
from octet.ncnn.machine import machine
from octet.ncnn.net import load_net
from octet.ncnn.table import Table
from tests import nets

ROUNDS = 3


class Bench:
    def __init__(self, name: str):
        loaded = params.load()
        self.folder, self.entry = ModelFolder(name), params.model(loaded, name)
        self.target = target(loaded.target)
        self.steps = preprocess.load(self.folder.preprocess)
        self.files = self.folder.fp32
        self.net = load_net(*self.files)

    def count(self, split: str) -> int:
        return len(self.split(split))

    def split(self, split: str) -> Dataset:
        return open_split(self.entry.data, split, self.steps.classes, self.steps.color_type)

    def images(self, split: str, count: int) -> Images:
        """So many images of a split, from its front."""
        data, pick = self.split(split), front if split == "train" else balanced
        return Images(data, self.steps, pick(data.labels, count, "images"))

    def table(self, method: str, count: int) -> Table:
        """The calibration table of so many images on disk, with params.yaml's settings of the calibrator."""
        settings = nets.settings(method, weights="absmax")
        return calibrate(self.net, self.images("train", count), settings, self.target, self.folder.onnx)

    def calibrate(self, method: str, count: int) -> float:
        """Images a second, from the images on disk to the table."""
        start = time.perf_counter()
        self.table(method, count)
        return count / (time.perf_counter() - start)

    def evaluate(self, precision: str, workers: int, count: int) -> float:
        """Images a second."""
        engine = Engine(*self.folder.ncnn(precision))
        images = self.images("test", count)
        start = time.perf_counter()
        evaluate(engine, images, precision, workers)
        return count / (time.perf_counter() - start)


def memory_mib(name: str, what: str, count: int) -> float:
    """The peak memory of a process of its own that does this with so many images."""
    command = [sys.executable, "-m", "tests.bench.pipeline", "--model", name, "--memory", what, "--count", str(count)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18_digits32")
    parser.add_argument("--memory", choices=("calibrate", "evaluate"), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    bench = Bench(args.model)
    if args.memory:
        bench.calibrate("kl", args.count) if args.memory == "calibrate" else bench.evaluate("int8", 2, args.count)
        status = Path("/proc/self/status").read_text()  # getrusage would give a parent's larger peak
        print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        return
    about = machine()
    print(
        f"{args.model} on {about['cpu']}, {cores()} cores, ncnn {about['ncnn']}; medians of {ROUNDS} rounds in turn\n"
    )
    methods = [name for name in computing_calibrators() if threshold(name)]
    speeds = {method: [] for method in methods}
    for _ in range(ROUNDS):
        for method in methods:
            speeds[method].append(bench.calibrate(method, 512))
    plain = statistics.median(bench.evaluate("fp32", cores(), 512) for _ in range(ROUNDS))
    rates = {method: statistics.median(speeds[method]) for method in methods}
    for method in computing_calibrators():
        if method not in methods:  # those that work on the ONNX model are slow
            rates[f"{method} (128 images)"] = bench.calibrate(method, 128)
    rows = [[method, f"{rate:.0f}", f"{rate / plain:.2f}"] for method, rate in rates.items()]
    print(table(rows, ["calibrate, 512 images", "images/s", "of plain fp32 inference"], markdown=True))
    rows = []
    for precision in ("fp32", "int8"):
        pairs = [[bench.evaluate(precision, workers, 1000) for workers in (1, 2)] for _ in range(ROUNDS)]
        one, two = np.median(pairs, axis=0)
        rows.append([precision, f"{one:.0f}", f"{two:.0f}", f"{np.median([b / a for a, b in pairs]):.2f}"])
    headers = ["evaluate, 1,000 images", "1 worker, images/s", "2 workers", "ratio"]
    print(f"\n{table(rows, headers, markdown=True)}\n")
    rows = [
        [what, *(f"{memory_mib(args.model, what, count):.0f}" for count in (500, 4000))]
        for what in ("calibrate", "evaluate")
    ]
    print(table(rows, ["peak memory, MiB", "500 images", "4,000 images"], markdown=True))


if __name__ == "__main__":
    run(main)
