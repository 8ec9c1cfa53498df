"""The fp32 ONNX model as it is quantized: constants as arrays, batch norms folded into convolutions, layers with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.onnx_bytes import parse
from octet.core.trained_scales import TrainedScales, of_layers, read

LEAST_OPSET = 13  # the first whose QuantizeLinear has an axis, so that each channel has a scale of its own
# What a model that is valid for ONNX's checker, and that the stage export never writes, ends in.
_DAMAGED = (IndexError, KeyError, StopIteration, TypeError, ValueError)
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A node with constant weights: a convolution or a linear layer.

    Args:
        node: In the model.
        weight: As the node has it.
        bias: fp32 of shape (outputs,); None: it has none.
        axis: Which of the weight's axes is the output's.
        groups: Of a convolution's channels; each has weights of its own.
        steps: Those between two integers of each output's weights that it was trained with, fp32 of shape (outputs,); None: none.
    """

    node: onnx.NodeProto
    weight: Floats
    bias: Floats | None
    axis: int
    groups: int = 1
    steps: Floats | None = None

    @property
    def depthwise(self) -> bool:
        """Has each of its channels a convolution of its own?"""
        return self.groups > 1 and self.weight.shape[1] == 1

    @property
    def grouped_1x1(self) -> bool:
        """Is it a 1x1 convolution in groups of several channels?"""
        return self.groups > 1 and not self.depthwise and self.weight.shape[2:] == (1, 1)

    @property
    def widening(self) -> bool:
        """Is it a 1x1 convolution that gives more channels than it reads?"""
        return self.groups == 1 and self.weight.shape[2:] == (1, 1) and self.weight.shape[0] > self.weight.shape[1]

    @property
    def name(self) -> str:
        """The node's."""
        return str(self.node.name)

    @property
    def input(self) -> str:
        """The tensor that it multiplies."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """The tensor that it computes."""
        return str(self.node.output[0])

    def rows(self, weight: npt.NDArray[np.float32]) -> Floats:
        """A weight of this layer's shape by output: shape (outputs, n)."""
        return np.moveaxis(weight, self.axis, 0).reshape(weight.shape[self.axis], -1)


def check_opset(opset: int, where: str) -> None:
    """Raises OctetError where an opset is too old for a scale for each channel."""
    if opset < LEAST_OPSET:
        raise OctetError(
            f"{where}: opset {opset}, and QuantizeLinear has a scale for each channel from {LEAST_OPSET} on: set "
            f"export.opset to {LEAST_OPSET} in params.yaml, or engines to [ncnn]"
        )


def load(path: Path) -> Network:
    """The network of a file.

    Raises:
        OctetError: It is missing or damaged, or its opset is too old.
    """
    made_by = "the stage export makes it"
    problem = f"{path}: not an ONNX model, or damaged; {made_by}: run it again"
    data = read_bytes(path, made_by)
    model = parse(data, problem)
    try:
        onnx.checker.check_model(model)
        return Network(model, str(path), read(data, str(path)))
    except (onnx.checker.ValidationError, *_DAMAGED):
        raise OctetError(problem) from None


class Network:
    """A model of one input and one output, ready to be quantized; its nodes have names, and none is a Constant.

    Args:
        model: The fp32 model; it stays as it is.
        where: Names it in errors.
        scales: Those that it was trained with, of some layers.

    Raises:
        OctetError: Its opset is too old for a scale for each channel.
    """

    def __init__(self, model: onnx.ModelProto, where: str, scales: Sequence[TrainedScales] = ()):
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        check_opset(opset, where)
        self.where, self.opset = where, int(opset)
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in copy.graph.initializer}
        self.nodes = self._without_constants(list(copy.graph.node))
        self._fold_batch_norms()
        for index, node in enumerate(self.nodes):
            node.name = node.name or f"{node.op_type}_{index}"
        self.inputs = [value for value in copy.graph.input if value.name not in self.constants]
        self.outputs = list(copy.graph.output)
        self.model, self.scales = copy, list(scales)

    @property
    def input(self) -> str:
        """The tensor that an image becomes."""
        return str(self.inputs[0].name)

    @property
    def output(self) -> str:
        """The tensor of the logits."""
        return str(self.outputs[0].name)

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The layers with weights, by name, in the network's order."""
        layers = {}
        for node in self.nodes:
            if layer := self._layer(node):
                layers[layer.name] = self._with_steps(layer)
        return layers

    @cached_property
    def trained(self) -> dict[str, TrainedScales]:
        """By layer, the scales that the model was trained with, found by the layer's weights."""
        layers = filter(None, map(self._layer, self.nodes))
        return of_layers(self.scales, ((layer.name, layer.rows(layer.weight)) for layer in layers))

    @cached_property
    def floats(self) -> frozenset[str]:
        """The tensors of fp32 that the network computes or is given."""
        inferred = onnx.shape_inference.infer_shapes(self.rebuilt(self.nodes, {}), strict_mode=False).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        return frozenset(v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT)

    @cached_property
    def varying(self) -> frozenset[str]:
        """The tensors that an image changes."""
        varying = {self.input}
        for node in self.nodes:
            if not varying.isdisjoint(node.input):
                varying.update(node.output)
        return frozenset(varying)

    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each tensor."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                readers.setdefault(name, []).append(node)
        return readers

    def dynamic(self, node: onnx.NodeProto) -> list[str]:
        """What a node reads that is no constant."""
        return [name for name in node.input if name and name not in self.constants]

    def rebuilt(self, nodes: list[onnx.NodeProto], constants: dict[str, npt.NDArray[np.generic]]) -> onnx.ModelProto:
        """A model of these nodes with the network's input and output; of its constants and these those that they read."""
        every = self.constants | constants
        read = dict.fromkeys(name for node in nodes for name in node.input if name in every)
        tensors = [numpy_helper.from_array(every[name], name) for name in read]
        graph = onnx.helper.make_graph(nodes, "octet", self.inputs, self.outputs, tensors)
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import, producer_name="octet")
        model.ir_version = self.model.ir_version
        return model

    def _without_constants(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """The nodes that compute; a Constant, and an Identity of one, become constants."""
        kept = []
        for node in nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            else:
                kept.append(node)
        return kept

    def _fold_batch_norms(self) -> None:
        """A batch norm that alone reads a convolution becomes part of its weights and bias, in fp64."""
        readers, producers = self.readers(), {name: node for node in self.nodes for name in node.output}
        for norm in [node for node in self.nodes if node.op_type == "BatchNormalization"]:
            conv = producers.get(norm.input[0])
            if conv is None or len(readers[norm.input[0]]) > 1 or not (layer := self._layer(conv)):
                continue
            if conv.op_type != "Conv" or not all(name in self.constants for name in norm.input[1:]):
                continue
            gain, shift, mean, variance = (self.constants[name].astype(np.float64) for name in norm.input[1:])
            epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
            factor = gain / np.sqrt(variance + epsilon)
            bias = (0 if layer.bias is None else layer.bias.astype(np.float64)) - mean
            weight = layer.weight * factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
            names = [f"{norm.output[0]}/weight", f"{norm.output[0]}/bias"]
            self.constants |= dict(
                zip(names, (weight.astype(np.float32), (bias * factor + shift).astype(np.float32)), strict=True)
            )
            del conv.input[1:]
            conv.input.extend(names)
            conv.output[0] = norm.output[0]
            self.nodes.remove(norm)

    def _with_steps(self, layer: Layer) -> Layer:
        """The layer with the steps of its weights that it was trained with, if any."""
        one, outputs = self.trained.get(layer.name), layer.weight.shape[layer.axis]
        if one is None or one.weights is None or len(one.weights) not in (1, outputs):
            return layer
        return replace(layer, steps=np.broadcast_to(np.array(one.weights, np.float32), (outputs,)).copy())

    def _layer(self, node: onnx.NodeProto) -> Layer | None:
        """The node as a layer with weights; None where it is none."""
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in self.constants:
            return None
        weight, attributes = self.constants[node.input[1]], {a.name: a for a in node.attribute}
        bias = self.constants.get(node.input[2]) if len(node.input) > 2 else None
        plain = all(key not in attributes or attributes[key].f == 1 for key in ("alpha", "beta"))
        flipped = "transA" in attributes and attributes["transA"].i
        if weight.dtype != np.float32 or (len(node.input) > 2 and bias is None) or not plain or flipped:
            return None
        if node.op_type == "Conv":
            group = attributes["group"].i if "group" in attributes else 1
            return Layer(node, weight, bias, 0, group)
        if weight.ndim != 2:
            return None
        axis = 0 if "transB" in attributes and attributes["transB"].i else 1
        if bias is not None and bias.shape != (weight.shape[axis],):
            return None
        return Layer(node, weight, bias, axis)
