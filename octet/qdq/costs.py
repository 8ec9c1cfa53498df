"""What each int8 layer of an engine's model costs: the divergence where it alone is int8.

What the stage analyze says of ncnn's layers, for the engines beside it. The models run in ONNX Runtime, which computes in
float what a QDQ model says where it has no int8 kernel for it, so the answer is that of the file, not of one engine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from octet.core.files import figure
from octet.core.logits import kl_divergence
from octet.core.parallel import map_ordered
from octet.core.text import table
from octet.qdq.network import Network
from octet.qdq.placement import place
from octet.qdq.quantize import Int8
from octet.qdq.ranges import runner
from octet.qdq.write import Writer

Images = Sequence[npt.NDArray[np.float32]]
SHOWN = 5  # layers of a table


def costs(network: Network, models: Sequence[Int8], images: Images) -> list[dict[str, float]]:
    """What each int8 layer of some models of one network costs.

    Args:
        network: The fp32 network.
        models: Its int8 models.
        images: Network inputs, fp32 of shape (C, H, W).

    Returns:
        For each model, the KL divergence of the probabilities from fp32's in nats, with only that layer in int8, with the scales
        that it has in the model; by layer, in the network's order.
    """
    seen = [images[k] for k in range(len(images))]
    variants = [(int8, layer) for int8 in models for layer in int8.placement.layers]

    def logits(k: int) -> npt.NDArray[np.float32]:
        """Of fp32 for -1, and of a variant."""
        model = network.rebuilt(network.nodes, {}) if k < 0 else only(network, *variants[k]).model()
        run = runner(model, network.where)
        return np.concatenate([run(image)[0] for image in seen])

    fp32, *others = map_ordered(logits, range(-1, len(variants)), "the engines' layers")
    result: dict[int, dict[str, float]] = {id(int8): {} for int8 in models}
    for (int8, layer), of_variant in zip(variants, others, strict=True):
        result[id(int8)][layer] = figure(kl_divergence(fp32, of_variant))
    return [result[id(int8)] for int8 in models]


def only(network: Network, int8: Int8, layer: str) -> Writer:
    """What writes the model in which one layer alone is int8.

    Args:
        network: The fp32 network.
        int8: The model in which all are.
        layer: The layer's name.
    """
    placement = place(network, int8.profile, [name for name in network.layers if name != layer])
    grids = {name: int8.grids[int8.placement.owner(name)] for name in placement.tensors}
    return Writer(network, int8.profile, placement, grids, {layer: int8.weights[layer]})


def worst(of_layers: dict[str, float]) -> str:
    """The layers that cost most first, as a table for a terminal."""
    most = sorted(of_layers.items(), key=lambda pair: -pair[1])[:SHOWN]
    return table([[name, f"{kl:.2e}"] for name, kl in most], ["layer", "KL divergence alone, nats"], "lr")
