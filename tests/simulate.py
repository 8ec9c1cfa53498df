"""A reference of ncnn's arithmetic, int8 and fp32, in numpy: what the engine ought to compute, layer by layer.

    blobs = run(net, image)                  # every blob by name; requantized ones are int8 arrays
    outputs = layer(net.layers[3], inputs)   # one layer alone

Written from ncnn's plain C++ layers (src/layer/quantize.cpp, convolution.cpp and convolutiondepthwise.cpp
forward_int8, innerproduct.cpp, fused_activation.h, pooling.cpp); the fp32 layers are summed in double precision.
Arrays are (C, H, W) or, after global pooling and flattening, (N,).

ncnn's x86 kernels (src/layer/x86, 2026) are not its plain C++ in these points:
- Dequantize and Requantize multiply and add the bias in one rounding (FMA), exp and log are approximations: a last bit
  here, and so one integer step where a requantized value lies on .5.
- Rounding to int8 is trunc(x + 0.5) in fp32 in vector code, round(x) in what is left over: they differ at 0.49999997.
- ConvolutionDepthWise with packing and channels in multiples of 8 takes 1/(input scale * weight scale) from rcpps
  (_mm_rcp_ps, convolutiondepthwise_x86.cpp): a relative error of up to 1.5 * 2**-12, not the same from AMD and Intel.
- ConvolutionDepthWise with packing, 1 < groups < channels, a multiple of 8 outputs a group and fp32 output is wrong where
  ncnn is built for AVX: the convolution of a group chooses a packing of 8 or 16 for its output where forward_int8_x86
  made room for 4, so ncnn allocates anew and what the layer returns is memory that nothing wrote. Requantized to int8,
  in fp32, without packing, or with 4 or 12 outputs a group it is right.
- ConvolutionDepthWise 3x3 without packing, fp32 output, does not test for a weight scale of 0: 0 * inf.
- Winograd F(4,3) (convolution_3x3_winograd_int8.h) is exact integer arithmetic up to its division of 576 * sum, done in
  fp32 and truncated: exact for |sum| up to 2**24 / 9 = 1,864,135, then one less for some, and 576 * sum leaves 32 bits
  beyond 3,728,270. Whether a layer gets there depends on its sums, and 6-bit weights are no guarantee: with all
  values at their limits 8 bits last for 12 input channels, 6 bits for 52 (without wrapping: 25 and 105). It also runs
  inside a ConvolutionDepthWise of 1 < groups < channels, as each group is a Convolution; layer parameter 31 reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from octet.core.errors import OctetError
from octet.graph.windows import windows
from octet.ncnn.engine import Engine
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net

_ADD, _SUBTRACT, _MULTIPLY, _DIVIDE, _MAX, _MIN = range(6)
_OPERATIONS = {
    _ADD: np.add,
    _SUBTRACT: np.subtract,
    _MULTIPLY: np.multiply,
    _DIVIDE: np.divide,
    _MAX: np.maximum,
    _MIN: np.minimum,
}


def run(net: Net, image: np.ndarray) -> dict[str, np.ndarray]:
    """All blobs of one image, fp32 of shape (C, H, W), by their names."""
    blobs: dict[str, np.ndarray] = {}
    for one in net.layers:
        inputs = [image] if one.type == "Input" else [blobs[name] for name in one.inputs]
        blobs.update(zip(one.outputs, layer(one, inputs), strict=True))
    return blobs


def layer(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of one layer. Raises OctetError for a layer type or parameter that the simulator does not know."""
    if one.type not in LAYERS:
        raise OctetError(f"layer {one.name}: the simulator knows no {one.type}; known: {', '.join(sorted(LAYERS))}")
    return LAYERS[one.type](one, inputs)


def takes_rcpps(one: Layer, packing: bool) -> bool:
    """Does ncnn on x86 take the approximate reciprocal for this layer (see above)?"""
    depthwise = one.type == "ConvolutionDepthWise" and one.int(7) == one.int(0)
    return packing and depthwise and one.int(8) > 0 and one.int(0) % 8 == 0


def rcpps_errors(one: Layer) -> np.ndarray:
    """The relative errors of the reciprocals that this machine takes for such a layer, fp64 by channel.

    Measured: a layer with the same scales whose sums are all 1 gives the reciprocals themselves.
    """
    count, scales = one.int(0), one.weights["weight_scales"].data
    ones = Layer("ConvolutionDepthWise", one.name, ["in0"], ["out0"])
    ones.params = {0: str(count), 1: "1", 6: str(count), 7: str(count), 8: "1"}
    ones.weights = dict(one.weights) | {"weight": Tensor(np.ones(count, np.int8), TAG_INT8)}
    for role in ("bias", "output_scale"):
        ones.weights.pop(role, None)
    input_scale = one.weights["input_scale"].data[0]
    image = np.full((count, 4, 4), 1 / input_scale, np.float32)
    engine = Engine.of(Net([Layer("Input", "in0", [], ["in0"]), ones]))
    reciprocals = np.array(next(engine.blobs(image, ["out0"])))[:, 0, 0].astype(np.float64)
    return reciprocals * (input_scale * scales).astype(np.float64) - 1


def quantize(values: np.ndarray, scale: np.ndarray | np.float32) -> np.ndarray:
    """fp32 to int8: half away from zero, clamped to -127..127."""
    exact = (values * scale).astype(np.float64)  # the product rounds to fp32, adding 0.5 must not round
    return np.clip(np.trunc(exact + np.copysign(0.5, exact)), -127, 127).astype(np.int8)


def activate(one: Layer, values: np.ndarray) -> np.ndarray:
    """The activation that is fused into a layer (parameters 9 and 10), fp32 in and out."""
    kind, extra = one.int(9), [np.float32(v) for v in one.floats(10)]
    if kind == 0:
        return values
    if kind == 1:
        return np.maximum(values, np.float32(0))
    if kind == 2:
        return np.where(values > 0, values, values * extra[0])
    if kind == 3:
        return np.clip(values, extra[0], extra[1])
    if kind == 4:
        return _sigmoid(values)
    if kind == 5:
        return _mish(values)
    if kind == 6:
        return _hard_swish(values, *extra)
    raise OctetError(f"layer {one.name}: the simulator knows no activation 9={kind}; known: 0 to 6")


def _sigmoid(values: np.ndarray) -> np.ndarray:
    bound = 88.3762626647949
    return (1 / (1 + np.exp(-np.clip(values.astype(np.float64), -bound, bound)))).astype(np.float32)


def _mish(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float64)
    return (wide * np.tanh(np.logaddexp(0, wide))).astype(np.float32)


def _hard_swish(values: np.ndarray, alpha: np.float32, beta: np.float32) -> np.ndarray:
    return values * np.clip(values * alpha + beta, np.float32(0), np.float32(1))


def _convolution(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    groups = one.int(7, 1) if one.type == "ConvolutionDepthWise" else 1
    values = inputs[0]
    if one.int(19) or values.ndim != 3:
        raise OctetError(
            f"layer {one.name}: the simulator knows convolutions of (C, H, W) with weights of their own only"
        )
    if one.int(8) and values.dtype != np.int8:
        values = quantize(values, one.weights["input_scale"].data[0])
    border = _number(one, 18).astype(np.int16).astype(values.dtype) if values.dtype == np.int8 else _number(one, 18)
    reached = windows(one, values, border)

    def sums(weight: np.ndarray) -> np.ndarray:
        out = reached.shape[1:3]
        columns = reached.transpose(0, 3, 4, 1, 2).reshape(groups, -1, out[0] * out[1]).astype(np.float64)
        return (weight.reshape(groups, one.int(0) // groups, -1) @ columns).reshape(one.int(0), *out)

    return [_weighted(one, one.int(0), groups if one.type == "ConvolutionDepthWise" else one.int(0), sums)]


def _inner_product(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    values, outputs = inputs[0], one.int(0)
    count = one.int(2) // outputs
    if one.int(8) and values.dtype != np.int8:
        values = quantize(values, one.weights["input_scale"].data[0])
    rows = values if values.ndim == 2 and values.shape[1] == count else values.reshape(1, -1)
    result = _weighted(one, outputs, outputs, lambda weight: weight.reshape(outputs, -1) @ rows.T.astype(np.float64))
    return [result.T if rows is values else result.reshape(-1)]


def _weighted(one: Layer, outputs: int, scales: int, sums: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What follows the multiplications. Sums come as doubles of shape (outputs, …), exact where they are integers
    (below 2**53; ncnn's 32 bits hold those of 133,143 products). scales: how many weight scales there are."""
    weight = one.weights["weight"]

    def per_channel(data: np.ndarray, total: np.ndarray) -> np.ndarray:
        return np.repeat(data, outputs // data.size).reshape(-1, *[1] * (total.ndim - 1))

    if not one.int(8):
        total = sums(weight.data.astype(np.float64))
        if "bias" in one.weights:
            total = total + per_channel(one.weights["bias"].data, total)
        return activate(one, total.astype(np.float32))
    factors = np.broadcast_to(one.weights["weight_scales"].data, scales)
    integers = weight.data
    if weight.tag != TAG_INT8:  # ncnn quantizes them when it loads the model
        integers = quantize(integers.astype(np.float32).reshape(scales, -1), factors[:, None]).reshape(-1)
    total = sums(integers.astype(np.float64)).astype(np.float32)
    product = one.weights["input_scale"].data[0] * factors
    back = np.divide(np.float32(1), product, out=np.zeros(scales, np.float32), where=factors != 0)
    values = total * per_channel(back, total)
    if "bias" in one.weights:
        values = values + per_channel(one.weights["bias"].data, total)
    values = activate(one, values)
    return quantize(values, one.weights["output_scale"].data[0]) if one.int(8) > 100 else values


def _pooling(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    values, average = inputs[0], one.int(0) == 1
    reduce = (lambda v, axis: v.astype(np.float64).mean(axis).astype(np.float32)) if average else np.max
    if one.int(4):
        return [reduce(values, axis=(1, 2))]
    if one.int(7):
        edges = []
        for size, wanted in zip(values.shape[1:], (one.int(18, one.int(8)), one.int(8)), strict=True):
            wanted = size if wanted == -233 else wanted
            edges.append([(size * i // wanted, -(-size * (i + 1) // wanted)) for i in range(wanted)])
        rows = [[reduce(values[:, a:b, c:d], axis=(1, 2)) for c, d in edges[1]] for a, b in edges[0]]
        return [np.moveaxis(np.array(rows, np.float32), 2, 0)]
    kernel, stride = (one.int(11, one.int(1)), one.int(1)), (one.int(12, one.int(2, 1)), one.int(2, 1))
    left, top, mode = one.int(3), one.int(13, one.int(3)), one.int(5)
    sides = [(0, 0), (top, one.int(15, top)), (left, one.int(14, left))]
    if mode > 1:
        raise OctetError(f"layer {one.name}: the simulator knows no pooling with 5={mode}; known: 0 and 1")
    border = list(sides)
    for axis in (1, 2) if mode == 0 else ():  # full: the last window that begins inside counts, on what it has
        over = (values.shape[axis] + sum(sides[axis]) - kernel[axis - 1]) % stride[axis - 1]
        border[axis] = (sides[axis][0], sides[axis][1] + (stride[axis - 1] - over if over else 0))

    def windows(array: np.ndarray, filler: float) -> np.ndarray:
        bordered = np.pad(array, border, constant_values=filler)
        return sliding_window_view(bordered, kernel, axis=(1, 2))[:, :: stride[0], :: stride[1]]

    if not average:
        return [windows(values, -np.finfo(np.float32).max).max(axis=(3, 4))]
    total = windows(values.astype(np.float64), 0).sum(axis=(3, 4))
    inside = windows(np.ones_like(values, np.float64), 1.0 if one.int(6) else 0.0).sum(axis=(3, 4))
    return [(total / inside).astype(np.float32)]


def _binary(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    if one.int(0) not in _OPERATIONS:
        raise OctetError(f"layer {one.name}: the simulator knows no BinaryOp 0={one.int(0)}; known: 0 to 5")
    a, b = (inputs[0], _number(one, 2)) if one.int(1) else inputs
    if np.ndim(b) and a.ndim != b.ndim:  # the one of fewer axes lies along the channels
        rank = max(a.ndim, b.ndim)
        a, b = (v.reshape(*v.shape, *[1] * (rank - v.ndim)) for v in (a, b))
    return [_OPERATIONS[one.int(0)](a, b)]


def _slice(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    axis, parts = one.int(1), len(one.outputs)
    size, at, ends = inputs[0].shape[axis], 0, []
    if indices := one.floats(2):
        ends = [int(v) % size for v in indices[: parts - 1]]
    else:
        for i, length in enumerate(one.floats(0)):
            at += (size - at) // (parts - i) if length == -233 else int(length)
            ends.append(at)
    return np.split(inputs[0], ends[: parts - 1], axis)


def _shuffle(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    values, groups = inputs[0], one.int(0, 1)
    groups = len(values) // groups if one.int(1) else groups
    return [values.reshape(groups, -1, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)]


def _softmax(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    axis = one.int(0)
    wide = np.exp(inputs[0].astype(np.float64) - inputs[0].max(axis, keepdims=True))
    return [(wide / wide.sum(axis, keepdims=True)).astype(np.float32)]


def _padding(one: Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    if one.int(4) or one.int(6) or inputs[0].ndim != 3:
        raise OctetError(f"layer {one.name}: the simulator knows only Padding of (C, H, W) with one constant")
    sides = [(one.int(7), one.int(8)), (one.int(0), one.int(1)), (one.int(2), one.int(3))]
    return [np.pad(inputs[0], sides, constant_values=_number(one, 5))]


def _number(one: Layer, key: int, default: float = 0.0) -> np.float32:
    """A parameter that is a fraction, or ncnn's default for it."""
    return np.float32(one.params.get(key, default))


def _each(function: Callable[[Layer, np.ndarray], np.ndarray]) -> Callable:
    """A layer of one input and one output."""
    return lambda one, inputs: [function(one, inputs[0])]


_LARGEST = float(np.finfo(np.float32).max)
LAYERS: dict[str, Callable[[Layer, Sequence[np.ndarray]], list[np.ndarray]]] = {
    "BinaryOp": _binary,
    "Clip": _each(lambda one, v: np.clip(v, _number(one, 0, -_LARGEST), _number(one, 1, _LARGEST))),
    "Concat": lambda one, inputs: [np.concatenate(inputs, one.int(0))],
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Dropout": _each(lambda one, v: v * _number(one, 0, 1.0)),
    "Flatten": _each(lambda one, v: v.reshape(-1)),
    "HardSigmoid": _each(lambda one, v: np.clip(v * _number(one, 0, 0.2) + _number(one, 1, 0.5), *np.float32([0, 1]))),
    "HardSwish": _each(lambda one, v: _hard_swish(v, _number(one, 0, 0.2), _number(one, 1, 0.5))),
    "InnerProduct": _inner_product,
    "Input": _each(lambda one, v: v),
    "Mish": _each(lambda one, v: _mish(v)),
    "Noop": lambda one, inputs: list(inputs),
    "Padding": _padding,
    "Pooling": _pooling,
    "ReLU": _each(lambda one, v: np.where(v > 0, v, v * _number(one, 0))),
    "ShuffleChannel": _shuffle,
    "Sigmoid": _each(lambda one, v: _sigmoid(v)),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": lambda one, inputs: [inputs[0]] * len(one.outputs),
    "Swish": _each(lambda one, v: v * _sigmoid(v)),
}
