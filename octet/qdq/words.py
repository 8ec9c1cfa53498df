"""What the stage qdq says of an engine's model."""

from __future__ import annotations

from octet.qdq.costs import worst
from octet.qdq.mobile import PACKAGE, lacking
from octet.qdq.network import Network
from octet.qdq.placement import float_operators
from octet.qdq.quantize import Int8
from octet.qdq.trained import trained_grids


def lines(network: Network, int8: Int8, of_layers: dict[str, float]) -> list[str]:
    """What is int8, what is not and why, and what costs most.

    Args:
        network: The fp32 network.
        int8: The model.
        of_layers: What each of its layers costs, in nats.
    """
    engine, in_float = int8.profile.engine, int8.placement.float_layers
    result = [f"{engine}: {len(int8.placement.layers)} of {len(network.layers)} layers int8"]
    if network.trained:
        around_0 = [name for name, grid in int8.grids.items() if grid.symmetric]
        count = len(trained_grids(network, int8.placement, around_0))
        result.append(f"  scales that the model was trained with: of {count} tensors that layers read")
    for why in dict.fromkeys(in_float.values()):
        result.append(f"  float: {', '.join(layer for layer, w in in_float.items() if w == why)} ({why})")
    operators = float_operators(network, int8.placement)
    if operators and int8.profile.around:  # the other engines want them all in float
        result.append(f"  float: {', '.join(operators)} (operators that {engine} has no int8 for, or that read float)")
    result.append(f"  the layers that cost most:\n{worst(of_layers)}")
    if engine == "onnxruntime":
        result.append(f"  {PACKAGE}: {lacking(int8.model)}")
    return result
