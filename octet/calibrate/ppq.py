"""PPQ's calibration for ncnn, on the ONNX model that the ncnn model was made from, on the CPU.

PPQ 0.6.6 runs as its authors wrote it (ppq/quantization/quantizer/NCNNQuantizer.py, .../optim/calibration.py), without
equalization or bias correction, so the weights stay those of the fp32 model. What is Octet's:
- The scales come from PPQ's graph in full precision; its own table (ppq/parser/ncnn_exporter.py) has six decimals.
- Exactly the nodes that became ncnn layers which can be int8 are quantized. PPQ's default dispatcher leaves out the
  last Gemm of most classifiers.
- The target says how many levels the weights have; PPQ gives 3x3 convolutions of stride 1 always 31.
- PPQ bakes the quantized weights into the graph before it calibrates, not afterwards, which spares it quantizing them
  in each step. The scales are the same.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError

from octet.calibrate.match import match
from octet.calibrate.observe import weight_scales
from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.progress import progress
from octet.graph.layer_types import QUANTIZABLE
from octet.graph.layers import quantizable
from octet.graph.scales import add_attention, weight_scale_count
from octet.graph.targets import Target
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.table import Table

with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # PPQ greets with a banner
    warnings.simplefilter("ignore")
    from ppq.api import QuantizationSettingFactory, load_onnx_graph
    from ppq.core import OBSERVER_MIN_SCALE, TargetPlatform
    from ppq.executor import TorchExecutor
    from ppq.IR import BaseGraph
    from ppq.quantization.optim import QuantizationOptimizationPipeline, RuntimeCalibrationPass
    from ppq.quantization.quantizer import NCNNQuantizer

PASSES = {"percentile": 1, "minmax": 1, "kl": 2, "mse": 2}  # over the images: a histogram needs its range first
LEAST_STEPS, MOST_STEPS = 8, 512  # PPQ asserts both
THREADS = 2  # fixed: with another number torch may add in another order, and the scales' last bits differ
TOLERANCE = 1e-3  # of the logits' spread, between images computed together and one by one


def calibrate(
    onnx_path: str | Path,
    net: Net,
    images: Sequence[np.ndarray],
    algorithm: str,
    batch: int,
    target: Target,
) -> Table:
    """The table of a model. images: network inputs, fp32 of shape (C, H, W), taken in order.

    algorithm: PPQ's observer for activations, percentile, kl, mse or minmax. batch: images a step; see `steps`.
    The result is the same for the same inputs on one kind of processor. Raises OctetError for fewer than 8 images,
    for a layer that PPQ does not quantize, and for a model that PPQ cannot run, or not on several images at once.
    """
    parts, layers = steps(len(images), batch), quantizable(net.layers)
    if not layers:
        raise OctetError(f"{onnx_path}: its ncnn model has no layer that can be int8 ({', '.join(QUANTIZABLE)})")
    try:
        model = onnx.load_model_from_string(read_bytes(onnx_path, "the stage export makes it"))
    except DecodeError:
        raise OctetError(f"{onnx_path}: not an ONNX model, or damaged; run the stage export again") from None
    nodes = match(net, model, str(onnx_path))
    kinds = {node.name: node.op_type for node in model.graph.node}
    other = [f"{layer} ({kinds[node]})" for layer, node in nodes.items() if kinds[node] not in ("Conv", "Gemm")]
    if other:
        raise OctetError(
            f"{onnx_path}: PPQ quantizes Conv and Gemm nodes for ncnn, not those of the layers {', '.join(other)}; "
            "choose another calibrate.method: kl, minmax and mse know these layers"
        )
    levels = {nodes[layer.name]: target.weight_levels(layer) for layer in layers}
    graph = quantized(onnx_path, levels, images, parts, algorithm)
    table = _table(graph, layers, nodes, target, str(onnx_path))
    add_attention(table, net.layers)
    return table


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


def quantized(
    onnx_path: str | Path,
    levels: dict[str, int],
    images: Sequence[np.ndarray],
    parts: list[range],
    algorithm: str,
) -> BaseGraph:
    """PPQ's graph of the model, calibrated. levels: the largest integer of the weights of each node to quantize."""
    setting = QuantizationSettingFactory.ncnn_setting()
    setting.quantize_activation_setting.calib_algorithm = algorithm
    bar = progress(range(PASSES[algorithm] * parts[-1].stop), f"calibrate, ppq {algorithm}")
    data = _Data(images, parts, bar)
    with _quiet(), _threads(THREADS):
        graph = _load(onnx_path)
        for operation in graph.operations.values():
            operation.platform = TargetPlatform.UNSPECIFIED if operation.name in levels else TargetPlatform.FP32
        executor = TorchExecutor(graph, device="cpu")
        _check_runs(graph, executor, data, str(onnx_path))
        _Quantizer(graph, levels).quantize(
            inputs=torch.zeros_like(data.images(range(1))),
            calib_dataloader=data,
            executor=executor,
            setting=setting,
            calib_steps=len(data),
        )
    next(bar, None)  # closes it
    return graph


def _load(onnx_path: str | Path) -> BaseGraph:
    try:
        return load_onnx_graph(str(onnx_path))
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:  # PPQ has no errors of its own
        raise OctetError(f"{onnx_path}: PPQ cannot read the model: {error}; choose another calibrate.method") from None


class _Quantizer(NCNNQuantizer):
    """PPQ's quantizer for ncnn, told how many levels each node's weights have."""

    def __init__(self, graph: BaseGraph, levels: dict[str, int]):
        super().__init__(graph)
        self._levels = levels

    def init_quantize_config(self, operation):
        config = super().init_quantize_config(operation)
        weight, levels = config.input_quantization_config[1], self._levels[operation.name]
        weight.num_of_bits, weight.quant_min, weight.quant_max = levels.bit_length() + 1, -levels, levels
        return config

    def build_quant_pipeline(self, setting):
        passes = super().build_quant_pipeline(setting)
        return QuantizationOptimizationPipeline(sorted(passes, key=lambda p: isinstance(p, RuntimeCalibrationPass)))


class _Data:
    """What PPQ takes for a data loader: fp32 tensors of shape (images of a step, C, H, W), read when asked for."""

    def __init__(self, images: Sequence[np.ndarray], parts: list[range], bar: Iterator[int]):
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


def _check_runs(graph: BaseGraph, executor: TorchExecutor, data: _Data, where: str) -> None:
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


def _table(graph: BaseGraph, layers: list[Layer], nodes: dict[str, str], target: Target, where: str) -> Table:
    table = Table()
    for layer in layers:
        source, weight = graph.operations[nodes[layer.name]].config.input_quantization_config[:2]
        # A depthwise group's scale is that of its channel with the largest weight, as in PPQ's exporter.
        scales = _inverse(weight.scale.reshape(weight_scale_count(layer), -1).max(dim=1)[0])
        wanted = weight_scales(layer, target)
        if not np.all((scales == 1) | np.isclose(scales, wanted, rtol=1e-3)):
            raise OctetError(
                f"{where}: PPQ's weight scales for node {nodes[layer.name]} are not those of the weights of ncnn layer "
                f"{layer.name}; run the stages export and convert again, or choose another calibrate.method"
            )
        table.weights[layer.name] = scales
        table.inputs[layer.name] = _inverse(source.scale.reshape(1))[0]
    return table


def _inverse(scale: torch.Tensor) -> np.ndarray:
    """Ncnn's scales from PPQ's, fp32; 1 where PPQ found nothing but zeros (it stops at 1e-8) or no number."""
    values = scale.numpy()
    live = np.isfinite(values) & (values > np.float32(OBSERVER_MIN_SCALE))
    return np.where(live, 1 / np.where(live, values, 1), 1).astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what PPQ prints, nor its bars; ours, which exist already, go on."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
