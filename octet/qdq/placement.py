"""Which tensors and layers of a network are quantized for a profile, and what stays in float."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx

from octet.qdq.network import Layer, Network
from octet.qdq.profiles import SAME_VALUES, Profile


@dataclass
class Placement:
    """What is quantized.

    Args:
        tensors: With a scale of their own, in the network's order.
        same: Tensors that have another one's scale, by name.
        layers: The layers with weights that are int8, by node name.
        around: Names of the nodes without weights that are int8.
        absorbed: Activations that their output's clipping does, by node name.
        float_layers: The layers that stay in float, and why.
        summands: Tensors that are only added to another one, before a ReLU, and that other one, by name. Values below its
            negative all come to the same: 0.
    """

    tensors: list[str] = field(default_factory=list)
    same: dict[str, str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    absorbed: list[str] = field(default_factory=list)
    float_layers: dict[str, str] = field(default_factory=dict)
    summands: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> set[str]:
        """All nodes that read quantized tensors."""
        return {*self.layers, *self.around}

    def owner(self, tensor: str) -> str:
        """The tensor whose scale it has: mostly itself."""
        return self.same.get(tensor, tensor)

    def quantized(self, tensor: str) -> bool:
        """Has it a scale, of its own or another's?"""
        return tensor in self.same or tensor in self.tensors


def place(network: Network, profile: Profile, keep_float: Collection[str] = ()) -> Placement:
    """Decides what is quantized.

    Args:
        network: The fp32 network.
        profile: The engine's.
        keep_float: Names of nodes that stay in float.
    """
    return _Placing(network, profile).placement(keep_float)


def float_operators(network: Network, placement: Placement) -> list[str]:
    """The operators without weights that compute in fp32, sorted: the engine has no int8 for them, or wants them in float."""
    int8 = {*network.layers, *placement.around, *placement.absorbed}
    return sorted(
        {node.op_type for node in network.nodes if node.name not in int8 and network.floats.issuperset(node.output)}
    )


class _Placing:
    """A placement in the making. Arguments as for place; quantized: the tensors that are so far."""

    def __init__(self, network: Network, profile: Profile):
        self.network, self.profile, self.readers = network, profile, network.readers()
        self.result, self.quantized = Placement(), set[str]()
        self.stem = set[str]() if profile.depthwise_stem else self._depthwise_stem()

    def placement(self, keep_float: Collection[str]) -> Placement:
        """All of it."""
        result, network = self.result, self.network
        for name in network.layers:
            why = self._why_float(name, keep_float)
            if why:
                result.float_layers[name] = why
            else:
                result.layers.append(name)
        self.quantized |= {network.layers[name].input for name in result.layers}
        for name in result.layers if self.profile.outputs else ():
            self._quantize_output(network.layers[name].output)
        for node in network.nodes:
            if self.profile.pools and node.op_type == "MaxPool":
                self._quantize_before_pool(node)
            if self.profile.wide_sums and node.op_type == "Add":
                self._quantize_wide_sum(node)
        for node in network.nodes:
            if self._is_int8_where_its_inputs_are(node):
                self._around(node)
        computed = [network.input, *(output for node in network.nodes for output in node.output)]
        result.tensors = [name for name in computed if name in self.quantized and name not in result.same]
        return result

    def _quantize_output(self, tensor: str) -> None:
        """Quantizes what a node computes, behind its activation where clipping can do that; the network's output stays in float."""
        activation = self._activation(tensor)
        behind = tensor if activation is None else str(activation.output[0])
        if behind == self.network.output:
            return
        self.quantized.add(behind)
        if activation is not None:
            self.result.absorbed.append(activation.name)

    def _quantize_before_pool(self, node: onnx.NodeProto) -> None:
        """Quantizes what a max pool reads, where that is an int8 layer's, with the scale of what it gives."""
        before, behind = str(node.input[0]), str(node.output[0])
        layers = (self.network.layers[name] for name in self.result.layers)
        if behind in self.quantized and any(self._pool_of(layer) is node for layer in layers):
            self.quantized.add(before)
            self.result.same[behind] = before
            self.result.around.append(node.name)

    def _quantize_wide_sum(self, node: onnx.NodeProto) -> None:
        """Quantizes what a sum adds, where it stands behind widening int8 layers alone, and the rest is quantized anyway."""
        layers = [self.network.layers[name] for name in self.result.layers]
        behind = [layer for layer in layers if layer.output in node.input]
        adds = {*node.input}
        if not behind or len(adds) < 2 or not adds <= self.quantized | {layer.output for layer in behind}:
            return
        if all(layer.widening and len(self.readers[layer.output]) == 1 for layer in behind):
            self.quantized |= adds
            self.result.around.append(node.name)
            self._note_summands(node)
            self._quantize_for_average(node)

    def _quantize_for_average(self, node: onnx.NodeProto) -> None:
        """Quantizes what a sum gives where a global average alone reads it, behind an activation if there is one."""
        activation = self._activation(str(node.output[0]))
        tensor = str((activation or node).output[0])
        nodes = self.readers.get(tensor, [])
        if len(nodes) == 1 and nodes[0].op_type == "GlobalAveragePool":
            self.quantized.add(tensor)
            self.result.around.append(nodes[0].name)

    def _is_int8_where_its_inputs_are(self, node: onnx.NodeProto) -> bool:
        """Is it a node without weights that the engine has int8 for, all of whose inputs are quantized?"""
        reads = self.network.dynamic(node)
        if node.op_type not in self.profile.around or len(node.output) > 1 or not reads:
            return False
        return self.quantized.issuperset(reads) and _only_settings_are_constant(self.network, node)

    def _around(self, node: onnx.NodeProto) -> None:
        """Quantizes what a node without weights computes."""
        self.result.around.append(node.name)
        tensor = str(node.output[0])
        if node.op_type == "Add":
            self._note_summands(node)
        if node.op_type not in SAME_VALUES:
            self._quantize_output(tensor)
        elif tensor != self.network.output:
            self.quantized.add(tensor)
            self.result.same[tensor] = self.result.owner(self.network.dynamic(node)[0])

    def _note_summands(self, node: onnx.NodeProto) -> None:
        """Notes what only this sum reads, where an activation clips it from zero on."""
        if self._activation(str(node.output[0])):
            for one, other in (node.input, tuple(reversed(node.input))):
                if len(self.readers[one]) == 1 and one != other:
                    self.result.summands[one] = other

    def _why_float(self, name: str, keep_float: Collection[str]) -> str:
        """Why a layer stays in float; empty where it does not."""
        layer = self.network.layers[name]
        if name in keep_float:
            return "params.yaml or the plan keeps it"
        if layer.input not in self.network.floats:
            return "it does not read fp32"
        # OpenVINO computes such a layer when it compiles, and not as QDQ says.
        if layer.input not in self.network.varying:
            return "no image changes what it reads"
        pooled = self.profile.first_before_pool and self._pool_of(layer)
        if layer.input == self.network.input and not (self.profile.first or pooled):
            return "it reads the network's input"
        if name in self.stem:
            return "a depthwise convolution behind the first one loses the most"
        if layer.grouped_1x1 and not self.profile.grouped_1x1:
            return "the engine does not compile some 1x1 convolutions in groups"
        return "it is depthwise" if layer.depthwise and not self.profile.depthwise else ""

    def _depthwise_stem(self) -> set[str]:
        """The layers that read the network's input, and the depthwise one that alone comes next; none where others do, too."""
        layers, stem = self.network.layers, set[str]()
        for first in layers.values():
            behind = self._layers_behind(first.output) if first.input == self.network.input else set[str]()
            if len(behind) == 1 and all(name in layers and layers[name].depthwise for name in behind):
                stem |= {first.name, *behind}
        return stem

    def _layers_behind(self, tensor: str) -> set[str]:
        """The names of the layers that read a tensor or what others compute from it, and of the network's output, if it is one."""
        reached, todo = set[str](), [tensor]
        while todo:
            name = todo.pop()
            reached |= {name} if name == self.network.output else set()
            for node in self.readers.get(name, []):
                if node.name in self.network.layers:
                    reached.add(str(node.name))
                else:
                    todo += node.output
        return reached

    def _pool_of(self, layer: Layer) -> onnx.NodeProto | None:
        """The max pool that alone reads what a layer computes, behind its activation if it has one."""
        activation = self._activation(layer.output)
        tensor = layer.output if activation is None else str(activation.output[0])
        nodes = self.readers.get(tensor, [])
        if len(nodes) != 1 or tensor == self.network.output:
            return None
        return nodes[0] if nodes[0].op_type == "MaxPool" and len(nodes[0].output) == 1 else None

    def _activation(self, tensor: str) -> onnx.NodeProto | None:
        """The activation that alone reads a tensor, where it does no more than clip from 0 on."""
        nodes = self.readers.get(tensor, [])
        if len(nodes) != 1 or tensor == self.network.output:
            return None
        return nodes[0] if clips_from_zero(self.network, nodes[0]) else None


def clips_from_zero(network: Network, node: onnx.NodeProto) -> bool:
    """Is a node ReLU, or like it with an upper limit?"""
    if node.op_type == "Relu":
        return True
    if node.op_type != "Clip" or len(node.input) < 2 or node.input[1] not in network.constants:
        return False
    high = network.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if len(node.input) > 2 and node.input[2] and high is None:
        return False
    return float(network.constants[node.input[1]].reshape(-1)[0]) == 0


def _only_settings_are_constant(network: Network, node: onnx.NodeProto) -> bool:
    """Reads the node no constant values, but only settings such as a shape?"""
    values = [name for name in node.input if name in network.constants]
    return all(network.constants[name].dtype == np.int64 for name in values)
