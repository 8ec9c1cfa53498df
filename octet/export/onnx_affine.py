"""What multiplies and adds one number a channel behind a convolution: it becomes part of the convolution.

torch's fake quantization of a convolution with a batch norm is such: the weights are multiplied by the norm's factor before they
are rounded, and the result is divided by it before the norm (torch/ao/nn/intrinsic/qat/modules/conv_fused.py). Together the two do
no more than to add a bias, so that the weights' integers hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """What each channel is multiplied with, and what is added then: fp64 of shape (channels,)."""

    factor: Doubles
    shift: Doubles

    def then(self, other: Affine) -> Affine:
        """Both, one after the other."""
        return Affine(self.factor * other.factor, self.shift * other.factor + other.shift)

    @property
    def of_steps(self) -> Doubles:
        """What it makes of the steps between a channel's weights: of shape (channels,). Weights of 0 have any steps."""
        return np.where(self.factor == 0, 1, np.abs(self.factor))

    def of_layer(self, node: Any, constants: Mapping[str, Array]) -> tuple[Floats, Floats]:
        """The weights and the bias of a convolution that does this, too."""
        weight = constants[node.input[1]]
        bias = constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else 0
        moved = (weight * self.factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        return moved, (self.shift + bias * self.factor).astype(np.float32)


def affines(
    nodes: list[Any], convolutions: list[Any], constants: Mapping[str, Array], ends: set[str]
) -> tuple[list[tuple[Any, Affine]], list[Any]]:
    """What stands behind convolutions that alone are read there: their outputs become its outputs.

    Args:
        nodes: Of the network, in its order.
        convolutions: Those of them whose weights are constants.
        constants: By name.
        ends: The tensors that the network gives.

    Returns:
        The convolutions that have something behind them, with all of it, and the nodes that are left.
    """
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    result, gone = [], set[int]()
    for layer in convolutions:
        whole, weight = None, constants[layer.input[1]]
        while layer.output[0] not in ends and len(readers[layer.output[0]]) == 1:
            (behind,) = readers[layer.output[0]]
            one = _affine(behind, layer.output[0], constants, len(weight), weight.ndim)
            if one is None or not all(name in constants for name in layer.input[2:]):
                break
            whole = one if whole is None else whole.then(one)
            layer.output[0] = behind.output[0]
            gone.add(id(behind))
        if whole is not None:
            result.append((layer, whole))
    return result, [node for node in nodes if id(node) not in gone]


def _affine(node: Any, tensor: str, constants: Mapping[str, Array], channels: int, rank: int) -> Affine | None:
    """What a node does to each channel; None where it does something else.

    Args:
        node: It reads the tensor.
        tensor: Of shape (N, channels, …).
        constants: By name.
        channels: How many.
        rank: How many axes the tensor has.
    """
    others = [name for name in node.input if name != tensor]
    if not all(name in constants for name in others):
        return None
    if node.op_type == "BatchNormalization":
        gain, shift, mean, variance = (constants[name].astype(np.float64) for name in others)
        epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
        factor = gain / np.sqrt(variance + epsilon)
        return Affine(factor, shift - mean * factor)
    if node.op_type not in ("Mul", "Div", "Add", "Sub") or len(others) != 1:
        return None
    value = _of_channels(constants[others[0]], channels, rank)
    if value is None or (node.op_type in ("Div", "Sub") and node.input[0] != tensor):
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "Mul":
        return Affine(value, zeros)
    if node.op_type == "Div":
        return Affine(1 / value, zeros)
    return Affine(ones, value if node.op_type == "Add" else -value)


def _of_channels(values: Array, channels: int, rank: int) -> Doubles | None:
    """An array as one number a channel; None where it has others."""
    shape = (1,) * (rank - values.ndim) + values.shape
    wanted = tuple(channels if k == 1 else 1 for k in range(rank))
    if values.size != 1 and shape != wanted:
        return None
    return np.broadcast_to(values.astype(np.float64).reshape(-1), (channels,))
