"""From the fp32 ONNX model and images to the int8 model of each engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx

from octet.calibrate import methods
from octet.calibrate.match import match
from octet.core.errors import OctetError
from octet.ncnn.net import Net
from octet.qdq.biases import corrected
from octet.qdq.gptq import gptq_weights
from octet.qdq.grids import Grid, grids
from octet.qdq.network import Network
from octet.qdq.placement import Placement, place
from octet.qdq.profiles import Profile
from octet.qdq.ranges import Range, ranges, runner
from octet.qdq.trained import trained_grids
from octet.qdq.weights import Weights, weights
from octet.qdq.write import Writer

if TYPE_CHECKING:
    from octet.core.params import Calibrate

Images = Sequence[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Int8:
    """An int8 model.

    Args:
        model: In ONNX.
        placement: What of it is int8, and what stayed in float.
        profile: The engine's.
        grids: Of the tensors with a scale of their own.
        weights: Of the layers that are int8.
    """

    model: onnx.ModelProto
    placement: Placement
    profile: Profile
    grids: dict[str, Grid]
    weights: dict[str, Weights]


def quantize(
    network: Network,
    profiles: Sequence[Profile],
    images: Images,
    settings: Calibrate,
    keep_float: Collection[str] = (),
    workers: int | None = None,
    gptq_images: Images | None = None,
) -> list[Int8]:
    """Makes the int8 models of several engines, from one pass over the images.

    The result does not depend on the number of workers.

    Args:
        network: The fp32 network.
        profiles: The engines'.
        images: Network inputs, fp32 of shape (C, H, W).
        settings: The section `calibrate` of params.yaml.
        keep_float: Names of nodes that stay in float.
        workers: How many threads compute; None: one a core.
        gptq_images: What GPTQ learns the weights' integers from; None: weights round to the nearest.

    Returns:
        One a profile, checked.

    Raises:
        OctetError: The calibrator works for ncnn alone, values are not finite, or no layer can be int8.
    """
    check_method(settings.method)
    placements = [place(network, profile, keep_float) for profile in profiles]
    for profile, placement in zip(profiles, placements, strict=True):
        if not placement.layers:
            raise OctetError(f"{network.where}: {profile.engine}: has no layer that can be int8")
    tensors = list(dict.fromkeys(name for placement in placements for name in placement.tensors))
    summands = {name: other for placement in placements for name, other in placement.summands.items()}
    seen = ranges(network, tensors, images, summands, workers)
    chosen = [
        _grids(network, profile, placement, seen, settings)
        for profile, placement in zip(profiles, placements, strict=True)
    ]
    engines = zip(profiles, placements, chosen, strict=True)
    return [_int8(network, *engine, images, gptq_images, workers) for engine in engines]


def check_method(method: str) -> None:
    """Raises OctetError where a calibrator gives no thresholds, but a table of ncnn's."""
    if methods.threshold(method) is None:
        raise OctetError(
            f"params.yaml: calibrate.method: {method} works for ncnn alone; choose another one, such as mse, or set engines "
            "to [ncnn]"
        )


def kept(network: Network, net: Net, names: Collection[str]) -> list[str]:
    """The nodes that ncnn's layers of these names were made from.

    Args:
        network: The fp32 ONNX network.
        net: ncnn's, made from it.
        names: Of layers, as in fp32.param.
    """
    if not names:
        return []
    nodes = match(net, network.rebuilt(network.nodes, {}), network.where)
    return [nodes[name] for name in names if name in nodes]


def check(int8: Int8, image: npt.NDArray[np.float32], where: str) -> None:
    """Checks a model as ONNX does, shapes among it, and runs it once in ONNX Runtime.

    Args:
        int8: The model.
        image: A network's input, fp32 of shape (C, H, W).
        where: Names the model in errors.

    Raises:
        OctetError: Something is wrong with it.
    """
    try:
        onnx.checker.check_model(int8.model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OctetError(f"{where}: not a valid ONNX model: {error}") from None
    (logits,) = runner(int8.model, where)(image)
    if not np.isfinite(logits).all():
        raise OctetError(f"{where}: its logits are not finite")


def _grids(
    network: Network, profile: Profile, placement: Placement, seen: dict[str, Range], settings: Calibrate
) -> dict[str, Grid]:
    """The grids of one engine's tensors."""
    choose = methods.threshold(settings.method)
    assert choose is not None, "check_method"
    symmetric = placement.tensors if profile.symmetric else [network.input] if profile.symmetric_input else []
    tensors = {name: seen[name] for name in placement.tensors}
    calibrated = grids(tensors, choose, settings, symmetric, methods.ends(settings.method))
    return calibrated | trained_grids(network, placement, symmetric)


def _int8(
    network: Network,
    profile: Profile,
    placement: Placement,
    chosen: dict[str, Grid],
    images: Images,
    gptq_images: Images | None,
    workers: int | None,
) -> Int8:
    """The int8 model of one engine."""
    sources = {name: chosen[placement.owner(network.layers[name].input)] for name in placement.layers}
    rounded = {name: weights(network.layers[name], source, profile.int_bias) for name, source in sources.items()}
    by_gptq: dict[str, Weights] = {}
    if gptq_images is not None:
        by_gptq = gptq_weights(network, sources, profile.int_bias, gptq_images, workers)
    others = {name: of_layer for name, of_layer in rounded.items() if name not in by_gptq}
    rounded |= by_gptq | corrected(network, sources, others, profile.int_bias, images, workers)
    return Int8(Writer(network, profile, placement, chosen, rounded).model(), placement, profile, chosen, rounded)
