"""The int8 ONNX model: the fp32 network with QuantizeLinear and DequantizeLinear where a placement says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from octet.qdq.grids import Grid
from octet.qdq.network import Layer, Network
from octet.qdq.placement import Placement
from octet.qdq.profiles import Profile
from octet.qdq.weights import Weights

Constants = dict[str, npt.NDArray[np.generic]]


class Writer:
    """Writes one model; its names follow from the network's, so that the bytes do, too.

    Args:
        network: The fp32 network.
        profile: The engine's.
        placement: What is quantized.
        grids: Of the tensors with a scale of their own.
        weights: Of the layers that are int8.
    """

    def __init__(
        self,
        network: Network,
        profile: Profile,
        placement: Placement,
        grids: Mapping[str, Grid],
        weights: Mapping[str, Weights],
    ):
        self.network, self.profile, self.placement = network, profile, placement
        self.grids, self.weights = grids, weights
        self.constants: Constants = {}
        self.nodes: list[onnx.NodeProto] = []
        self.renamed: dict[str, str] = {}  # a tensor whose activation is absorbed: the name of the activation's output

    def model(self) -> onnx.ModelProto:
        """The int8 model."""
        self.renamed = {
            node.input[0]: node.output[0] for node in self.network.nodes if node.name in set(self.placement.absorbed)
        }
        self._quantize(self.network.input)
        for node in self.network.nodes:
            if node.name in self.placement.absorbed:
                continue
            new = onnx.NodeProto()
            new.CopyFrom(node)
            int8 = node.name in self.placement.nodes
            for k, name in enumerate(node.input):
                if self.placement.quantized(name) and (int8 or self.profile.outputs):
                    new.input[k] = f"{name}/dequantized"
            if node.name in self.weights:
                self._weights(new, self.network.layers[node.name], self.weights[node.name])
            for k, name in enumerate(node.output):
                new.output[k] = self.renamed.get(name, name)
            self.nodes.append(new)
            for name in new.output:
                self._quantize(name)
        return self.network.rebuilt(self.nodes, self.constants)

    def _quantize(self, tensor: str) -> None:
        """Puts the two nodes behind a tensor that is quantized."""
        if not self.placement.quantized(tensor):
            return
        own = self.placement.owner(tensor)
        grid = self.grids[own]
        scale, zero = f"{own}/scale", f"{own}/zero_point"
        self.constants[scale] = np.array(grid.scale, np.float32)
        self.constants[zero] = np.array(grid.zero_point, grid.dtype)
        integers = f"{tensor}/quantized"
        self.nodes += [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [integers], f"{tensor}/quantize"),
            helper.make_node(
                "DequantizeLinear", [integers, scale, zero], [f"{tensor}/dequantized"], f"{tensor}/dequantize"
            ),
        ]

    def _weights(self, node: onnx.NodeProto, layer: Layer, weights: Weights) -> None:
        """Puts a layer's integers in the place of its weights."""
        zeros = np.zeros(len(weights.scales), np.int8)
        node.input[1] = self._constant(f"{layer.name}/weight", weights.integers, weights.scales, zeros, layer.axis)
        if weights.bias is None:
            return
        del node.input[2:]
        if weights.bias.dtype == np.float32:
            self.constants[f"{layer.name}/bias"] = weights.bias
            node.input.append(f"{layer.name}/bias")
        else:
            source = self.grids[self.placement.owner(layer.input)]
            scales = (source.scale * weights.scales).astype(np.float32)
            zeros32 = np.zeros(len(scales), np.int32)
            node.input.append(self._constant(f"{layer.name}/bias", weights.bias, scales, zeros32, 0))

    def _constant(
        self,
        name: str,
        integers: npt.NDArray[np.generic],
        scales: npt.NDArray[np.float32],
        zeros: npt.NDArray[np.generic],
        axis: int,
    ) -> str:
        """A DequantizeLinear of constants; the name of what it gives."""
        parts = {f"{name}/integers": integers, f"{name}/scale": scales, f"{name}/zero_point": zeros}
        self.constants |= parts
        output = f"{name}/dequantized"
        self.nodes.append(helper.make_node("DequantizeLinear", list(parts), [output], f"{name}/dequantize", axis=axis))
        return output
