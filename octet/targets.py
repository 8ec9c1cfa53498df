"""Target profiles: which int8 kernels a device runs best, and what follows for the weights.

A 3x3 convolution of stride 1 and dilation 1 may run as int8 Winograd F(4,3) in ncnn, which is exact enough only with
weights of 6 bits (31 levels either way; ncnn's tools/quantize/ncnn2table.cpp). A processor with int8 dot products
(x86 VNNI, Arm dot product or i8mm) is faster without it. Layer parameter 31 is a mask of features that every ncnn
runtime honours (src/net.cpp); 64 in it turns Winograd off for that layer, and the weights may use all 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from octet.errors import OctetError, nearest
from octet.format.net import Layer

MASK_PARAMETER, MASK_WINOGRAD = 31, 64
QUANTIZABLE = ("Convolution", "ConvolutionDepthWise", "InnerProduct")


@dataclass(frozen=True)
class Target:
    """winograd: may ncnn choose int8 Winograd on this device?"""

    name: str
    winograd: bool

    def masks_winograd(self, layer: Layer) -> bool:
        """Does this layer get layer parameter 31=64?"""
        return not self.winograd and could_run_winograd(layer)

    def weight_levels(self, layer: Layer) -> int:
        """The largest integer that a weight of this layer may be: 31 (6 bits) or 127 (8 bits)."""
        return 31 if self.winograd and could_run_winograd(layer) else 127


TARGETS = {target.name: target for target in (Target("dotprod", winograd=False), Target("ncnn2int8", winograd=True))}


def could_run_winograd(layer: Layer) -> bool:
    """ncnn2table's own condition for weights of 6 bits: 3x3, stride 1, dilation 1."""
    kernel, dilation, stride = layer.int(1), layer.int(2, 1), layer.int(3, 1)
    return (
        layer.type == "Convolution"
        and (kernel, layer.int(11, kernel)) == (3, 3)
        and (dilation, layer.int(12, dilation)) == (1, 1)
        and (stride, layer.int(13, stride)) == (1, 1)
    )


def target(name: str) -> Target:
    if name not in TARGETS:
        raise OctetError(f"target: '{name}' is no profile. {nearest(name, TARGETS)}")
    return TARGETS[name]


def quantizable(layers: list[Layer]) -> list[Layer]:
    """The layers that can be int8, in the network's order: those of QUANTIZABLE with weights of their own."""
    return [layer for layer in layers if layer.type in QUANTIZABLE and "weight" in layer.weights]
