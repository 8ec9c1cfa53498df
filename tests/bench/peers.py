"""What other engines make of the same network: the part of `make bench-int8` and `make bench-peers` in .venv-bench.

All models are in this one process, and their turns alternate, so that whatever else the machine does meets all alike.
The peers' int8 is made from the ONNX file as their documentation advises: ONNX Runtime's by static QDQ, per channel;
OpenVINO's by NNCF's post-training quantization. tests/bench/venv.py prepares the folder and starts this.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.ncnn.engine import Engine

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]  # an image of shape (C, H, W) -> its logits, shape (classes,)
PACKAGES = ("ncnn", "onnxruntime", "openvino", "nncf", "numpy")
UINT8, INT8 = "ONNX Runtime int8, activations uint8", "ONNX Runtime int8, activations int8"
OCTET_IN = {"onnxruntime": "ONNX Runtime int8, Octet's", "openvino": "OpenVINO int8, Octet's"}
GPTQ_IN = {engine: f"{row}, GPTQ" for engine, row in OCTET_IN.items()}
OPENVINO_INT8, REST_F32 = "OpenVINO int8", ", rest f32"
OPENVINO_F32 = f"{OPENVINO_INT8}{REST_F32}"
WAKE_S = 0.02
LOADS = 8  # of each model in turn: where its memory lies makes a model up to a tenth faster or slower


@dataclass(frozen=True)
class Timed:
    """latency_ms: by the number of threads and the row, as many of each load in their order; bytes: of each row's files."""

    latency_ms: dict[str, dict[str, list[float]]]
    bytes: dict[str, int]
    versions: dict[str, str]


@dataclass(frozen=True)
class Memory:
    """The peak memory of a process that loads one model and runs it."""

    peak_mib: float


@dataclass(frozen=True)
class Model:
    """A row: its files, and what makes it ready to run with so many threads."""

    files: list[Path]
    load: Callable[[int], Run]


def quantize(folder: Path, images: Array, names: list[str] | None = None) -> None:
    """Makes the peers' int8 models, calibrated on the images, which have the shape (n, C, H, W); names: only these rows'."""
    for name, make in ((UINT8, onnx_runtime_int8), (INT8, onnx_runtime_int8), (OPENVINO_INT8, open_vino_int8)):
        if names is None or name in names:
            make(folder, images, name)


def models(folder: Path, names: list[str] | None = None) -> dict[str, Model]:
    """The models in the folder by their row; names: only these."""
    fp32, openvino = folder / "fp32.onnx", [folder / f"openvino.{ending}" for ending in ("xml", "bin")]
    rows = {}
    for name in ["fp32", *sorted(path.stem for path in folder.glob("int8*.param"))]:
        files = [folder / f"{name}.{ending}" for ending in ("param", "bin")]
        rows[f"ncnn {name}"] = Model(files, partial(Engine, *files))
    rows["ONNX Runtime fp32"] = Model([fp32], partial(onnx_runtime, fp32))
    for name in (UINT8, INT8):
        rows[name] = Model([folder / f"{name}.onnx"], partial(onnx_runtime, folder / f"{name}.onnx"))
    rows["OpenVINO fp32"] = Model([fp32], partial(open_vino, fp32, precision="f32"))
    rows[OPENVINO_INT8] = Model(openvino, partial(open_vino, openvino[0], precision=None))
    rows[OPENVINO_F32] = Model(openvino, partial(open_vino, openvino[0], precision="f32"))
    for row, ending in ((OCTET_IN, ""), (GPTQ_IN, "_gptq")):
        path = folder / f"octet_onnxruntime{ending}.onnx"
        rows[row["onnxruntime"]] = Model([path], partial(onnx_runtime, path))
        path = folder / f"octet_openvino{ending}.onnx"
        rows[row["openvino"]] = Model([path], partial(open_vino, path, precision=None))
        rows[f"{row['openvino']}{REST_F32}"] = Model([path], partial(open_vino, path, precision="f32"))
    made = {name: model for name, model in rows.items() if all(path.exists() for path in model.files)}
    return {name: model for name, model in made.items() if names is None or name in names}


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


def onnx_runtime_int8(folder: Path, images: Array, name: str) -> None:
    """Static QDQ: 8-bit weights per channel, activations by their minimum and maximum (the default)."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    onnx_runtime_prepared(folder)
    source = onnxruntime.InferenceSession(folder / "fp32.onnx", providers=["CPUExecutionProvider"])
    feeds = ({source.get_inputs()[0].name: image[None]} for image in images)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Array] | None:
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


def open_vino(path: Path, threads: int, precision: str | None) -> Run:
    """precision: of what stays in floating point; None leaves it to OpenVINO (bf16 where the processor has it)."""
    import openvino

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(path, "CPU", config)
    return lambda image: compiled(image[None], share_inputs=True, share_outputs=True)[0][0].copy()


def open_vino_int8(folder: Path, images: Array, name: str) -> None:
    import nncf
    import openvino

    data = nncf.Dataset([image[None] for image in images])
    model = nncf.quantize(openvino.Core().read_model(folder / "fp32.onnx"), data, subset_size=len(images))
    openvino.save_model(model, folder / "openvino.xml", compress_to_fp16=False)


def latencies(runs: dict[str, Run], images: list[Array], rounds: int, threads: int) -> dict[str, list[float]]:
    """Milliseconds of every row in every round.

    In its turn an engine runs untimed, since its weights were pushed out of the caches by the others, with several threads for
    a while, as the others' may still spin and its own have to wake up; and then twice timed, of which the mean counts. The order
    is another one in each round, so that nobody always runs behind the same other. The first 3 rounds do not count.
    """
    names, times, order = list(runs), {name: [] for name in runs}, random.Random(0)
    for index in range(-3, rounds):
        for name in order.sample(names, len(names)):
            run, image = runs[name], images[index % len(images)]
            until = time.perf_counter() + WAKE_S * (threads > 1)
            run(image)
            while time.perf_counter() < until:
                run(image)
            start = time.perf_counter_ns()
            run(image)
            run(image)
            if index >= 0:
                times[name].append((time.perf_counter_ns() - start) / 2e6)
    return times


def timed(folder: Path, names: list[str] | None, images: list[Array], rounds: int, threads: list[int]) -> Timed:
    """Times the rows in turn, with each number of threads, loaded anew LOADS times."""
    chosen, latency_ms = models(folder, names), {}
    for count in threads:
        latency_ms[str(count)] = {name: [] for name in chosen}
        for _ in range(LOADS):
            runs = {name: model.load(count) for name, model in chosen.items()}
            for name, of_load in latencies(runs, images, rounds // LOADS, count).items():
                latency_ms[str(count)][name] += of_load
    sizes = {name: sum(path.stat().st_size for path in model.files) for name, model in chosen.items()}
    return Timed(latency_ms, sizes, {name: version(name) for name in PACKAGES})


def write_logits(folder: Path, names: list[str] | None, images: Array, threads: int) -> None:
    """Writes ROW.logits.npy, fp32 of shape (n, classes), for each row; each thread has a model of its own."""
    for name, model in models(folder, names).items():

        def part(shard: Array, load: Callable[[int], Run] = model.load) -> Array:
            run = load(1)
            return np.stack([run(np.array(image)) for image in shard])

        with ThreadPoolExecutor(threads) as pool:
            np.save(
                folder / f"{name}.logits.npy", np.concatenate(list(pool.map(part, np.array_split(images, threads))))
            )


def peak_mib(run: Run, image: Array) -> float:
    """The peak memory of this process after 20 runs."""
    for _ in range(20):
        run(image)
    status = Path("/proc/self/status").read_text()  # getrusage would give a parent's larger peak
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", choices=("quantize", "time", "logits", "memory"), help="quantize goes before the others"
    )
    parser.add_argument("folder", type=Path, help="with the models, calibrate.npy and test.npy; gets WHAT.json")
    parser.add_argument("--engine", action="append", help="only these rows (default: all); of memory the only one")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    args = parser.parse_args()
    result: Timed | Memory | None = None
    if args.what == "quantize":
        quantize(args.folder, np.load(args.folder / "calibrate.npy"), args.engine)
    else:
        test = np.load(args.folder / "test.npy", mmap_mode="r")
        first = [np.array(image) for image in test[:8]]
        if args.what == "time":
            result = timed(args.folder, args.engine, first, args.rounds, args.threads)
        elif args.what == "memory":
            (model,) = models(args.folder, args.engine).values()
            result = Memory(peak_mib(model.load(args.threads[0]), first[0]))
        else:
            write_logits(args.folder, args.engine, test, args.threads[-1])
    (args.folder / f"{args.what}.json").write_text(json.dumps(asdict(result) if result else None))


if __name__ == "__main__":
    main()
