"""make bench-peers: ncnn, ONNX Runtime and OpenVINO on one network and the same images, fp32 and int8, in one run.

Reads what `make quantize MODEL=name` made; writes metrics/NAME/peers.json and peers.md, which `make report` shows. The
engines run in .venv-bench (tests/bench/peers.py), batch 1; frames per second are of the median.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from octet.core import params
from octet.core.errors import run
from octet.core.files import rounded, write_json, write_text
from octet.core.parallel import cores
from octet.ncnn.machine import machine
from octet.ncnn.net import save_net
from octet.quantize.quantize import quantize
from tests.bench.peers import OPENVINO_INT8, UINT8
from tests.bench.pipeline import Bench
from tests.bench.venv import ROOT, peers, prepare

ROWS = {  # by the name in the table, the name of the row in peers.py
    "ncnn fp32": "ncnn fp32",
    "ncnn int8 (Octet)": "ncnn int8",
    "ONNX Runtime fp32": "ONNX Runtime fp32",
    "ONNX Runtime int8 (static QDQ)": UINT8,
    "OpenVINO fp32": "OpenVINO fp32",
    "OpenVINO int8 (NNCF)": OPENVINO_INT8,
}


def compare(name: str, rounds: int, tested: int) -> dict:
    """The figures of every engine and what they were measured on, as JSON."""
    bench, settings = Bench(name), params.load()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labels = prepare(bench, name, tested, folder)
        for ending in ("param", "bin"):
            shutil.copy(ROOT / "models" / name / f"int8.{ending}", folder)
        seconds = {"ncnn int8": octet_seconds(bench, name, folder)} | peers("quantize", folder)["seconds"]
        rows = [option for row in ROWS.values() for option in ("--engine", row)]
        threads = sorted({1, cores()})
        found = peers("time", folder, "--rounds", rounds, "--threads", *threads, *rows)
        memory = {row: peers("memory", folder, "--engine", row)["peak_mib"] for row in ROWS.values()}
    engines = []
    for title, row in ROWS.items():
        fps = {n: 1000 / float(np.median(found["latency_ms"][str(n)][row])) for n in threads}
        figures = {
            "engine": title,
            "top1_pct": rounded(100 * np.mean(np.array(found["predicted"][row]) == labels), 4),
            "fps_1_thread": rounded(fps[1], 1),
            "fps_all_threads": rounded(fps[threads[-1]], 1),
            "bytes": found["bytes"][row],
            "peak_mib": rounded(memory[row], 1),
            "calibration_s": rounded(seconds[row], 2) if row in seconds else None,
        }
        engines.append(figures)
    return {
        "engines": engines,
        "machine": machine(),
        "versions": found["versions"],
        "n_images": len(labels),
        "n_rounds": rounds,
        "calibration_images": settings.calibrate.images,
        "threads_all": threads[-1],
    }


def octet_seconds(bench: Bench, name: str, folder: Path) -> float:
    """How long Octet takes from the calibration images to the int8 model."""
    settings = params.load()
    method, images = settings.calibrate.method, settings.calibrate.images
    if method == "ppq":
        bench.table(method, 8)  # imports PPQ and torch, which is not to be timed
    start = time.perf_counter()
    table = bench.table(method, images)
    made = quantize(bench.net, table, bench.target, list(settings.models[name].keep_fp32), "the table")
    save_net(made, folder / "timed.param", folder / "timed.bin")
    return time.perf_counter() - start


def markdown(found: dict) -> str:
    """The table, and what it was measured on."""
    count = found["threads_all"]
    lines = [
        f"| batch 1 | top-1 | FPS, 1 thread | FPS, {count} threads | size | peak memory | calibration |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for e in found["engines"]:
        took = "" if e["calibration_s"] is None else f"{e['calibration_s']:.1f} s"
        lines.append(
            f"| {e['engine']} | {e['top1_pct']:.2f} % | {e['fps_1_thread']:.1f} | {e['fps_all_threads']:.1f} "
            f"| {e['bytes'] / 1e6:.1f} MB | {e['peak_mib']:.0f} MiB | {took} |"
        )
    about = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "\n".join(lines) + (
        f"\n\n{about['cpu']} ({', '.join(about['features'])}), {about['cores']} cores, {about['system']}; {versions}; "
        f"n = {found['n_rounds']} rounds in turn, top-1 on {found['n_images']:,} images, calibrated on "
        f"{found['calibration_images']}; peak memory is that of a process that loads the model and runs it 20 times.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18_digits32")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--images", type=int, default=5000, help="images for top-1, at most")
    args = parser.parse_args()
    os.chdir(ROOT)
    params.model(params.load(), args.model)
    found = compare(args.model, args.rounds, args.images)
    folder = Path("metrics") / args.model
    write_json(folder / "peers.json", found)
    write_text(folder / "peers.md", markdown(found))
    print(markdown(found))
    print(f"{folder}/peers.json and peers.md: written")


if __name__ == "__main__":
    run(main)
