"""ncnn's fp32 layers in torch, on batches, so that gradients flow through them.

Arrays are (n, C, H, W), or (n, features) after global pooling and flattening. Written from ncnn's plain C++ layers
(src/layer/*.cpp); what a layer's parameters ask for and is not here is an OctetError, never something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from octet.core.errors import OctetError
from octet.graph.layers import groups, integer, number, numbers
from octet.graph.windows import border_sizes
from octet.ncnn.layer import Layer

_NOTHING, _RELU, _LEAKY, _CLIP, _SIGMOID, _MISH, _HARD_SWISH = range(7)
_OPERATIONS: dict[int, Callable[[Tensor, Any], Tensor]] = {
    0: torch.add,
    1: torch.sub,
    2: torch.mul,
    3: torch.div,
}


def layer(
    one: Layer, inputs: Sequence[Tensor], weight: Tensor | None = None, bias: Tensor | None = None
) -> list[Tensor]:
    """The outputs of one layer.

    Args:
        one: In fp32.
        inputs: What it reads.
        weight: Of a convolution or linear layer, in any shape.
        bias: Likewise, of shape (outputs,); None: it has none.

    Raises:
        OctetError: It is of a type, or has a parameter, that is not here.
    """
    if weight is not None:
        return [activate(one, _weighted(one, inputs[0], weight, bias))]
    if one.type not in LAYERS:
        raise unknown(one, f"fine-tuning knows no {one.type}")
    return LAYERS[one.type](one, inputs)


def unknown(one: Layer, what: str) -> OctetError:
    """The error for a layer that cannot be trained through."""
    return OctetError(
        f"rounding.method: layer {one.name}: {what} (known: Convolution, ConvolutionDepthWise, InnerProduct, "
        f"{', '.join(sorted(LAYERS))}); take gptq, which needs no gradients"
    )


def activate(one: Layer, values: Tensor) -> Tensor:
    """The activation that is fused into a layer (src/layer/fused_activation.h)."""
    fused, extra = integer(one, "activation_type"), numbers(one, "activation_params")
    if fused == _NOTHING:
        return values
    if fused == _RELU:
        return F.relu(values)
    if fused == _LEAKY:
        return F.leaky_relu(values, extra[0])
    if fused == _CLIP:
        return F.hardtanh(values, extra[0], extra[1])  # whose gradient is faster than clamp's
    if fused == _SIGMOID:
        return torch.sigmoid(values)
    if fused == _MISH:
        return F.mish(values)
    if fused == _HARD_SWISH:
        return values * torch.clamp(values * extra[0] + extra[1], 0, 1)
    raise unknown(one, f"fine-tuning knows no activation_type {fused}")


def _weighted(one: Layer, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    outputs = integer(one, "num_output")
    if one.type == "InnerProduct":
        return F.linear(values.flatten(1), weight.reshape(outputs, -1), bias)
    kernel = integer(one, "kernel_h"), integer(one, "kernel_w")
    stride = integer(one, "stride_h"), integer(one, "stride_w")
    dilation = integer(one, "dilation_h"), integer(one, "dilation_w")
    if number(one, "pad_value"):
        raise unknown(one, "fine-tuning knows no pad_value but 0")
    (top, bottom), (left, right) = border_sizes(one, (values.shape[2], values.shape[3]))
    padding = top, left
    if (top, left) != (bottom, right):
        values, padding = F.pad(values, (left, right, top, bottom)), (0, 0)
    shaped = weight.reshape(outputs, -1, *kernel)
    return F.conv2d(values, shaped, bias, stride, padding, dilation, groups(one))


def _pooling(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    values, average = inputs[0], integer(one, "pooling_type") == 1
    if integer(one, "global_pooling"):
        return [values.mean((2, 3)) if average else values.amax((2, 3))]
    if integer(one, "adaptive_pooling"):
        wanted = one.int(18, one.int(8)), one.int(8)
        height, width = (size if w == -233 else w for size, w in zip(values.shape[2:], wanted, strict=True))
        return [(F.adaptive_avg_pool2d if average else F.adaptive_max_pool2d)(values, (height, width))]
    kernel, stride = (one.int(11, one.int(1)), one.int(1)), (one.int(12, one.int(2, 1)), one.int(2, 1))
    sides = [integer(one, f"pad_{side}") for side in ("left", "right", "top", "bottom")]
    if integer(one, "pad_mode") > 1:
        raise unknown(one, f"fine-tuning knows no pooling with pad_mode {integer(one, 'pad_mode')}")
    if integer(one, "pad_mode") == 0:  # the last window that begins inside counts, on what it has
        for axis, side in ((3, 1), (2, 3)):
            over = (values.shape[axis] + sides[side - 1] + sides[side] - kernel[axis - 2]) % stride[axis - 2]
            sides[side] += stride[axis - 2] - over if over else 0
    if not average:
        return [F.max_pool2d(F.pad(values, sides, value=-inf), kernel, stride)]
    total = F.avg_pool2d(F.pad(values, sides), kernel, stride)
    if integer(one, "avgpool_count_include_pad") or not any(sides):
        return [total]
    return [total / F.avg_pool2d(F.pad(torch.ones_like(values[:1, :1]), sides), kernel, stride)]


def _binary(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    operation = integer(one, "op_type")
    if operation not in _OPERATIONS:
        raise unknown(one, f"fine-tuning knows no BinaryOp with op_type {operation}")
    if integer(one, "with_scalar"):
        return [_OPERATIONS[operation](inputs[0], float(one.params.get(2, 0)))]
    rank = max(values.ndim for values in inputs)
    a, b = (values.reshape(*values.shape, *[1] * (rank - values.ndim)) for values in inputs)
    return [_OPERATIONS[operation](a, b)]


def _slice(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    axis, count = _axis(one, inputs[0], 1), len(one.outputs)
    size, at, ends = inputs[0].shape[axis], 0, []
    if indices := one.floats(2):
        ends = [int(v) % size for v in indices[: count - 1]]
    else:
        for i, length in enumerate(one.floats(0)):
            at += (size - at) // (count - i) if length == -233 else int(length)
            ends.append(at)
    return list(torch.tensor_split(inputs[0], ends[: count - 1], axis))


def _shuffle(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    values, count = inputs[0], one.int(0, 1)
    count = values.shape[1] // count if one.int(1) else count
    return [values.unflatten(1, (count, -1)).transpose(1, 2).reshape(values.shape)]


def _padding(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    if one.int(4) or one.int(6) or one.int(7) or one.int(8) or inputs[0].ndim != 4:
        raise unknown(one, "fine-tuning knows only Padding of rows and columns with one constant")
    return [F.pad(inputs[0], (one.int(2), one.int(3), one.int(0), one.int(1)), value=float(one.params.get(5, 0)))]


def _reshape(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    sizes = [one.int(key, -233) for key in (2, 1, 0)]  # channels, height, width; those that are there
    shape = [size for size in sizes if size != -233]
    if any(key in one.params for key in (3, 6, 11)) or 0 in shape:
        raise unknown(one, "fine-tuning knows only Reshape to constant sizes")
    return [inputs[0].reshape(inputs[0].shape[0], *shape)]


def _axis(one: Layer, values: Tensor, key: int) -> int:
    """An axis of an image as one of the batch."""
    axis = one.int(key)
    return axis + 1 if axis >= 0 else axis % values.ndim


def _clip(one: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [torch.clamp(inputs[0], number(one, "min"), number(one, "max"))]


def _each(function: Callable[[Layer, Tensor], Tensor]) -> Callable[[Layer, Sequence[Tensor]], list[Tensor]]:
    """A layer of one input and one output."""
    return lambda one, inputs: [function(one, inputs[0])]


def _parameter(one: Layer, key: int, default: float) -> float:
    return float(one.params.get(key, default))


def _hard_sigmoid(one: Layer, values: Tensor) -> Tensor:
    return torch.clamp(values * _parameter(one, 0, 0.2) + _parameter(one, 1, 0.5), 0, 1)


LAYERS: dict[str, Callable[[Layer, Sequence[Tensor]], list[Tensor]]] = {
    "BinaryOp": _binary,
    "Clip": _clip,
    "Concat": lambda one, inputs: [torch.cat(list(inputs), _axis(one, inputs[0], 0))],
    "Dropout": _each(lambda one, v: v * _parameter(one, 0, 1.0)),
    "Flatten": _each(lambda _, v: v.flatten(1)),
    "HardSigmoid": _each(_hard_sigmoid),
    "HardSwish": _each(lambda one, v: v * _hard_sigmoid(one, v)),
    "Mish": _each(lambda _, v: F.mish(v)),
    "Noop": lambda _, inputs: list(inputs),
    "Padding": _padding,
    "Pooling": _pooling,
    "ReLU": _each(lambda one, v: F.leaky_relu(v, number(one, "slope")) if number(one, "slope") else F.relu(v)),
    "Reshape": _reshape,
    "ShuffleChannel": _shuffle,
    "Sigmoid": _each(lambda _, v: torch.sigmoid(v)),
    "Slice": _slice,
    "Split": lambda one, inputs: [inputs[0]] * len(one.outputs),
    "Swish": _each(lambda _, v: F.silu(v)),
}
