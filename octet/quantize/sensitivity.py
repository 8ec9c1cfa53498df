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
from octet.core.progress import progress
from octet.graph.layers import is_int8, outputs
from octet.ncnn.engine import Engine, logits
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net

Images = Sequence[npt.NDArray[np.float32]]  # network inputs, fp32 of shape (C, H, W)
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
    macs = multiplications(net, names, images[0])
    fp32 = logits(Engine.of(net), images, "sensitivity, fp32")
    return [
        Sensitivity(name, figure(kl_divergence(fp32, logits(alone(int8, names, name), images, name))), macs[name])
        for name in progress(names, "sensitivity", unit="layer")
    ]


def alone(int8: Int8, names: Sequence[str], name: str) -> Engine:
    """The network in which only the layer `name` of those that can be int8, `names`, is int8."""
    return Engine.of(int8([other for other in names if other != name]))


def int8_layers(net: Net) -> list[str]:
    """The names of the layers that ncnn computes in int8, in the network's order."""
    return [layer.name for layer in net.layers if is_int8(layer)]


def multiplications(net: Net, names: Collection[str], image: npt.NDArray[np.float32]) -> dict[str, int]:
    """How often each of these layers multiplies with a weight, for one image.

    Of a convolution, all of them for every pixel of its output, borders counted.
    """
    layers = [layer for layer in net.layers if layer.name in names]
    blobs = Engine.of(net).blobs(image, [layer.outputs[0] for layer in layers])
    macs = {}
    for layer, blob in zip(layers, blobs, strict=True):
        macs[layer.name] = sum(t.data.size for t in int8_weights(layer)) * blob.size // max(outputs(layer), 1)
    return macs


def int8_weights(layer: Layer) -> list[Tensor]:
    """The layer's weights that ncnn can store as int8."""
    return [tensor for tensor in layer.weights.values() if tensor.tag is not None]
