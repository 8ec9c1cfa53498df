"""A model trained with fake quantization (QuantizeLinear and DequantizeLinear): the fp32 network underneath, and its scales.

A pair behind a tensor goes away; a weight is what its integers stand for. Where a pair cuts off what is negative, it may be all
that is left of a ReLU, which quantizers take out: the network gets it back, unless what comes before is never negative; a ReLU6,
where the largest integer stands for 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.core.trained_scales import Grid, TrainedScales, weights_sha256
from octet.export.onnx_opset import Model

PAIR = ("QuantizeLinear", "DequantizeLinear")
_LAYERS = ("Conv", "Gemm", "MatMul")
_NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax")
# What they give is never negative where what they read is not: the first of it, or all of it.
_ONE: tuple[str, ...] = (
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceMean",
    "Reshape",
    "Flatten",
    "Transpose",
)
_ONE += ("Squeeze", "Unsqueeze", "Identity", "Dropout")
_SEVERAL = ("Concat", "Add", "Mul")
_LARGEST = 128  # of an integer of 8 bits

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Quantized:
    """Integers that a QuantizeLinear gives: of which tensor, and how."""

    tensor: str
    scale: Array
    zero_point: Array
    low: int
    high: int
    axis: int


@dataclass(frozen=True)
class _Steps:
    """Of a weight, one for all or one an index of an axis; and the largest of its integers."""

    values: Array
    axis: int
    largest: int


@dataclass
class _Reader:
    """Takes the pairs out of a model, one node after the other, in the graph's order."""

    path: str
    constants: dict[str, Array]
    quantized: dict[str, _Quantized] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # what a DequantizeLinear gives: the tensor underneath
    grids: dict[str, Grid] = field(default_factory=dict)  # by what a DequantizeLinear gives
    weights: dict[str, _Steps] = field(default_factory=dict)  # by the same
    floats: dict[str, Array] = field(default_factory=dict)  # new constants
    positive: set[str] = field(default_factory=set)  # tensors that are never negative
    nodes: list[Any] = field(default_factory=list)
    layers: list[tuple[Any, list[str]]] = field(default_factory=list)  # and what they read in the file

    def node(self, node: Any) -> None:
        """Takes in one node."""
        first = node.input[0] if node.input else ""
        if node.op_type == "QuantizeLinear":
            self.quantized[node.output[0]] = self._integers(node, self.renamed.get(first, first))
        elif node.op_type == "Clip" and first in self.quantized:  # torch's, for -127 to 127
            before = self.quantized[first]
            low, high = (self.constants.get(name) for name in [*node.input[1:], "", ""][:2])
            least, most = before.low if low is None else int(low), before.high if high is None else int(high)
            self.quantized[node.output[0]] = replace(before, low=least, high=most)
        elif node.op_type == "DequantizeLinear":
            self._dequantize(node, first)
        else:
            self._plain(node)

    def _integers(self, node: Any, tensor: str) -> _Quantized:
        """What the inputs and attributes of one of the two operators say."""
        of = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        names = [*node.input, ""]
        scale = self.constants.get(names[1])
        zero = self.constants.get(names[2]) if names[2] else None
        if scale is None or (names[2] and zero is None) or of.get("block_size"):
            raise OctetError(
                f"{self.path}: {node.op_type} {printable(node.name)!r} has no constant scale and zero point, or blocks of them; "
                "Octet takes scales over that are one for a tensor or one for a channel"
            )
        zero = np.array(0, np.uint8) if zero is None else zero
        limits = np.iinfo(zero.dtype) if zero.dtype.kind in "iu" else None
        if limits is None or not np.isfinite(scale).all() or not (scale > 0).all():
            raise OctetError(
                f"{self.path}: {node.op_type} {printable(node.name)!r}: expected integers and scales above 0; "
                "export the model again"
            )
        low, high = int(limits.min), int(limits.max)
        return _Quantized(tensor, scale.astype(np.float32), zero.astype(np.int64), low, high, int(of.get("axis", 1)))

    def _dequantize(self, node: Any, source: str) -> None:
        output = node.output[0]
        if source in self.constants:
            grid = self._integers(node, source)
            self._weight(output, grid, self.constants[source].astype(np.int64))
            return
        if source not in self.quantized:
            raise OctetError(
                f"{self.path}: an operator computes with integers (what DequantizeLinear {printable(node.name)!r} reads); Octet "
                "takes scales over where a QuantizeLinear stands right before it. Give it the fp32 model instead"
            )
        grid = self.quantized[source]
        if grid.tensor in self.constants:
            steps, zero = (
                _along(values, grid.axis, self.constants[grid.tensor].ndim) for values in (grid.scale, grid.zero_point)
            )
            integers = np.rint(self.constants[grid.tensor].astype(np.float32) / steps).astype(np.int64) + zero
            self._weight(output, grid, integers.clip(grid.low, grid.high))
            return
        self.renamed[output] = grid.tensor
        if grid.scale.size > 1:
            return
        own = Grid(float(grid.scale.reshape(-1)[0]), int(grid.zero_point.reshape(-1)[0]), grid.low, grid.high)
        self.grids[output] = own
        if own.low == own.zero_point and grid.tensor not in self.positive:
            self.renamed[output] = self._activation(grid.tensor, own)

    def _activation(self, tensor: str, grid: Grid) -> str:
        """A ReLU or ReLU6 behind a tensor, in the place of the pair that cuts off what is negative."""
        output = f"{tensor}/octet_relu"
        if output in self.positive:
            return output
        self.positive.add(output)
        if abs(grid.range[1] - 6) < 1e-4:
            limits = {f"{output}/0": np.float32(0), f"{output}/6": np.float32(6)}
            self.floats |= {name: np.array(value, np.float32) for name, value in limits.items()}
            self.nodes.append(helper.make_node("Clip", [tensor, *limits], [output], output))
        else:
            self.nodes.append(helper.make_node("Relu", [tensor], [output], output))
        return output

    def _weight(self, output: str, grid: _Quantized, integers: Array) -> None:
        steps, zero = (_along(values, grid.axis, integers.ndim) for values in (grid.scale, grid.zero_point))
        self.floats[output] = ((integers - zero).astype(np.float32) * steps).astype(np.float32)
        largest = int(np.abs(integers).max(initial=0))
        if not grid.zero_point.any() and largest <= _LARGEST and integers.ndim:
            self.weights[output] = _Steps(grid.scale.reshape(-1), grid.axis % integers.ndim, largest)

    def _plain(self, node: Any) -> None:
        if integers := [name for name in node.input if name in self.quantized]:
            raise OctetError(
                f"{self.path}: {node.op_type} {printable(node.name)!r} computes with integers ({printable(integers[0])}); Octet "
                "takes scales over where a QuantizeLinear and a DequantizeLinear stand together. Give it the fp32 model instead"
            )
        read = list(node.input)
        new = onnx.NodeProto()
        new.CopyFrom(node)
        for k, name in enumerate(read):
            new.input[k] = self.renamed.get(name, name)
        if node.op_type == "Transpose" and read[0] in self.weights and self.floats[read[0]].ndim == 2:
            self.floats[node.output[0]] = self.floats[read[0]].T
            self.weights[node.output[0]] = replace(self.weights[read[0]], axis=1 - self.weights[read[0]].axis)
            return
        self.nodes.append(new)
        if node.op_type in _LAYERS and len(read) > 1 and read[1] in self.floats:
            self.layers.append((node, read))
        if self._is_never_negative(new):
            self.positive.update(node.output)

    def _is_never_negative(self, node: Any) -> bool:
        """Is what a node gives never negative?"""
        sources = [name for name in node.input if name]
        if node.op_type == "Clip" and len(sources) > 1:
            least = self.floats.get(node.input[1], self.constants.get(node.input[1]))
            return least is not None and float(least) >= 0
        tensors = sources[:1] if node.op_type in _ONE else sources
        return node.op_type in _NEVER_NEGATIVE or (node.op_type in (*_ONE, *_SEVERAL) and set(tensors) <= self.positive)

    def scales(self) -> list[TrainedScales]:
        """Those of all layers."""
        return [one for node, read in self.layers if (one := self._scales(node, read)) is not None]

    def _scales(self, node: Any, read: list[str]) -> TrainedScales | None:
        """Those of one layer; None where its weights are no matrix."""
        weight = self.floats[read[1]]
        by_rows = node.op_type == "Conv" or any(item.name == "transB" and item.i for item in node.attribute)
        if node.op_type != "Conv" and weight.ndim != 2:
            return None
        rows = weight.reshape(len(weight), -1) if by_rows else weight.T
        steps = self.weights.get(read[1])
        if steps and steps.values.size > 1 and (steps.axis == 0) != by_rows:
            steps = None
        values = [float(step) for step in steps.values] if steps else None
        return TrainedScales(weights_sha256(rows), values, steps.largest if steps else 0, self.grids.get(read[0]))


def is_quantized(model: Model) -> bool:
    """Has it one of the two operators?"""
    return any(node.op_type in PAIR for node in model.graph.node)


def underneath(model: Model, path: str) -> tuple[Model, list[TrainedScales]]:
    """The fp32 network of a model that was trained with fake quantization, and the scales of its layers.

    Args:
        model: Whole; it stays as it is.
        path: Its file, for errors.

    Raises:
        OctetError: It computes with integers, or its scales are not constants.
    """
    reader = _Reader(path, _constants(model))
    try:
        with np.errstate(all="ignore"):  # a scale that is not finite makes weights that are not, which are named later
            for node in model.graph.node:
                reader.node(node)
        scales = reader.scales()
    except (ValueError, IndexError, TypeError, KeyError, OverflowError):
        raise OctetError(
            f"{path}: a QuantizeLinear or DequantizeLinear has a scale, zero point or axis that does not fit its tensor; "
            "export the model again"
        ) from None
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.value_info[:]
    graph.node.extend(reader.nodes)
    for value in graph.output:
        if (tensor := reader.renamed.get(value.name)) is not None:
            graph.node.append(helper.make_node("Identity", [tensor], [value.name], f"{value.name}/octet_end"))
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in reader.floats.items() if k in read
    )
    return result, scales


def _constants(model: Model) -> dict[str, Array]:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value":
                constants[node.output[0]] = numpy_helper.to_array(item.t)
    return constants


def _along(values: Array, axis: int, ndim: int) -> Array:
    """One value for all, or one an index of an axis, in a shape that broadcasts."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)
