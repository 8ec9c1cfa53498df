"""PPQ's graph of an ONNX model, calibrated on the CPU.

PPQ 0.6.6 runs as its authors wrote it (ppq/quantization/quantizer/NCNNQuantizer.py, .../optim/calibration.py), without
equalization or bias correction, so the weights stay those of the fp32 model. It bakes the quantized weights into the
graph before it calibrates, not afterwards, which spares it quantizing them in each step. The scales are the same.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from octet.core.errors import OctetError
from octet.core.progress import progress
from octet.core.quiet_imports import quiet_imports

with quiet_imports(), redirect_stdout(io.StringIO()):  # PPQ greets with a banner
    from ppq.api import QuantizationSetting, QuantizationSettingFactory, load_onnx_graph
    from ppq.core import OBSERVER_MIN_SCALE, OperationQuantizationConfig, TargetPlatform
    from ppq.executor import TorchExecutor
    from ppq.IR import BaseGraph, Operation
    from ppq.quantization.optim import QuantizationOptimizationPipeline, RuntimeCalibrationPass
    from ppq.quantization.quantizer import NCNNQuantizer

PASSES = {"percentile": 1, "minmax": 1, "kl": 2, "mse": 2}  # over the images: a histogram needs its range first
LEAST_STEPS, MOST_STEPS = 8, 512  # PPQ asserts both
THREADS = 2  # fixed: with another number torch may add in another order, and the scales' last bits differ
_ERRORS = (AssertionError, KeyError, RuntimeError, TypeError, ValueError)  # PPQ has none of its own
TOLERANCE = 1e-3  # of the logits' spread, between images computed together and one by one


def steps(count: int, batch: int) -> list[range]:
    """The images of each of PPQ's steps, all of them, in order; the steps' sizes differ by one at most.

    A step has `batch` images, fewer where that would give fewer than PPQ's 8 steps, more where it would give more
    than its 512.
    """
    if count < LEAST_STEPS:
        raise OctetError(
            f"calibrate.images: PPQ needs at least {LEAST_STEPS} images, found {count}; raise it in params.yaml or "
            "choose another calibrate.method"
        )
    size = max(min(batch, count // LEAST_STEPS), -(-count // MOST_STEPS))
    number = -(-count // size)
    return [range(a, b) for a, b in pairwise(k * count // number for k in range(number + 1))]


def calibrated(
    path: Path,
    levels: dict[str, int],
    images: Sequence[npt.NDArray[np.float32]],
    parts: list[range],
    algorithm: str,
) -> BaseGraph:
    """PPQ's graph of the model, calibrated.

    Args:
        path: The ONNX model.
        levels: The largest integer of the weights, for each node that is to be quantized, by its name.
        images: Network inputs, fp32 of shape (C, H, W), taken in order.
        parts: The images of each step; see steps().
        algorithm: PPQ's observer for activations: percentile, kl, mse or minmax.

    Raises:
        OctetError: PPQ cannot run or quantize the model, or not on several images at once.
    """
    setting = QuantizationSettingFactory.ncnn_setting()
    setting.quantize_activation_setting.calib_algorithm = algorithm
    bar = progress(range(PASSES[algorithm] * parts[-1].stop), f"calibrate, ppq {algorithm}")
    data = _Data(images, parts, bar)
    with _quiet(), _threads(THREADS):
        graph = _load(path)
        for operation in graph.operations.values():
            operation.platform = TargetPlatform.UNSPECIFIED if operation.name in levels else TargetPlatform.FP32
        executor = TorchExecutor(graph, device="cpu")
        _check_runs(graph, executor, data, path)
        inputs = torch.zeros_like(data.images(range(1)))
        try:
            _Quantizer(graph, levels).quantize(inputs, data, executor, setting, calib_steps=len(data))
        except _ERRORS as error:
            raise OctetError(
                f"{path}: PPQ cannot quantize the model: {error}; choose another calibrate.method"
            ) from None
    next(bar, None)  # closes it
    return graph


def scales(graph: BaseGraph, node: str, channels: int) -> tuple[npt.NDArray[np.float32], np.float32]:
    """A node's scales as ncnn has them: of its weights, fp32 of shape (channels,), and of its input.

    A depthwise group's scale is that of its channel with the largest weight, as in PPQ's exporter.
    """
    source, weight = graph.operations[node].config.input_quantization_config[:2]
    return _inverse(weight.scale.reshape(channels, -1).max(dim=1)[0]), _inverse(source.scale.reshape(1))[0]


def _inverse(scale: torch.Tensor) -> npt.NDArray[np.float32]:
    """Ncnn's scales from PPQ's; 1 where PPQ saw nothing but zeros (it stops at 1e-8) or no number."""
    values = scale.numpy()
    live = np.isfinite(values) & (values > np.float32(OBSERVER_MIN_SCALE))
    return np.where(live, 1 / np.where(live, values, 1), 1).astype(np.float32)


def _load(path: Path) -> BaseGraph:
    try:
        return load_onnx_graph(str(path))
    except _ERRORS as error:
        raise OctetError(f"{path}: PPQ cannot read the model: {error}; choose another calibrate.method") from None


class _Quantizer(NCNNQuantizer):  # type: ignore[misc]
    """PPQ's quantizer for ncnn, told how many levels each node's weights have."""

    def __init__(self, graph: BaseGraph, levels: dict[str, int]):
        super().__init__(graph)
        self._levels = levels

    def init_quantize_config(self, operation: Operation) -> OperationQuantizationConfig:
        config = super().init_quantize_config(operation)
        weight, levels = config.input_quantization_config[1], self._levels[operation.name]
        weight.num_of_bits, weight.quant_min, weight.quant_max = levels.bit_length() + 1, -levels, levels
        return config

    def build_quant_pipeline(self, setting: QuantizationSetting) -> QuantizationOptimizationPipeline:
        passes = super().build_quant_pipeline(setting)
        return QuantizationOptimizationPipeline(sorted(passes, key=lambda p: isinstance(p, RuntimeCalibrationPass)))


class _Data:
    """What PPQ takes for a data loader: fp32 tensors of shape (images of a step, C, H, W), read when asked for."""

    def __init__(self, images: Sequence[npt.NDArray[np.float32]], parts: list[range], bar: Iterator[int]):
        self.inputs, self.parts, self.bar = images, parts, bar

    def images(self, indices: range) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.inputs[k] for k in indices]))

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[torch.Tensor]:
        for part in self.parts:
            for _ in part:
                next(self.bar)
            yield self.images(part)


def _check_runs(graph: BaseGraph, executor: TorchExecutor, data: _Data, where: Path) -> None:
    """Makes the graph, exported for one image, take several, and checks on two that nothing else depended on it."""
    several = max(map(len, data.parts)) > 1
    if several:
        for operation in graph.operations.values():
            if operation.type == "Reshape" and operation.inputs[1].is_parameter:
                shape = operation.inputs[1].value
                if shape.flatten()[:1].tolist() == [1]:
                    operation.inputs[1].value = torch.cat([shape.new_zeros(1), shape[1:]])  # 0: as many as came in
    try:
        apart = torch.cat([executor.forward(data.images(range(k, k + 1)))[0] for k in range(2)])
    except RuntimeError as error:
        why = " ".join(str(error.__cause__ or error).split()).partition(". ")[0]
        raise OctetError(f"{where}: PPQ cannot run the model: {why}; choose another calibrate.method") from None
    if not several:
        return
    try:
        together = executor.forward(data.images(range(2)))[0]
        spread = apart.max() - apart.min()
        same = together.shape == apart.shape and bool((together - apart).abs().max() <= TOLERANCE * spread)
    except RuntimeError:
        same = False
    if not same:
        raise OctetError(
            f"{where}: the model does not give the same logits for several images at once as for each alone; set "
            f"calibrate.ppq.batch to 1 and calibrate.images to at most {MOST_STEPS}, or choose another calibrate.method"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what PPQ prints, nor its bars; ours, which exist already, go on."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
