"""make bench-int8: Octet's int8 beside ONNX Runtime's and OpenVINO's on the same network, and its calibrators' speed.

Reads what `make quantize` made. The engines run in .venv-bench (tests/bench/peers.py), one thread each, in turn in
one process; figures are medians, ratios are those of medians and, as a check, medians of each round's own ratio.
"""

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from octet import params
from octet.calibrate.thresholds import METHODS
from octet.engine import cores
from octet.errors import OctetError, run
from octet.machine import machine
from tests.bench.pipeline import Bench
from tests.bench.venv import ROOT, peers, prepare, start

OURS, BASE = "ncnn int8 dotprod", "ncnn fp32"
TARGETS = ("dotprod", "ncnn2int8")
NCNN2TABLE = 51  # images/s of ncnn2table kl, two threads, ResNet-18 on CIFAR-10, AVX-512 VNNI: not measured here


def prepared(bench: Bench, name: str, more: list[str], folder: Path) -> None:
    """The models and pictures that the engines read; the target of params.yaml as it is, others made by the stages."""
    prepare(bench, name, 1000, folder)
    settings, source = params.load(), ROOT / "models" / name
    for target in dict.fromkeys((*TARGETS, settings.target, *more)):
        made = source if target == settings.target else quantized(name, target, folder / target)
        for ending in ("param", "bin"):
            shutil.copy(made / f"int8.{ending}", folder / f"int8 {target}.{ending}")


def quantized(name: str, target: str, work: Path) -> Path:
    """The folder with int8.param and int8.bin for another target: the pipeline's own two stages, run in `work`."""
    models = work / "models" / name
    models.mkdir(parents=True)
    for file in ("fp32.onnx", "fp32.param", "fp32.bin", "preprocess.json"):
        shutil.copy(ROOT / "models" / name / file, models)
    for folder in ("configs", "data"):
        (work / folder).symlink_to(ROOT / folder)
    text, found = re.subn(r"(?m)^target:.*$", f"target: {target}", (ROOT / "params.yaml").read_text())
    if found != 1:
        raise OctetError("params.yaml: expected one line that begins with 'target:'")
    (work / "params.yaml").write_text(text)
    for stage in ("calibrate", "quantize"):
        start([sys.executable, "-m", f"stages.{stage}", "--model", name], work)
    return models


def engines(bench: Bench, name: str, more: list[str], rounds: int) -> dict:
    """What peers.py found."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepared(bench, name, more, folder)
        peers("quantize", folder)
        return peers("time", folder, "--rounds", rounds)


def engines_table(found: dict) -> list[str]:
    times = {name: np.array(values) for name, values in found["latency_ms"]["1"].items()}
    median = {name: float(np.median(values)) for name, values in times.items()}
    lines = [
        "| engine, batch 1, one thread | median ms | FPS | of ncnn fp32 | by round | ncnn int8 dotprod is | by round "
        "| says what its fp32 says |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in times:
        engine, _, precision = name.partition(" int8")
        agreement = ""
        if precision or name.endswith("int8"):
            same = np.array(found["predicted"][name]) == np.array(found["predicted"][f"{engine} fp32"])
            agreement = f"{100 * same.mean():.1f} %"
        lines.append(
            f"| {name} | {median[name]:.2f} | {1000 / median[name]:.1f} "
            f"| {median[BASE] / median[name]:.2f} | {np.median(times[BASE] / times[name]):.2f} "
            f"| {median[name] / median[OURS]:.2f} | {np.median(times[name] / times[OURS]):.2f} | {agreement} |"
        )
    return lines


def calibrators_table(bench: Bench, count: int, rounds: int) -> list[str]:
    methods = (*METHODS, "ppq")
    speeds: dict[str, list[float]] = {name: [] for name in ("plain fp32 inference", *methods)}
    bench.calibrate("ppq", 8)  # imports PPQ and torch, which is not to be timed
    for _ in range(rounds):
        speeds["plain fp32 inference"].append(bench.evaluate("fp32", cores(), count))
        for method in methods:
            speeds[method].append(bench.calibrate(method, count))
    median = {name: statistics.median(values) for name, values in speeds.items()}
    plain, ppq = median["plain fp32 inference"], median["ppq"]
    lines = [f"| calibrator, {count} images | images/s | of plain fp32 | of ppq |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {speed:.0f} | {speed / plain:.2f} | {speed / ppq:.1f} |" for name, speed in median.items()]
    return [*lines, f"| ncnn2table kl (measured before, elsewhere) | {NCNN2TABLE} | | |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18_digits32")
    parser.add_argument("--target", action="append", default=[], help="one more profile to time, of configs/targets/")
    parser.add_argument("--rounds", type=int, default=400, help="of the engines")
    parser.add_argument("--images", type=int, default=256, help="for the calibrators' speed")
    parser.add_argument("--calibrator-rounds", type=int, default=3)
    args = parser.parse_args()
    os.chdir(ROOT)
    bench, about = Bench(args.model), machine()
    found = engines(bench, args.model, args.target, args.rounds)
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    tested = len(found["predicted"][BASE])
    print(f"{args.model} on {about['cpu']} ({', '.join(about['features'])}), {about['cores']} cores, {about['system']}")
    print(f"{versions}; n = {args.rounds} rounds in turn; agreement on {tested} test images\n")
    print("\n".join(engines_table(found)), flush=True)
    print(f"\nCalibrators: {about['cores']} workers, medians of {args.calibrator_rounds} rounds in turn\n")
    print("\n".join(calibrators_table(bench, args.images, args.calibrator_rounds)))


if __name__ == "__main__":
    run(main)
