"""Channels that reach alike, between layers, so that one scale fits all of them: the fp32 network computes the same.

A channel that reaches little has few of the integers that its tensor's scale gives. So each channel is multiplied by a
factor where it is made, and the weights that read it are divided by that: ReLU, sums, Split and pooling let factors
through, so it costs nothing when the network runs. With a largest magnitude r of a channel and R of its tensor, the factor
is (R / r) ** EXPONENT, rounded to an eighth of an octave: 1 would make all channels reach alike, and move all of their
difference into the weights. Xiao et al., «SmoothQuant», ICML 2023, has the idea and the exponent for the linear layers of
transformers. What many layers read or add to has one factor a channel.

Where no activation follows (a linear bottleneck, as MobileNetV2's) and only convolutions without a border read a tensor, each
channel also moves by the middle of its range, which the biases take up: Wei et al., «Outlier Suppression+», EMNLP 2023.

Unlike equalization (octet.graph.equalize), which looks at weights alone, this looks at what images give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from octet.graph.layers import clip_range, groups, integer, is_depthwise, is_linear, pads
from octet.graph.origins import origins
from octet.graph.zero_points import add_to_bias
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net

Doubles = npt.NDArray[np.float64]
EXPONENT = 0.7
LEAST = 1e-4  # of its tensor's largest magnitude: a channel that reaches less counts as one that reaches this
STEPS = 8  # of factors in an octave


@dataclass
class Group:
    """Tensors whose channels have the same factors, and the layers around them.

    Args:
        tensors: Those that convolutions and linear layers read, by their origins (octet.graph.origins).
        writers: The names of the layers that make them, or what is added to them.
        readers: The names of the layers whose weights read them.
        shifts: May a channel be moved, too?
    """

    tensors: list[str] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    shifts: bool = True


def channel_groups(net: Net) -> list[Group]:
    """Where factors can go: every tensor that a layer with weights reads and that nothing else holds in place."""
    origin, (same, fixed, moved) = origins(net), _tied(net)
    held, result = {same.first(blob) for blob in fixed}, dict[str, Group]()
    for layer in net.layers:
        for blob in (*layer.inputs, *layer.outputs) if layer.type != "Split" else ():
            first = same.first(origin[blob])
            if first in held:
                continue
            group = result.setdefault(first, Group())
            group.shifts = group.shifts and origin[blob] in moved
            if not is_linear(layer):
                continue
            if blob in layer.outputs:
                group.writers.append(layer.name)
                continue
            group.readers.append(layer.name)
            group.tensors += [origin[blob]] if origin[blob] not in group.tensors else []
            group.shifts = group.shifts and layer.type == "Convolution" and not pads(layer)
    outputs_of = {layer.name: integer(layer, "num_output") for layer in net.layers if is_linear(layer)}
    return [
        group
        for group in result.values()
        if group.tensors and len({outputs_of[name] for name in group.writers}) == 1  # not where a sum repeats channels
    ]


def _tied(net: Net) -> tuple[_Sets, set[str], set[str]]:
    """Which blobs, by their origins, have one factor a channel; which have none; and which may move, if all with them may."""
    origin, same, fixed, moved = origins(net), _Sets(), {net.output}, set()
    for layer in net.layers:
        inputs, outputs = [origin[blob] for blob in layer.inputs], layer.outputs
        if layer.type == "Split":
            continue
        if is_linear(layer):
            fixed.update(inputs if _columns(layer) is None else [])
            fixed.update([] if _scales_rows(layer) else outputs)
            moved.update(outputs if clip_range(layer) == (-np.inf, np.inf) else [])
        elif _lets_through(layer):
            for blob in inputs:
                same.join(outputs[0], blob)
            moved.update(outputs if layer.type == "BinaryOp" else [])
        else:
            fixed.update(inputs, outputs)
    return same, fixed, moved


def balance(net: Net, low: Mapping[str, npt.NDArray[np.float32]], high: Mapping[str, npt.NDArray[np.float32]]) -> Net:
    """The network whose channels reach alike.

    Args:
        net: The fp32 network; it stays as it is.
        low: The least value of each channel on some images, fp32 of shape (channels,), by the tensor's origin.
        high: The largest.

    Returns:
        It computes the same, but for rounding in fp32.
    """
    result, origin = net.copy(), origins(net)
    layers, shift = {layer.name: layer for layer in result.layers}, dict[str, Doubles]()
    for group in channel_groups(net):
        reaches = [_reach(low[name], high[name], group.shifts) for name in group.tensors]
        reach = np.max([values / max(float(values.max()), 1e-30) for values in reaches], axis=0)
        factor = np.exp2(np.rint(-EXPONENT * STEPS * np.log2(np.clip(reach, LEAST, 1))) / STEPS)
        for name in group.writers:
            _scale_rows(layers[name], factor)
        for name in group.readers:
            _scale_columns(layers[name], factor)
        if group.shifts:
            shift |= {name: factor * (low[name].astype(np.float64) + high[name]) / 2 for name in group.tensors}
    _shift(result, origin, shift)
    return result


def _shift(net: Net, origin: Mapping[str, str], shift: dict[str, Doubles]) -> None:
    """Subtracts from tensors, by their origins, in place: from the bias of what makes them; sums pass theirs on."""
    producers, consumers = net.producers(), net.consumers()
    for layer in net.layers:
        if layer.type == "BinaryOp":
            output, inputs = layer.outputs[0], [origin[blob] for blob in layer.inputs]
            if output not in shift and not any(blob in shift for blob in inputs):
                continue
            rest = shift.get(output, 0.0) - sum(shift.get(blob, np.zeros(1)) for blob in inputs)
            free = [
                producers[blob]
                for blob in inputs
                if is_linear(producers[blob]) and blob not in shift and len(consumers[blob]) == 1
            ]
            if free:
                add_to_bias(free[0], -rest)
            else:  # nothing whose bias is free: the sum has what its operands have
                shift[output] = np.asarray(sum(shift.get(blob, np.zeros(1)) for blob in inputs))
        elif is_linear(layer):
            if layer.outputs[0] in shift:
                add_to_bias(layer, -shift[layer.outputs[0]])
            if origin[layer.inputs[0]] in shift:
                columns = _columns(layer)
                assert columns is not None, "channel_groups takes no other readers"
                add_to_bias(layer, np.einsum("ocw,c->o", columns.astype(np.float64), shift[origin[layer.inputs[0]]]))


def _reach(low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], centred: bool) -> Doubles:
    a, b = low.astype(np.float64), high.astype(np.float64)
    return (b - a) / 2 if centred else np.maximum(np.abs(a), np.abs(b))


def _scale_rows(layer: Layer, factor: Doubles) -> None:
    for role in ("weight", "bias"):
        tensor = layer.weights.get(role)
        if tensor is not None:
            rows = tensor.data.reshape(len(factor), -1) * factor[:, None]
            layer.weights[role] = Tensor(rows.reshape(-1).astype(np.float32), tensor.tag, tensor.padding)


def _scale_columns(layer: Layer, factor: Doubles) -> None:
    columns, tensor = _columns(layer), layer.weights["weight"]
    assert columns is not None, "channel_groups takes no other readers"
    scaled = columns / (factor[:, None, None] if groups(layer) > 1 else factor[None, :, None])
    layer.weights["weight"] = Tensor(scaled.reshape(-1).astype(np.float32), tensor.tag, tensor.padding)


def _columns(layer: Layer) -> npt.NDArray[np.float32] | None:
    """The weights by input channel, (outputs, channels, weights), depthwise (channels, 1, weights); None where mixed up."""
    data, outputs = layer.weights["weight"].data, integer(layer, "num_output")
    if data.dtype != np.float32 or (groups(layer) > 1 and not is_depthwise(layer)):
        return None
    if groups(layer) > 1 or layer.type == "InnerProduct":
        return data.reshape(outputs, 1, -1) if groups(layer) > 1 else data.reshape(outputs, -1, 1)
    area = integer(layer, "kernel_w") * integer(layer, "kernel_h")
    return data.reshape(outputs, -1, area)


def _scales_rows(layer: Layer) -> bool:
    """Do factors of its outputs come through its activation, none or ReLU? Those of ReLU6 do not."""
    plain = layer.weights["weight"].data.dtype == np.float32 and layer.type != "InnerProduct"
    return (
        plain and (groups(layer) == 1 or is_depthwise(layer)) and clip_range(layer) in ((-np.inf, np.inf), (0, np.inf))
    )


def _lets_through(layer: Layer) -> bool:
    if layer.type == "BinaryOp":
        plain = integer(layer, "op_type") == 0 and not integer(layer, "with_scalar")
        return plain and len(set(layer.inputs)) == 2
    return layer.type == "Pooling" or (layer.type in ("ReLU", "Clip") and clip_range(layer) == (0, np.inf))


class _Sets:
    """Blobs that belong together."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}

    def first(self, blob: str) -> str:
        """What stands for all that belong to this one."""
        while blob in self._before:
            blob = self._before[blob]
        return blob

    def join(self, a: str, b: str) -> None:
        first, second = self.first(a), self.first(b)
        if first != second:
            self._before[first] = second
