"""What a layer costs in fp32 more than in int8: measured by `make tune`, or estimated.

What fp32 costs is mostly memory. It reads four bytes for each weight, and where it computes a 3x3 convolution by Winograd, as ncnn
does wherever it can, 64 transformed weights for each 9. A late layer of ResNet-18 at 32x32 multiplies as often as an early one,
has 64 times its weights, and costs 30 times as much. The estimate was set by what `make tune` measured of the layers of ResNet-18
and MobileNetV2 on an Intel Xeon and an AMD EPYC, one thread (docs/accuracy.md#what-a-layer-in-fp32-costs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from octet.graph.layers import could_run_winograd
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.quantize.sensitivity import Sensitivity, int8_weights

# In multiplications that take as long.
_LAYER = 3_000_000
_WEIGHT, _WINOGRAD_WEIGHT = 50, 450


def fp32_costs(net: Net, layers: Sequence[Sensitivity], measured_us: Mapping[str, float]) -> dict[str, float]:
    """What each layer costs in fp32 more than in int8.

    Args:
        net: The fp32 network.
        layers: All int8 layers.
        measured_us: What the target's profile measured, in microseconds, by layer.

    Returns:
        By layer, in microseconds where anything was measured: a layer that was not, in proportion to its estimate, at the
        measured layers' mean rate. Where nothing was, or fp32 is no slower in these layers together, which gives no rate: the
        estimates, in multiplications.
    """
    estimates = {one.layer: estimate(net.layer(one.layer), one.macs) for one in layers}
    measured = {name: measured_us[name] for name in estimates if name in measured_us}
    if (all_us := sum(measured.values())) <= 0:
        return estimates
    rate = all_us / sum(estimates[name] for name in measured)
    return {name: max(measured.get(name, rate * of_layer), 1e-9) for name, of_layer in estimates.items()}


def estimate(layer: Layer, macs: int) -> float:
    """What a layer costs in fp32 more than in int8, roughly, in multiplications.

    Args:
        layer: In fp32.
        macs: How often it multiplies with a weight, for one image.
    """
    weights = sum(tensor.data.size for tensor in int8_weights(layer))
    return float(_LAYER + macs + weights * (_WINOGRAD_WEIGHT if could_run_winograd(layer) else _WEIGHT))
