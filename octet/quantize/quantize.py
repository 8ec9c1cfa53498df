"""quantize: the fp32 model and a table become ncnn's int8 model.

A layer becomes int8 by itself (octet/quantize/int8_layers.py); then activations get zero points where the target wants
them, and outputs leave as int8 where all that read them are int8 too: 100 more in int8_scale_term, and the output's scale
among the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from copy import deepcopy

import numpy as np

from octet.core.errors import OctetError, nearest
from octet.graph import zero_points
from octet.graph.layers import (
    REQUANTIZED,
    assign,
    can_requantize,
    integer,
    kind,
    no_int8,
    quantizable,
    uncalibrated,
)
from octet.graph.scales import add_attention, check_table, needed_entries
from octet.graph.targets import MASK_FP16, MASK_WINOGRAD, Target
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net
from octet.ncnn.table import Table
from octet.quantize import ncnn2int8
from octet.quantize.gptq_weights import GptqWeights
from octet.quantize.int8_layers import make_int8, take_gptq_weights

# int8 Winograd F(4,3) computes 576 times a sum in 32 bits (src/layer/x86/convolution_3x3_winograd_int8.h): beyond
# 3,728,270 it is another number. Half of that is left for what is not 0.
WINOGRAD_EXACT = 2**24 // 9


def quantize(
    net: Net,
    table: Table,
    target: Target,
    keep_fp32: Collection[str],
    where: str,
    gptq_weights: Mapping[str, GptqWeights] | None = None,
    boundaries: Collection[str] = (),
    ready: MutableMapping[str, Layer] | None = None,
) -> Net:
    """The int8 model: every layer that can be int8 on this target, but those of keep_fp32, as the table says.

    With the target ncnn2int8 its files are byte for byte those of ncnn2int8, which stores as fp16 what is not int8.
    With others, a MultiHeadAttention needs no entries in the table.

    Args:
        net: The fp32 model; it stays as it is.
        table: The scales.
        target: The device's profile.
        keep_fp32: The names of layers that stay in fp32.
        where: The table's file, for errors.
        gptq_weights: Weights whose integers GPTQ chose, by layer; all others round to the nearest.
        boundaries: Blobs that leave their layers in fp32, since they pass from one partition to another.
        ready: int8 layers by name that an earlier call made, with other keep_fp32 and all else the same; those of this one are
            added.

    Raises:
        OctetError: The table does not fit the model or the target, keep_fp32 names no layer that could be int8, or a
            layer is of a type that ncnn2int8 quantizes and Octet does not.
    """
    target.check(net)
    layers = _candidates(net, keep_fp32)
    if not target.ncnn2int8_files:
        table = deepcopy(table)
        add_attention(table, uncalibrated(net.layers))
    check_table(table, [layer for layer in layers if needed_entries(layer)], where, keep_fp32)
    chosen = target.int8_layers(net) | {layer.name for layer in uncalibrated(net.layers)}
    chosen, integers, result = chosen.difference(keep_fp32), gptq_weights or {}, net.copy()
    ready = {} if ready is None else ready
    for k, layer in enumerate(result.layers):
        if layer.name in chosen & ready.keys():
            result.layers[k] = ready[layer.name].copy()
        elif layer.name in chosen:
            make_int8(layer, table, target, where)
            if layer.name in integers:
                take_gptq_weights(layer, integers[layer.name], target)
            ready[layer.name] = layer.copy()
        elif target.masks_fp16(layer):
            assign(layer, featmask=integer(layer, "featmask") | MASK_FP16)

    leaving = {*boundaries, *_leaving(net)}

    def may(layer: Layer) -> bool:
        return target.may_requantize(layer) and layer.outputs[0] not in leaving

    if target.ncnn2int8_files:
        ncnn2int8.requantize(result, may)
        return ncnn2int8.convert(result)
    if target.asymmetric:
        _mask_winograd(filter(target.runs_winograd, zero_points.apply_zero_points(result)))
    _requantize(result, may, target.asymmetric)
    return result


def _mask_winograd(layers: Iterable[Layer]) -> None:
    """Turns Winograd off in those of some int8 layers whose zeros, -127 in integers, add up to more than it holds."""
    for layer in layers:
        weight = layer.weights["weight"].data.astype(np.int64).reshape(integer(layer, "num_output"), -1)
        if -zero_points.ZERO_POINT * int(np.abs(weight.sum(axis=1)).max()) > WINOGRAD_EXACT:
            assign(layer, featmask=integer(layer, "featmask") | MASK_WINOGRAD)


def _leaving(net: Net) -> set[str]:
    """The blobs that leave the network and are read in it, too: through a Split, one of whose outputs is the network's."""
    outputs = set(net.outputs)
    return {layer.inputs[0] for layer in net.layers if layer.type == "Split" and outputs & set(layer.outputs)}


def _candidates(net: Net, keep_fp32: Collection[str]) -> list[Layer]:
    """The fp32 layers that could be int8, whatever the target. Raises OctetError where keep_fp32 does not fit them."""
    refused = {layer.name: layer for layer in net.layers if (int8 := kind(layer).int8) and int8.refused}
    layers = {layer.name: layer for layer in [*quantizable(net.layers), *uncalibrated(net.layers)]} | refused
    others = {layer.name: layer for layer in net.layers if layer.name not in layers}
    for name in keep_fp32:
        if name not in layers:
            why = no_int8(others[name]) if name in others else ""
            raise OctetError(
                f"keep_fp32: '{name}' is no layer of the model that could be int8. {why or nearest(name, layers)}"
            )
    for name, layer in layers.items():
        if name in refused and name not in keep_fp32:
            raise OctetError(f"layer {name}: Octet does not quantize {layer.type}; list it under keep_fp32")
        if integer(layer, "int8_scale_term"):
            raise OctetError(f"layer {name}: is int8 already; quantize takes the fp32 model")
    return list(layers.values())


def _requantize(net: Net, may: Callable[[Layer], bool], asymmetric: bool) -> None:
    """Lets outputs leave as int8, in place, wherever all that read them are int8 and this layer may."""
    consumers = net.consumers()
    for layer in net.layers:
        scale = _output_scale(consumers, layer) if may(layer) else None
        if scale is not None:
            assign(layer, int8_scale_term=integer(layer, "int8_scale_term") + REQUANTIZED)
            layer.weights["output_scale"] = Tensor(np.array([scale], np.float32))
            if asymmetric:
                zero_points.drop_clip(layer, scale)


def _output_scale(consumers: dict[str, list[Layer]], layer: Layer) -> np.float32 | None:
    """The scale with which this layer's output may leave as int8: where every consumer, directly or through one Split,
    is an int8 convolution with this input scale (fuse_requantize in ncnn2int8.cpp).
    """
    if not can_requantize(layer):
        return None
    readers = consumers.get(layer.outputs[0], [])
    if len(readers) == 1 and readers[0].type == "Split":
        readers = [reader for blob in readers[0].outputs for reader in consumers.get(blob, [])]
    if not readers or not all(map(can_requantize, readers)):
        return None
    scales: set[np.float32] = {reader.weights["input_scale"].data[0] for reader in readers}
    return scales.pop() if len(scales) == 1 else None
