"""What other engines make of the same network: the half of `make bench-int8` that runs in .venv-bench.

All models are in this one process, and their turns alternate, so that whatever else the machine does meets all alike.
Makes the peers' int8 from the ONNX file as their documentation advises: ONNX Runtime by static QDQ, per channel;
OpenVINO by NNCF's post-training quantization. tests/bench/int8.py prepares the folder and prints the result.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from octet.engine import Engine

Run = Callable[[np.ndarray], np.ndarray]  # an image of shape (3, H, W) -> its logits, shape (classes,)
PACKAGES = ("ncnn", "onnxruntime", "openvino", "nncf", "numpy")


def onnx_runtime(path: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image[None]})[0][0]


def onnx_runtime_int8(folder: Path, images: np.ndarray, activations: QuantType) -> Run:
    """Static QDQ: 8-bit weights per channel, activations by their minimum and maximum (the default)."""
    path = folder / f"ort_{activations.name}.onnx"
    quantize_static(
        folder / "prepared.onnx",
        path,
        _Reader(folder / "fp32.onnx", images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=False,
        activation_type=activations,
        weight_type=QuantType.QInt8,
    )
    return onnx_runtime(path)


class _Reader(CalibrationDataReader):
    def __init__(self, path: Path, images: np.ndarray):
        name = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0].name
        self.feeds = ({name: image[None]} for image in images)

    def get_next(self) -> dict | None:
        return next(self.feeds, None)


def open_vino(model: openvino.Model, precision: str | None) -> Run:
    """precision: of what stays in floating point; None leaves it to OpenVINO (bf16 where the processor has it)."""
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(model, "CPU", config)
    return lambda image: compiled(image[None], share_inputs=True, share_outputs=True)[0][0].copy()


def engines(folder: Path, images: np.ndarray) -> dict[str, Run]:
    """Every engine and model by the name of its row; the int8 ones calibrated on the images."""
    quant_pre_process(folder / "fp32.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)
    ncnn = ["fp32", *sorted(path.stem for path in folder.glob("int8 *.param"))]
    model = openvino.Core().read_model(folder / "fp32.onnx")
    int8 = nncf.quantize(model, nncf.Dataset([image[None] for image in images]), subset_size=len(images))
    return {
        **{f"ncnn {name}": Engine(folder / f"{name}.param", folder / f"{name}.bin") for name in ncnn},
        "ONNX Runtime fp32": onnx_runtime(folder / "fp32.onnx"),
        "ONNX Runtime int8, activations uint8": onnx_runtime_int8(folder, images, QuantType.QUInt8),
        "ONNX Runtime int8, activations int8": onnx_runtime_int8(folder, images, QuantType.QInt8),
        "OpenVINO fp32": open_vino(model, "f32"),
        "OpenVINO int8": open_vino(int8, None),
        "OpenVINO int8, rest f32": open_vino(int8, "f32"),
    }


def latencies(found: dict[str, Run], images: np.ndarray, rounds: int, warmup: int = 20) -> dict[str, list[float]]:
    """Milliseconds of every engine in every round.

    In its turn an engine runs three times: untimed, since its weights were pushed out of the caches by the others, and
    then twice timed, of which the mean counts. The order moves by one from round to round.
    """
    names, times = list(found), {name: [] for name in found}
    for index in range(-warmup, rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            run, image = found[name], images[index % len(images)]
            run(image)
            start = time.perf_counter_ns()
            run(image)
            run(image)
            if index >= 0:
                times[name].append((time.perf_counter_ns() - start) / 2e6)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with the models, calibrate.npy and test.npy; gets peers.json")
    parser.add_argument("--rounds", type=int, required=True)
    args = parser.parse_args()
    test = np.load(args.folder / "test.npy")
    found = engines(args.folder, np.load(args.folder / "calibrate.npy"))
    times = latencies(found, test[:8], args.rounds)
    logits = {name: np.stack([run(image) for image in test]) for name, run in found.items()}
    result = {
        "latency_ms": times,
        "predicted": {name: values.argmax(axis=1).tolist() for name, values in logits.items()},
        "versions": {name: version(name) for name in PACKAGES},
    }
    (args.folder / "peers.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
