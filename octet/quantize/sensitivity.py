"""Sensitivity: what each layer alone, in int8, costs the network.

The network runs with one layer in int8 and all others in fp32, and its probabilities are compared with fp32's: their KL
divergence is the layer's sensitivity. Wu et al., «Integer quantization for deep learning inference: principles and empirical
 evaluation», 2020, ranks layers so for partial quantization, by accuracy; with few images the divergence tells layers
apart that accuracy does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octet.core.files import figure
from octet.core.logits import kl_divergence
from octet.core.parallel import map_blocks
from octet.graph.layers import is_int8, outputs
from octet.ncnn.engine import Floats, logits
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net
from octet.ncnn.side_by_side import TOGETHER, Mats
from octet.ncnn.variants import Base, Variant, same

Images = Sequence[npt.NDArray[np.float32]]  # network inputs, fp32 of shape (C, H, W)
GROUP_BYTES = 48 * 2**20  # ncnn's copies for Winograd are up to seven times as large
TOGETHER_BYTES = 64 * 2**20
Int8 = Callable[[Collection[str]], Net]  # the int8 network that leaves these layers, too, in fp32


@dataclass(frozen=True)
class Sensitivity:
    """What a layer costs.

    Args:
        layer: Its name.
        kl_alone: KL divergence of the final probabilities from fp32's, in nats, with only this layer in int8.
        macs: How often it multiplies with a weight, for one image.
    """

    layer: str
    kl_alone: float
    macs: int


def sensitivities(net: Net, int8: Int8, images: Images) -> list[Sensitivity]:
    """Of every int8 layer, in the network's order.

    Args:
        net: The fp32 network.
        int8: Its int8 networks.
        images: Calibration images.
    """
    names = int8_layers(int8([]))
    bases, costs = Bases(net, int8, names), []
    macs = multiplications(bases.fp32, names, images[0])
    fp32 = logits(bases.fp32.engine, images, "sensitivity, fp32")
    for group in groups(net, names):
        variants = bases.alone(group)

        def run(block: range, variants: list[Variant] = variants) -> Sequence[Sequence[Floats]]:
            mats = [of_image for of_image, _ in bases.run([images[k] for k in block], variants)]
            return list(zip(*(variant.logits(mats) for variant in variants), strict=True))

        size = bases.images_together(images[0], variants)
        runs = zip(*map_blocks(run, len(images), size, f"sensitivity, {group[0]} to {group[-1]}"), strict=True)
        for name, alone in zip(group, map(np.stack, runs), strict=True):
            costs.append(Sensitivity(name, figure(kl_divergence(fp32, alone)), macs[name]))
    return costs


class Bases:
    """The networks in which one layer alone is int8, and what they run from.

    Args:
        net: The fp32 network.
        int8: Its int8 networks.
        names: The layers that can be int8.
    """

    def __init__(self, net: Net, int8: Int8, names: Sequence[str]):
        self._int8, self._names, none = int8, names, int8(names)
        self.none = Base(none)  # no layer in int8; not the same as fp32 where weights are stored as fp16
        self.fp32 = self.none if same(net, none) else Base(net)

    def alone(self, group: Sequence[str]) -> list[Variant]:
        """For each layer of the group the network in which only it is int8."""
        return [Variant(self.none, self._int8([other for other in self._names if other != name])) for name in group]

    def run(
        self, images: Sequence[Floats], variants: Sequence[Variant], blobs: Sequence[str] = ()
    ) -> Sequence[tuple[Mats, dict[str, Floats]]]:
        """Runs up to TOGETHER images, fp32 of shape (C, H, W), up to where the variants begin.

        Returns:
            Of each image what the variants need; and these blobs of the fp32 network, as fp32.
        """
        needs = {blob for variant in variants for blob in variant.needs}
        if self.none is self.fp32 or not blobs:
            return self.none.run(images, needs, blobs)
        of_none, of_fp32 = self.none.run(images, needs, []), self.fp32.run(images, [], blobs)
        return [(mats, arrays) for (mats, _), (_, arrays) in zip(of_none, of_fp32, strict=True)]

    def images_together(self, image: Floats, variants: Sequence[Variant]) -> int:
        """How many images run together: what these variants need of them is in memory at once."""
        [(mats, _)] = self.run([image], variants)
        size = int(sum(mat.total() * mat.elemsize for mat in mats.values()))
        return max(1, min(TOGETHER, TOGETHER_BYTES // size))


def groups(net: Net, names: Sequence[str]) -> list[list[str]]:
    """The layers in groups whose variants are in memory together: a few dozen MB of weights, or one layer."""
    grouped: list[list[str]] = []
    filled = GROUP_BYTES
    for name in names:
        size = sum(tensor.data.nbytes for tensor in net.layer(name).weights.values())
        if filled + size > GROUP_BYTES:
            grouped, filled = [*grouped, []], 0
        grouped[-1].append(name)
        filled += size
    return grouped


def int8_layers(net: Net) -> list[str]:
    """The names of the layers that ncnn computes in int8, in the network's order."""
    return [layer.name for layer in net.layers if is_int8(layer)]


def multiplications(base: Base, names: Collection[str], image: Floats) -> dict[str, int]:
    """How often each of these layers multiplies with a weight, for one image.

    Of a convolution, all of them for every pixel of its output, borders counted.

    Args:
        base: The network.
        names: Some of its layers.
        image: A network input, fp32 of shape (C, H, W).

    Returns:
        By the layers' names.
    """
    layers = [layer for layer in base.net.layers if layer.name in names]
    blobs = base.engine.blobs(image, [layer.outputs[0] for layer in layers])
    macs = {}
    for layer, blob in zip(layers, blobs, strict=True):
        macs[layer.name] = sum(t.data.size for t in int8_weights(layer)) * blob.size // max(outputs(layer), 1)
    return macs


def int8_weights(layer: Layer) -> list[Tensor]:
    """The layer's weights that ncnn can store as int8."""
    return [tensor for tensor in layer.weights.values() if tensor.tag is not None]
