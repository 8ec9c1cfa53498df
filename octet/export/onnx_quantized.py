"""A model trained with fake quantization (QuantizeLinear and DequantizeLinear): the fp32 network underneath, and its scales.

A pair behind a tensor goes away; a weight is what its integers stand for. Where a pair cuts off what is negative, it may be all
that is left of a ReLU, which quantizers take out: the network gets it back, unless what comes before is never negative; a ReLU6,
where the largest integer stands for 6. OpenVINO's FakeQuantize, which MMRazor and NNCF write, is both of a pair in one.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from octet.core.errors import OctetError
from octet.core.text import printable
from octet.core.trained_scales import Grid, TrainedScales, weights_sha256
from octet.export.onnx_affine import affines
from octet.export.onnx_constants import PAIR, Array, constants, with_constants
from octet.export.onnx_fake_quantize import fake_quantized, is_fake_quantize
from octet.export.onnx_integers import Quantized, Steps, along, cast_to, check_same, integers_of
from octet.export.onnx_opset import Model, opset

_LAYERS = ("Conv", "Gemm", "MatMul")
_NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax")
# What they give are values that they read.
_MOVING = (
    "MaxPool",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Dropout",
)
# What they give is never negative where what they read is not: the first of it, or all of it.
_ONE = (*_MOVING, "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean")
_SEVERAL = ("Concat", "Add", "Mul")
_CLIP = 11  # the opset from which on Clip reads its limits
_LARGEST = 128  # of an integer of 8 bits


@dataclass
class _Reader:
    """Takes the pairs out of a model, one node after the other, in the graph's order."""

    path: str
    constants: dict[str, Array]
    quantized: dict[str, Quantized] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # what a DequantizeLinear gives: the tensor underneath
    grids: dict[str, Grid] = field(default_factory=dict)  # by what a DequantizeLinear gives
    weights: dict[str, Steps] = field(default_factory=dict)  # by the same
    floats: dict[str, Array] = field(default_factory=dict)  # new constants
    positive: set[str] = field(default_factory=set)  # tensors that are never negative
    nodes: list[Any] = field(default_factory=list)
    layers: list[tuple[Any, str]] = field(default_factory=list)  # and what they read in the file
    tops: dict[str, set[float]] = field(
        default_factory=dict
    )  # what pairs behind a tensor that is never negative cut off above
    plain: set[str] = field(default_factory=set)  # what is read without a pair

    def node(self, node: Any) -> None:
        """Takes in one node."""
        first = node.input[0] if node.input else ""
        if node.op_type == "QuantizeLinear":
            self.quantized[node.output[0]] = integers_of(
                node, self.renamed.get(first, first), self.constants, self.path
            )
        elif node.op_type == "Clip" and first in self.quantized:  # torch's, for -127 to 127
            before = self.quantized[first]
            low, high = (self.constants.get(name) for name in [*node.input[1:], "", ""][:2])
            least, most = before.low if low is None else int(low), before.high if high is None else int(high)
            self.quantized[node.output[0]] = replace(before, low=least, high=most)
        elif node.op_type == "Cast" and first in self.quantized and cast_to(node) == self.quantized[first].kind:
            self.quantized[node.output[0]] = self.quantized[first]  # torch's, of a converted model
        elif is_fake_quantize(node):
            self._take_out(
                node.output[0], fake_quantized(node, self.renamed.get(first, first), self.constants, self.path)
            )
        elif node.op_type == "DequantizeLinear":
            self._dequantize(node, first)
        else:
            self._plain(node)

    def _dequantize(self, node: Any, source: str) -> None:
        output = node.output[0]
        if source in self.constants:
            grid = integers_of(node, source, self.constants, self.path)
            self._weight(output, grid, self.constants[source].astype(np.int64))
            return
        if source not in self.quantized:
            raise OctetError(
                f"{self.path}: an operator computes with integers (what DequantizeLinear {printable(node.name)!r} reads); Octet "
                "takes scales over where a QuantizeLinear stands right before it. Give it the fp32 model instead"
            )
        grid = self.quantized[source]
        check_same(node, grid, integers_of(node, grid.tensor, self.constants, self.path), self.path)
        self._take_out(output, grid)

    def _take_out(self, output: str, grid: Quantized) -> None:
        """Takes out a pair: what it gives is the tensor underneath, or a weight."""
        if grid.tensor in self.constants:
            weight = self.constants[grid.tensor].astype(np.float32)
            steps, zero = (along(values, grid.axis, weight.ndim) for values in (grid.scale, grid.zero_point))
            integers = np.rint(weight / steps).astype(np.int64) + zero
            self._weight(output, grid, integers.clip(grid.low, grid.high))
            return
        self.renamed[output] = grid.tensor
        positive = grid.tensor in self.positive
        cut = positive | (grid.zero_point <= grid.low)  # where what is negative is never used
        if cut.any() and not cut.all():
            raise OctetError(
                f"{self.path}: the QuantizeLinear of {printable(grid.tensor)!r} cuts off what is negative in some channels and not "
                "in others, as a ReLU of these channels alone, which Octet does not build. Train with one scale for this tensor"
            )
        tops = np.unique((grid.high - grid.zero_point) * grid.scale)
        if cut.all() and not positive:
            self.renamed[output] = self._activation(grid.tensor, tops)
        if grid.scale.size > 1:
            self.plain.add(self.renamed[output])  # which ends nowhere: each channel's steps do elsewhere
            return
        of_0 = int(grid.zero_point.reshape(-1)[0])
        own = Grid(float(grid.scale.reshape(-1)[0]), of_0, max(grid.low, of_0) if positive else grid.low, grid.high)
        self.grids[output] = own
        if own.low == of_0:
            self.tops.setdefault(self.renamed[output], set()).add(own.range[1])

    def _activation(self, tensor: str, tops: Array) -> str:
        """A ReLU or ReLU6 behind a tensor, in the place of a pair that cuts off what is negative. tops: its largest values."""
        output = f"{tensor}/octet_relu"
        if output in self.positive:
            return output
        self.positive.add(output)
        if (np.abs(tops - 6) < 1e-4).all():
            ends = {f"{output}/0": np.float32(0), f"{output}/6": np.float32(6)}
            self.floats |= {name: np.array(value, np.float32) for name, value in ends.items()}
            self.nodes.append(helper.make_node("Clip", [tensor, *ends], [output], output))
        else:
            self.nodes.append(helper.make_node("Relu", [tensor], [output], output))
        return output

    def _weight(self, output: str, grid: Quantized, integers: Array) -> None:
        steps, zero = (along(values, grid.axis, integers.ndim) for values in (grid.scale, grid.zero_point))
        self.floats[output] = ((integers - zero).astype(np.float32) * steps).astype(np.float32)
        largest = int(np.abs(integers).max(initial=0))
        if not grid.zero_point.any() and largest <= _LARGEST and integers.ndim:
            self.weights[output] = Steps(grid.scale.reshape(-1), grid.axis % integers.ndim, largest)

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
        if node.op_type == "Transpose" and read[0] in self.floats:
            self._transpose(node, read[0])
            return
        self.nodes.append(new)
        self.plain.update(read)
        if node.op_type in _LAYERS and len(read) > 1 and read[1] in self.floats:
            self.layers.append((new, read[0]))
        if node.op_type in (*_MOVING, "Relu") and (grid := self.grids.get(read[0])):
            low = grid.zero_point if node.op_type == "Relu" else grid.low
            self.grids[node.output[0]] = replace(grid, low=max(grid.low, low))
        if self._is_never_negative(new):
            self.positive.update(node.output)

    def _transpose(self, node: Any, name: str) -> None:
        """A weight with its axes in another order."""
        values, output = self.floats[name], node.output[0]
        axes = next((list(item.ints) for item in node.attribute if item.name == "perm"), [*range(values.ndim)][::-1])
        self.floats[output] = values.transpose(axes)
        if (steps := self.weights.get(name)) is not None:
            self.weights[output] = replace(steps, axis=axes.index(steps.axis))

    def _is_never_negative(self, node: Any) -> bool:
        """Is what a node gives never negative?"""
        sources = [name for name in node.input if name]
        if node.op_type == "Clip" and len(sources) > 1:
            least = self.floats.get(node.input[1], self.constants.get(node.input[1]))
            return least is not None and float(least) >= 0
        tensors = sources[:1] if node.op_type in _ONE else sources
        return node.op_type in _NEVER_NEGATIVE or (node.op_type in (*_ONE, *_SEVERAL) and set(tensors) <= self.positive)

    def saturate(self, ends: set[str]) -> None:
        """A ReLU, also one with an upper limit, ends where all do that read it. ends: the tensors that the network gives."""
        for node in self.nodes:
            tops = self.tops.get(node.output[0], set())
            if node.op_type not in ("Relu", "Clip") or len(tops) != 1 or node.output[0] in self.plain | ends:
                continue
            (top,) = tops
            known = ChainMap(self.floats, self.constants)
            if node.op_type == "Clip" and (
                len(node.input) < 3 or not float(known.get(node.input[2], np.float32(0))) > top
            ):
                continue
            names = [f"{node.output[0]}/octet_{end}" for end in ("low", "high")]
            self.floats |= dict(zip(names, np.array([0, top], np.float32), strict=True))
            node.op_type = "Clip"
            del node.input[1:]
            node.input.extend(names)

    def take_in(self, ends: set[str]) -> None:
        """What multiplies and adds one number a channel behind a convolution becomes part of it. ends: what the network gives."""
        convolutions = [node for node, _ in self.layers if node.op_type == "Conv"]
        known = ChainMap(self.floats, self.constants)
        behind, self.nodes = affines(self.nodes, convolutions, known, ends)
        for node, whole in behind:
            names = [f"{node.output[0]}/octet_weight", f"{node.output[0]}/octet_bias"]
            if (steps := self.weights.get(node.input[1])) is not None and (steps.values.size == 1 or steps.axis == 0):
                self.weights[names[0]] = replace(steps, values=steps.values * whole.of_steps, axis=0)
            self.floats |= dict(zip(names, whole.of_layer(node, known), strict=True))
            del node.input[1:]
            node.input.extend(names)

    def scales(self) -> list[TrainedScales]:
        """Those of all layers."""
        return [one for node, source in self.layers if (one := self._scales(node, source)) is not None]

    def _scales(self, node: Any, source: str) -> TrainedScales | None:
        """Those of one layer; None where its weights are no matrix."""
        weight = self.floats[node.input[1]]
        by_rows = node.op_type == "Conv" or any(item.name == "transB" and item.i for item in node.attribute)
        if node.op_type != "Conv" and weight.ndim != 2:
            return None
        rows = weight.reshape(len(weight), -1) if by_rows else weight.T
        steps = self.weights.get(node.input[1])
        if steps and steps.values.size > 1 and (steps.axis == 0) != by_rows:
            steps = None
        values = [float(step) for step in steps.values] if steps else None
        return TrainedScales(weights_sha256(rows), values, steps.largest if steps else 0, self.grids.get(source))


def is_quantized(model: Model) -> bool:
    """Has it one of these operators?"""
    return any(node.op_type in PAIR or is_fake_quantize(node) for node in model.graph.node)


def underneath(model: Model, path: str) -> tuple[Model, list[TrainedScales]]:
    """The fp32 network of a model that was trained with fake quantization, and the scales of its layers.

    Args:
        model: Whole; it stays as it is.
        path: Its file, for errors.

    Raises:
        OctetError: It computes with integers, or its scales are not constants.
    """
    model = with_constants(model, path)
    reader = _Reader(path, constants(model))
    try:
        with np.errstate(all="ignore"):  # a scale that is not finite makes weights that are not, which are named later
            for node in model.graph.node:
                reader.node(node)
            ends = {value.name for value in model.graph.output}
            ends |= {reader.renamed.get(name, name) for name in ends}
            if opset(model) >= _CLIP:
                reader.saturate(ends)
            reader.take_in(ends)
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
    for (
        node
    ) in graph.node:  # under names that no one else has who writes a model with fake quantization, as Octet itself
        node.input[:] = [f"{name}/float" if name in reader.floats else name for name in node.input]
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    floats = {f"{name}/float": values for name, values in reader.floats.items()}
    floats |= {value.name: reader.floats[value.name] for value in graph.output if value.name in reader.floats}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v, order="C"), k) for k, v in floats.items() if k in read
    )
    return result, scales
