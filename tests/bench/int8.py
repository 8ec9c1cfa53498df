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
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np

from octet.calibrate.thresholds import METHODS
from octet.core import params
from octet.core.errors import OctetError, run
from octet.core.parallel import cores
from octet.ncnn.machine import machine
from tests.bench.pipeline import Bench
from tests.bench.venv import ROOT, peers, prepare, start

OURS, BASE = "ncnn int8 dotprod", "ncnn fp32"
TARGETS = ("dotprod", "ncnn2int8")
NCNN2TABLE = 51  # images/s of ncnn2table kl, two threads, ResNet-18 on CIFAR-10, AVX-512 VNNI: not measured here


def prepared(bench: Bench, name: str, more: list[str], folder: Path) -> None:
    """The models and images that the engines read; the target of params.yaml as it is, others made by the stages."""
    prepare(bench, name, 1000, folder)
    settings, source = params.load(), ROOT / "models" / name
    for target in dict.fromkeys((*TARGETS, settings.target, *more)):
        made = source if target == settings.target else quantized(name, target, folder / target)
        for ending in ("param", "bin"):
            shutil.copy(made / f"int8.{ending}", folder / f"int8 {target}.{ending}")


def quantized(name: str, target: str, work: Path) -> Path:
    """The folder with int8.param and int8.bin for another target: the pipeline's own stages, run in `work`."""
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
    for stage in ("calibrate", "round", "analyze", "plan", "quantize"):
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


def mmdeploys_ppq(bench: Bench, count: int) -> float:
    """Images a second of PPQ as MMDeploy calls it (tools/onnx2ncnn_quant_table.py): one image a step."""
    import torch
    from ppq import QuantizationSettingFactory, TargetPlatform
    from ppq.api import quantize_onnx_model

    image, _ = bench.images("train", count)
    setting = QuantizationSettingFactory.default_setting()
    setting.equalization, setting.dispatcher = False, "conservative"
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        start = time.perf_counter()
        quantize_onnx_model(
            onnx_import_file=str(bench.folder / "fp32.onnx"),
            calib_dataloader=range(count),
            calib_steps=max(8, min(512, count)),
            input_shape=[1, *image(0).shape],
            setting=setting,
            collate_fn=lambda k: torch.from_numpy(image(k)[None]),
            platform=TargetPlatform.NCNN_INT8,
            device="cpu",
            verbose=0,
        )
        return count / (time.perf_counter() - start)


def calibrators_table(bench: Bench, count: int, rounds: int) -> list[str]:
    """Images a second; `ppq` is Octet's way to call it, 32 images a step, the last row MMDeploy's."""
    plain, mmdeploys = "plain fp32 inference", "ppq as MMDeploy calls it"
    bench.calibrate("ppq", 8)  # imports PPQ and torch, which is not to be timed
    ways = {
        plain: lambda: bench.evaluate("fp32", cores(), count),
        **{method: partial(bench.calibrate, method, count) for method in (*METHODS, "ppq")},
        mmdeploys: lambda: mmdeploys_ppq(bench, count),
    }
    speeds = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    median = {name: statistics.median(row[name] for row in speeds) for name in ways}

    def ratio(name: str, other: str) -> str:
        return f"{statistics.median(row[name] / row[other] for row in speeds):.2f}"

    lines = [
        f"| calibrator, {count} images | images/s | of {plain} | of ppq | of {mmdeploys} |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, speed in median.items():
        lines.append(
            f"| {name} | {speed:.0f} | {ratio(name, plain)} | {ratio(name, 'ppq')} | {ratio(name, mmdeploys)} |"
        )
    return [*lines, f"| ncnn2table kl (measured before, elsewhere) | {NCNN2TABLE} | | | |"]


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
