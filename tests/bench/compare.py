"""make bench-peers: ncnn, ONNX Runtime and OpenVINO on one network and the same images, fp32 and int8, in one run.

In the other two engines with their own int8 and with Octet's, and with Octet's by GPTQ for its divergence alone. CIFAR-10
(JPEG) is a third set for accuracy where ../shared has it.

Reads what `make quantize MODEL=name` made; writes metrics/NAME/peers.json and peers.md, which `make report` and `make
chart` show. The engines run in .venv-bench (tests/bench/peers.py), batch 1; frames per second are of the median. Top-1
cannot tell int8 models apart that are all within its error, so each is also set beside its own engine's fp32: on how
many images the two agree, and how far their probabilities diverge.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octet.core import params
from octet.core.errors import run
from octet.core.files import decimals, write_text
from octet.core.folder import ModelFolder
from octet.core.logits import divergence
from octet.core.parallel import cores
from octet.ncnn.machine import machine
from octet.report.peers import (
    BASE,
    NCNN2INT8,
    NNCF,
    OCTET,
    OCTET_IN_ONNX_RUNTIME,
    OCTET_IN_OPENVINO,
    STATIC_QDQ,
    EngineFigures,
    PeersFigures,
    markdown,
    write,
)
from tests.bench.cifar_peers import cifar_10_jpeg
from tests.bench.octets import inputs
from tests.bench.octets import write as write_octets
from tests.bench.pairs import ROWS, divergences, speeds
from tests.bench.peers import OCTET_IN, OPENVINO_INT8, UINT8
from tests.bench.pipeline import Bench
from tests.bench.venv import (
    ROOT,
    copy_int8,
    peer_memory,
    peers_logits,
    prepare,
    quantize_octets,
    quantize_peers,
    time_peers,
)


@dataclass(frozen=True)
class Row:
    """title: the engine in the table; name: its row in peers.py; fp32: the row that int8 is compared with."""

    title: str
    name: str
    fp32: str | None = None


def rows(octets_target: str) -> list[Row]:
    """The table's rows. octets_target: params.yaml's, of which Octet's int8 model is."""
    octets = [Row(OCTET, f"ncnn int8 {octets_target}", BASE)]
    if octets_target != "ncnn2int8":
        octets.append(Row(NCNN2INT8, "ncnn int8 ncnn2int8", BASE))
    return [
        Row(BASE, BASE),
        *octets,
        Row("ONNX Runtime fp32", "ONNX Runtime fp32"),
        Row(STATIC_QDQ, UINT8, "ONNX Runtime fp32"),
        Row(OCTET_IN_ONNX_RUNTIME, OCTET_IN["onnxruntime"], "ONNX Runtime fp32"),
        Row("OpenVINO fp32", "OpenVINO fp32"),
        Row(NNCF, OPENVINO_INT8, "OpenVINO fp32"),
        Row(OCTET_IN_OPENVINO, OCTET_IN["openvino"], "OpenVINO fp32"),
    ]


@dataclass(frozen=True)
class Compared:
    """The figures of every engine and what they were measured on; pairs: Octet's int8 beside each engine's own, in Markdown."""

    figures: PeersFigures
    pairs: str


def compare(name: str, rounds: int, tested: int) -> Compared:
    """Measures one model."""
    bench, settings = Bench(name), params.load()
    table, threads = rows(settings.target), sorted({1, cores()})
    names = [row.name for row in table]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labels = prepare(bench, name, tested, folder)
        calibrated = [row.name for row in table if row.title in (OCTET, NCNN2INT8)]
        for row in calibrated:
            copy_int8(name, row.removeprefix("ncnn int8 "), folder)
        octets = {row: row.removeprefix("ncnn int8 ") for row in calibrated} | {
            row: key for key, row in OCTET_IN.items()
        }
        quantize_peers(folder, [UINT8, OPENVINO_INT8])  # once before, so that all find their files in the page cache
        seconds = {row: start_s(lambda row=row: quantize_peers(folder, [row])) for row in (UINT8, OPENVINO_INT8)}
        seconds |= {row: start_s(lambda what=what: quantize_octets(name, what, folder)) for row, what in octets.items()}
        timed = time_peers(folder, rounds, threads, names)
        network, keep_float, images = inputs(name)
        write_octets(network, images, settings.calibrate, folder, keep_float, by_gptq=True)
        logits = peers_logits(folder, dict.fromkeys([*names, *ROWS]), threads[-1])
        memory = {row: peer_memory(folder, row).peak_mib for row in names}
    engines = []
    for row in table:
        fps = {n: 1000 / float(np.median(timed.latency_ms[str(n)][row.name])) for n in threads}
        figures = EngineFigures(
            engine=row.title,
            top1_pct=decimals(100 * float(np.mean(logits[row.name].argmax(axis=1) == labels)), 4),
            fps_1_thread=decimals(fps[1], 1),
            fps_all_threads=decimals(fps[threads[-1]], 1),
            bytes=timed.bytes[row.name],
            peak_mib=decimals(memory[row.name], 1),
            calibration_s=decimals(seconds[row.name], 2) if row.name in seconds else None,
            divergence=divergence(logits[row.fp32], logits[row.name]) if row.fp32 else None,
        )
        engines.append(figures)
    figures = PeersFigures(
        engines=engines,
        machine=machine(),
        versions=timed.versions,
        n_images=len(labels),
        n_rounds=rounds,
        calibration_images=settings.calibrate.images,
        threads_all=threads[-1],
    )
    own = {OCTET_IN["onnxruntime"]: UINT8, OCTET_IN["openvino"]: OPENVINO_INT8}
    times = [
        f"{mine}: {seconds[mine] / seconds[row]:.2f} of the time to calibrate of {row}" for mine, row in own.items()
    ]
    return Compared(figures, "\n\n".join((divergences(logits, labels), speeds(timed.latency_ms), "\n".join(times))))


def start_s(what: Callable[[], object]) -> float:
    """How long it takes, in seconds: the start of a process, its imports and its work."""
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a name under 'models' in params.yaml (default: all of them)")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--images", type=int, default=5000, help="test images, at most")
    args = parser.parse_args()
    os.chdir(ROOT)
    settings = params.load()
    for name in [args.model] if args.model else list(settings.models):
        params.model(settings, name)
        compared = compare(name, args.rounds, args.images)
        path, text = ModelFolder(name).peers, markdown(compared.figures)
        write(path, compared.figures)
        write_text(path.with_suffix(".md"), text)
        print(f"{name}\n\n{text}\n{compared.pairs}\n\n{path} and {path.with_suffix('.md').name}: written\n", flush=True)
    if not args.model:
        print(cifar_10_jpeg(ROOT.parent / "shared"))


if __name__ == "__main__":
    run(main)
