"""What other engines make of the same network: the part of `make bench-int8` and `make bench-peers` in .venv-bench.

All models are in this one process, and their turns alternate, so that whatever else the machine does meets all alike.
The peers' int8 is made from the ONNX file as their documentation advises: ONNX Runtime's by static QDQ, per channel;
OpenVINO's by NNCF's post-training quantization. tests/bench/venv.py prepares the folder and starts this.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from octet.ncnn.engine import Engine

Run = Callable[[np.ndarray], np.ndarray]  # an image of shape (C, H, W) -> its logits, shape (classes,)
PACKAGES = ("ncnn", "onnxruntime", "openvino", "nncf", "numpy")
UINT8, INT8 = "ONNX Runtime int8, activations uint8", "ONNX Runtime int8, activations int8"
OPENVINO_INT8 = "OpenVINO int8"


def quantized(folder: Path, images: np.ndarray) -> dict[str, float]:
    """Makes the peers' int8 models, calibrated on the images; the seconds that each took, by its name."""
    onnx_runtime_prepared(folder)
    found = {}
    for name, make in ((UINT8, onnx_runtime_int8), (INT8, onnx_runtime_int8), (OPENVINO_INT8, open_vino_int8)):
        start = time.perf_counter()
        make(folder, images, name)
        found[name] = time.perf_counter() - start
    return found


def engines(folder: Path) -> dict[str, tuple[list[Path], Callable[[int], Run]]]:
    """Every engine and model by the name of its row: its files, and what makes it ready for so many threads."""
    fp32, openvino = folder / "fp32.onnx", [folder / f"openvino.{ending}" for ending in ("xml", "bin")]
    found = {}
    for name in ["fp32", *sorted(path.stem for path in folder.glob("int8*.param"))]:
        files = [folder / f"{name}.{ending}" for ending in ("param", "bin")]
        found[f"ncnn {name}"] = files, partial(Engine, *files)
    found["ONNX Runtime fp32"] = [fp32], partial(onnx_runtime, fp32)
    for name in (UINT8, INT8):
        found[name] = [folder / f"{name}.onnx"], partial(onnx_runtime, folder / f"{name}.onnx")
    found["OpenVINO fp32"] = [fp32], partial(open_vino, fp32, "f32")
    found[OPENVINO_INT8] = openvino, partial(open_vino, openvino[0], None)
    found["OpenVINO int8, rest f32"] = openvino, partial(open_vino, openvino[0], "f32")
    return found


def onnx_runtime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image[None]})[0][0]


def onnx_runtime_prepared(folder: Path) -> None:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(folder / "fp32.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)


def onnx_runtime_int8(folder: Path, images: np.ndarray, name: str) -> None:
    """Static QDQ: 8-bit weights per channel, activations by their minimum and maximum (the default)."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    source = onnxruntime.InferenceSession(folder / "fp32.onnx", providers=["CPUExecutionProvider"])
    feeds = ({source.get_inputs()[0].name: image[None]} for image in images)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict | None:
            return next(feeds, None)

    quantize_static(
        folder / "prepared.onnx",
        folder / f"{name}.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=False,
        activation_type=QuantType.QUInt8 if name == UINT8 else QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )


def open_vino(path: Path, precision: str | None, threads: int) -> Run:
    """precision: of what stays in floating point; None leaves it to OpenVINO (bf16 where the processor has it)."""
    import openvino

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(path, "CPU", config)
    return lambda image: compiled(image[None], share_inputs=True, share_outputs=True)[0][0].copy()


def open_vino_int8(folder: Path, images: np.ndarray, name: str) -> None:
    import nncf
    import openvino

    data = nncf.Dataset([image[None] for image in images])
    model = nncf.quantize(openvino.Core().read_model(folder / "fp32.onnx"), data, subset_size=len(images))
    openvino.save_model(model, folder / "openvino.xml", compress_to_fp16=False)


def latencies(found: dict[str, Run], images: np.ndarray, rounds: int, threads: int) -> dict[str, list[float]]:
    """Milliseconds of every engine in every round.

    In its turn an engine runs a few times untimed, since its weights were pushed out of the caches by the others and
    their threads may still spin, and then twice timed, of which the mean counts. The order moves by one from round to
    round. The first 20 rounds do not count.
    """
    names, times = list(found), {name: [] for name in found}
    for index in range(-20, rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            run, image = found[name], images[index % len(images)]
            for _ in range(1 if threads == 1 else 4):
                run(image)
            start = time.perf_counter_ns()
            run(image)
            run(image)
            if index >= 0:
                times[name].append((time.perf_counter_ns() - start) / 2e6)
    return times


def peak_mib(run: Run, image: np.ndarray) -> float:
    """The peak memory of this process after 20 runs."""
    for _ in range(20):
        run(image)
    status = Path("/proc/self/status").read_text()  # getrusage would give a parent's larger peak
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("quantize", "time", "memory"), help="which figures; each needs the one before")
    parser.add_argument("folder", type=Path, help="with the models, calibrate.npy and test.npy; gets WHAT.json")
    parser.add_argument("--engine", action="append", help="only these rows (default: all); of memory the only one")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    args = parser.parse_args()
    if args.what == "quantize":
        result = {"seconds": quantized(args.folder, np.load(args.folder / "calibrate.npy"))}
    else:
        test = np.load(args.folder / "test.npy", mmap_mode="r")
        chosen = {name: entry for name, entry in engines(args.folder).items() if name in (args.engine or [name])}
        made = {n: {name: make(n) for name, (_, make) in chosen.items()} for n in args.threads}
        first = [np.array(image) for image in test[:8]]
    if args.what == "memory":
        result = {"peak_mib": peak_mib(next(iter(made[args.threads[0]].values())), first[0])}
    elif args.what == "time":
        result = {
            "latency_ms": {n: latencies(found, first, args.rounds, n) for n, found in made.items()},
            "predicted": {
                name: [int(run(np.array(image)).argmax()) for image in test]
                for name, run in made[args.threads[-1]].items()
            },
            "bytes": {name: sum(path.stat().st_size for path in files) for name, (files, _) in chosen.items()},
            "versions": {name: version(name) for name in PACKAGES},
        }
    (args.folder / f"{args.what}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
