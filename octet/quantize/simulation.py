"""An int8 model of ncnn's as a torch module: what the engine computes, and gradients straight through its rounding.

Every int8 layer reads its input as the integers that ncnn makes of it, round(x * scale) + zero point, half away from zero
and clamped to ±127, and multiplies them with integers of at most target.weight_levels. So does a layer whose input arrives
requantized: the integers are the same ones. What is simulated is the network before zero points go into biases; the two are
equal up to the last bits of fp32. The gradient passes rounding as if it were not there, and ends at a clamp (Bengio et al.,
«Estimating or propagating gradients through stochastic neurons», 2013); that of a scale is LSQ's (Esser et al., «Learned step
size quantization», ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from octet.graph import zero_points
from octet.graph.layers import integer, quantizable
from octet.graph.origins import origins
from octet.graph.scales import weight_scale_count
from octet.graph.targets import Target
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.table import Table
from octet.quantize import torch_layers
from octet.quantize.gptq_weights import GptqWeights

CPU = torch.device("cpu")
_LIMIT, _HALF, _INSIDE = 127.0, torch.tensor(0.5), 0.499  # of a step: rounds to the same integer
Compute = Callable[[Layer, list[Tensor]], list[Tensor]]


class Simulation:
    """A network with some layers in int8, and what of it is learned.

    Args:
        net: The fp32 network.
        table: Its calibration table.
        target: The device's profile.
        int8: The names of its int8 layers.
        start: By int8 layer the integers and what its bias gains, to begin with; of others, weights round to the nearest.
        device: What computes it.

    Attributes:
        steps: By int8 layer its weights in units of their steps, not yet rounded, of shape (scales, weights).
        biases: By int8 layer, of shape (outputs,).
        weight_scales: By int8 layer the logarithms of its weights' scales, of shape (scales,).
        input_scales: By what int8 layers share the logarithm of their inputs' scale.
    """

    def __init__(
        self,
        net: Net,
        table: Table,
        target: Target,
        int8: Collection[str],
        start: Mapping[str, GptqWeights] | None = None,
        device: torch.device = CPU,
    ):
        self.net, self.layers = net, [layer for layer in quantizable(net.layers) if layer.name in int8]
        scales = {layer.name: float(table.inputs[layer.name]) for layer in self.layers}
        self._zero_points = zero_points.with_zero_point(net, scales) if target.asymmetric else set()
        self._levels = {layer.name: float(target.weight_levels(layer)) for layer in self.layers}
        self._origins, self._shared = origins(net), _shared(net, scales, target)
        self._fp32 = {layer.name: _constants(layer) for layer in net.layers if "weight" in layer.weights}
        self.steps: dict[str, Tensor] = {}
        self.biases: dict[str, Tensor] = {}
        self.weight_scales: dict[str, Tensor] = {}
        self.input_scales: dict[str, Tensor] = {}
        for layer in self.layers:
            weight, bias = self._fp32[layer.name]
            factors = torch.from_numpy(table.weights[layer.name].astype(np.float32))
            self.steps[layer.name] = weight.reshape(weight_scale_count(layer), -1) * factors[:, None]
            self.weight_scales[layer.name] = factors.log()
            self.biases[layer.name] = torch.zeros(integer(layer, "num_output")) if bias is None else bias.clone()
            if start and layer.name in start:
                self._begin_with(layer.name, start[layer.name])
            self.input_scales[self._shared[layer.name]] = torch.tensor(log(scales[layer.name]))
        for learned in (self.steps, self.biases, self.weight_scales, self.input_scales):
            learned |= {name: values.to(device).requires_grad_() for name, values in learned.items()}
        self._fp32 = {
            name: (weight.to(device), None if bias is None else bias.to(device))
            for name, (weight, bias) in self._fp32.items()
        }

    def _begin_with(self, name: str, start: GptqWeights) -> None:
        """Moves a layer's weights, not yet rounded, as little as possible to where they round to the integers of `start`."""
        integers = _tensor(start.weight).reshape(self.steps[name].shape)
        self.steps[name] = integers + (self.steps[name] - integers).clamp_(-_INSIDE, _INSIDE)
        self.biases[name] += _tensor(start.bias)

    def __call__(self, images: Tensor) -> Tensor:
        """The logits, fp32 of shape (n, classes), of images of shape (n, C, H, W)."""
        rounded: dict[str, Tensor] = {}  # what several layers read is rounded once

        def compute(layer: Layer, inputs: list[Tensor]) -> list[Tensor]:
            if layer.name not in self._levels:
                return self._fp32_layer(layer, inputs)
            origin = self._origins[layer.inputs[0]]
            if origin not in rounded:
                rounded[origin] = self._rounded(layer, inputs[0])
            integers = _weight_integers(self.steps[layer.name], self._levels[layer.name])
            weight = integers * torch.exp(-self.weight_scales[layer.name])[:, None]
            return torch_layers.layer(layer, [rounded[origin]], weight, self.biases[layer.name])

        return self._run(images, compute)

    def fp32(self, images: Tensor) -> Tensor:
        """The same of the fp32 network."""
        with torch.no_grad():
            return self._run(images, self._fp32_layer)

    def weights(self) -> dict[str, GptqWeights]:
        """What the int8 layers have learned, as it goes into a file."""
        with torch.no_grad():
            return {layer.name: self._learned(layer) for layer in self.layers}

    def _run(self, images: Tensor, compute: Compute) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)  # in which depthwise convolutions are faster
        blobs: dict[str, Tensor] = {}
        for layer in self.net.layers:
            inputs = [blobs[name] for name in layer.inputs]
            outputs = [images] if layer.type == "Input" else compute(layer, inputs)
            blobs.update(zip(layer.outputs, outputs, strict=True))
        return blobs[self.net.output].flatten(1)

    def _fp32_layer(self, layer: Layer, inputs: list[Tensor]) -> list[Tensor]:
        return torch_layers.layer(layer, inputs, *self._fp32.get(layer.name, (None, None)))

    def _rounded(self, layer: Layer, values: Tensor) -> Tensor:
        """An int8 layer's input; with a zero point the scale is twice the table's."""
        log_scale, zero_point = self.input_scales[self._shared[layer.name]], 0.0
        if layer.name in self._zero_points:
            log_scale, zero_point = log_scale + log(2), float(zero_points.ZERO_POINT)
        return _as_integers(values, log_scale, zero_point)

    def _learned(self, layer: Layer) -> GptqWeights:
        name, bias = layer.name, self._fp32[layer.name][1]
        return GptqWeights(
            _nearest(self.steps[name], self._levels[name]).reshape(-1).to(torch.int8).cpu().numpy(),
            (self.biases[name] - (0 if bias is None else bias)).cpu().numpy(),
            self.weight_scales[name].exp().cpu().numpy(),
            self.input_scales[self._shared[name]].exp().reshape(1).cpu().numpy(),
        )


class _Inputs(torch.autograd.Function):
    """What a layer reads, as ncnn's integers give it back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, log_scale: Tensor, zero_point: float) -> Tensor:
        ctx.scale, ctx.zero_point = float(log_scale.exp()), zero_point
        steps = values * ctx.scale
        if zero_point:
            steps += zero_point
        result = _nearest(steps, _LIMIT)
        if zero_point:
            result -= zero_point
        result *= 1 / ctx.scale
        ctx.save_for_backward(steps, result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        steps, result = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(gradient, steps, -_LIMIT - 0.5, _LIMIT + 0.5)
        moved = ((inside * steps).sum() - ctx.zero_point * inside.sum()) / ctx.scale - (gradient * result).sum()
        return inside, moved, None


class _Weights(torch.autograd.Function):
    """Weights, in units of their steps, as integers."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, levels: float) -> Tensor:
        rounded = _nearest(steps, levels)
        ctx.save_for_backward((steps - rounded).abs_() <= 0.5)
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


_as_integers: Callable[[Tensor, Tensor, float], Tensor] = _Inputs.apply
_weight_integers: Callable[[Tensor, float], Tensor] = _Weights.apply


def _nearest(values: Tensor, largest: float) -> Tensor:
    """Half away from zero, as octet.ncnn.rounding has it, clamped."""
    return torch.copysign(_HALF.to(values.device), values).add_(values).trunc_().clamp_(-largest, largest)


def _shared(net: Net, scales: Mapping[str, float], target: Target) -> dict[str, str]:
    """By int8 layer what it shares its input's scale with others by: the blob that they read, or the ReLU before it."""
    origin = origins(net)
    shared = {layer.name: origin[layer.inputs[0]] for layer in net.layers if layer.name in scales}
    if target.asymmetric:
        for region in zero_points.regions(net, lambda layer: scales.get(layer.name)):
            shared |= {
                reader.name: origin[region.relu.outputs[0]] for reader in region.readers if reader.name in scales
            }
    return shared


def _constants(layer: Layer) -> tuple[Tensor, Tensor | None]:
    """A layer's weight and bias in fp32."""
    weight, bias = layer.weights["weight"].data, layer.weights.get("bias")
    return _tensor(weight), None if bias is None else _tensor(bias.data)


def _tensor(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
