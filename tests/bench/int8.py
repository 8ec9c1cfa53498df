"""make bench-int8: Octet's int8 beside ONNX Runtime's and OpenVINO's on the same network, and its calibrators' speed.

Reads what `make quantize` made. The engines run in .venv-bench (tests/bench/peers.py), one thread each, in turn in
one process; figures are medians, ratios are those of medians and, as a check, medians of each round's own ratio.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from octet.core import params
from octet.core.errors import run
from octet.core.logits import Logits, divergence
from octet.core.parallel import cores
from octet.core.registry import computing_calibrators
from octet.core.text import table
from octet.ncnn.machine import machine
from tests.bench.peers import Timed
from tests.bench.pipeline import Bench
from tests.bench.venv import ROOT, copy_int8, peers_logits, prepare, quantize_peers, time_peers

OURS, BASE = "ncnn int8 dotprod", "ncnn fp32"
TARGETS = ("dotprod", "ncnn2int8")
NCNN2TABLE = 51  # images/s of ncnn2table kl, two threads, ResNet-18 on CIFAR-10, AVX-512 VNNI: not measured here


@dataclass(frozen=True)
class Engines:
    """What was measured of the engines: their latencies, and their logits on the test images by row."""

    timed: Timed
    logits: dict[str, Logits]


def engines(bench: Bench, name: str, more: list[str], rounds: int) -> Engines:
    """Times the engines, and asks them on 1,000 test images. more: profiles beside params.yaml's and the built-in ones."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(bench, name, 1000, folder)
        for target in dict.fromkeys((*TARGETS, params.load().target, *more)):
            copy_int8(name, target, folder)
        quantize_peers(folder)
        timed = time_peers(folder, rounds)
        return Engines(timed, peers_logits(folder, list(timed.bytes), cores()))


def engines_table(measured: Engines) -> str:
    """The engines in Markdown, one thread each."""
    times = {name: np.array(values) for name, values in measured.timed.latency_ms["1"].items()}
    median = {name: float(np.median(values)) for name, values in times.items()}
    rows = []
    for name in times:
        engine, _, precision = name.partition(" int8")
        far = ["", ""]
        if precision or name.endswith("int8"):
            d = divergence(measured.logits[f"{engine} fp32"], measured.logits[name])
            far = [f"{d.agreement_pct:.1f} %", f"{1e5 * d.kl_nats:.1f} ± {1e5 * d.kl_se_nats:.1f}"]
        rows.append(
            [
                name,
                f"{median[name]:.2f}",
                f"{1000 / median[name]:.1f}",
                f"{median[BASE] / median[name]:.2f}",
                f"{np.median(times[BASE] / times[name]):.2f}",
                f"{median[name] / median[OURS]:.2f}",
                f"{np.median(times[name] / times[OURS]):.2f}",
                *far,
            ]
        )
    return table(
        rows,
        [
            "engine, batch 1, one thread",
            "median ms",
            "FPS",
            "of ncnn fp32",
            "by round",
            "ncnn int8 dotprod is",
            "by round",
            "agreement with its fp32",
            "KL, 10⁻⁵ nats",
        ],
        markdown=True,
    )


def mmdeploys_ppq(bench: Bench, count: int) -> float:
    """Images a second of PPQ as MMDeploy calls it (tools/onnx2ncnn_quant_table.py): one image a step."""
    import torch
    from ppq import QuantizationSettingFactory, TargetPlatform
    from ppq.api import quantize_onnx_model

    images = bench.images("train", count)
    setting = QuantizationSettingFactory.default_setting()
    setting.equalization, setting.dispatcher = False, "conservative"
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        start = time.perf_counter()
        quantize_onnx_model(
            onnx_import_file=str(bench.folder.onnx),
            calib_dataloader=range(count),
            calib_steps=max(8, min(512, count)),
            input_shape=[1, *images[0].shape],
            setting=setting,
            collate_fn=lambda k: torch.from_numpy(images[k][None]),
            platform=TargetPlatform.NCNN_INT8,
            device="cpu",
            verbose=0,
        )
        return count / (time.perf_counter() - start)


def calibrators_table(bench: Bench, count: int, rounds: int) -> str:
    """Images a second; `ppq` is Octet's way to call it, 32 images a step, the last row MMDeploy's."""
    plain, mmdeploys = "plain fp32 inference", "ppq as MMDeploy calls it"
    bench.calibrate("ppq", 8)  # imports PPQ and torch, which is not to be timed
    ways = {
        plain: lambda: bench.evaluate("fp32", cores(), count),
        **{method: partial(bench.calibrate, method, count) for method in computing_calibrators()},
        mmdeploys: lambda: mmdeploys_ppq(bench, count),
    }
    speeds = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    median = {name: statistics.median(row[name] for row in speeds) for name in ways}

    def ratio(name: str, other: str) -> str:
        return f"{statistics.median(row[name] / row[other] for row in speeds):.2f}"

    rows = [
        [name, f"{speed:.0f}", ratio(name, plain), ratio(name, "ppq"), ratio(name, mmdeploys)]
        for name, speed in median.items()
    ]
    rows.append(["ncnn2table kl (measured before, elsewhere)", str(NCNN2TABLE), "", "", ""])
    headers = [f"calibrator, {count} images", "images/s", f"of {plain}", "of ppq", f"of {mmdeploys}"]
    return table(rows, headers, markdown=True)


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
    measured = engines(bench, args.model, args.target, args.rounds)
    versions = ", ".join(f"{name} {version}" for name, version in measured.timed.versions.items())
    tested = len(measured.logits[BASE])
    print(f"{args.model} on {about['cpu']} ({', '.join(about['features'])}), {about['cores']} cores, {about['system']}")
    print(f"{versions}; n = {args.rounds} rounds in turn; agreement on {tested} test images\n")
    print(engines_table(measured), flush=True)
    print(f"\nCalibrators: {about['cores']} workers, medians of {args.calibrator_rounds} rounds in turn\n")
    print(calibrators_table(bench, args.images, args.calibrator_rounds))


if __name__ == "__main__":
    run(main)
