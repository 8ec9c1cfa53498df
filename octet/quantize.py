"""quantize: the fp32 model and a table become ncnn's int8 model.

What ncnn's layers expect (src/layer/convolution.cpp, convolutiondepthwise.cpp, innerproduct.cpp): layer parameter 8
set, int8 weights, the weights' scales and the input's scale; 100 more in parameter 8 where the output leaves as int8,
and then the output's scale too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from octet.engine import Engine
from octet.errors import OctetError, nearest
from octet.format import load, save
from octet.format.net import TAG_INT8, Layer, Net, Tensor
from octet.format.rounding import round_int8
from octet.format.table import Table, channels
from octet.targets import MASK_PARAMETER, MASK_WINOGRAD, Target, quantizable

_INT8_TERM = {"Convolution": 2, "ConvolutionDepthWise": 1, "InnerProduct": 2}
_REQUANTIZING = ("Convolution", "ConvolutionDepthWise")


def quantize(net: Net, table: Table, target: Target, keep_fp32: list[str], where: str) -> Net:
    """The int8 model: every quantizable layer but those of keep_fp32 as the table says. `where` names the table.

    Raises OctetError for a table that does not fit the model or the target, and for an unknown layer in keep_fp32.
    """
    layers = {layer.name: layer for layer in quantizable(net.layers)}
    target.check(list(layers.values()))
    for name in keep_fp32:
        if name not in layers:
            raise OctetError(
                f"keep_fp32: '{name}' is no layer of the model that could be int8. {nearest(name, layers)}"
            )
    table.check(list(layers.values()), where, frozenset(keep_fp32))
    result = net.copy()
    for layer in result.layers:
        if layer.name in layers and layer.name not in keep_fp32 and target.is_int8(layer):
            _make_int8(layer, table, target, where)
    for layer in result.layers:
        scale = _output_scale(result, layer) if target.may_requantize(layer) else None
        if scale is not None:
            layer.params[8] = str(layer.int(8) + 100)
            layer.weights["output_scale"] = Tensor(np.array([scale], np.float32))
    return result


def is_int8(layer: Layer) -> bool:
    """Does ncnn compute this layer in int8?"""
    return layer.int(8) > 0 and layer.weights["weight"].tag == TAG_INT8


def _make_int8(layer: Layer, table: Table, target: Target, where: str) -> None:
    scales = table.weights[layer.name]
    weight = layer.weights["weight"].data.astype(np.float32)
    rounded = round_int8(weight.reshape(channels(layer), -1) * scales[:, None]).reshape(-1)
    levels, used = target.weight_levels(layer), int(np.abs(rounded.astype(np.int32)).max())
    if used > levels:
        raise OctetError(
            f"{where}: layer {layer.name}: the weight scales give integers up to {used}, but on target {target.name} this "
            f"layer may run as Winograd, whose weights end at {levels}; calibrate again for this target"
        )
    if levels == 127 and 0 < used <= 31:
        raise OctetError(
            f"{where}: layer {layer.name}: the weight scales use 6 bits (integers up to {used}), but on target {target.name} "
            "this layer's weights have 8; calibrate again for this target"
        )
    layer.params[8] = str(_INT8_TERM[layer.type])
    if target.masks_winograd(layer):
        layer.params[MASK_PARAMETER] = str(layer.int(MASK_PARAMETER) | MASK_WINOGRAD)
    layer.weights["weight"] = Tensor(rounded, TAG_INT8)
    layer.weights["weight_scales"] = Tensor(scales)
    layer.weights["input_scale"] = Tensor(np.array([table.inputs[layer.name]], np.float32))


def _output_scale(net: Net, layer: Layer) -> np.float32 | None:
    """The scale with which this layer's output may leave as int8: where every consumer, directly or through one Split,
    is an int8 convolution with this input scale (fuse_requantize in ncnn2int8.cpp)."""
    if layer.type not in _REQUANTIZING or not is_int8(layer):
        return None
    consumers = net.consumers()
    readers = consumers.get(layer.outputs[0], [])
    if len(readers) == 1 and readers[0].type == "Split":
        readers = [reader for blob in readers[0].outputs for reader in consumers.get(blob, [])]
    if not readers or not all(reader.type in _REQUANTIZING and is_int8(reader) for reader in readers):
        return None
    scales = {reader.weights["input_scale"].data[0] for reader in readers}
    return scales.pop() if len(scales) == 1 else None


def write(net: Net, param: Path, bin: Path, image: np.ndarray) -> None:
    """Writes the model under temporary names, reads it back, runs it on the image, and only then gives it its names.

    Raises OctetError if what comes back differs, if ncnn gives a value that is not finite, or if a blob that should
    leave its layer as int8 does not.
    """
    partial = param.with_name(f".{param.name}.partial"), bin.with_name(f".{bin.name}.partial")
    try:
        save(net, *partial)
        again = load(*partial)
        _same(net, again, param)
        requantized = [layer.outputs[0] for layer in again.layers if layer.int(8) > 100 and is_int8(layer)]
        engine = Engine(*partial)
        for name, bits in engine.bits(image, requantized).items():
            if bits != 8:
                raise OctetError(f"{param}: blob '{name}' should have 8 bits in ncnn, it has {bits}")
        logits = engine(image)
        if not np.isfinite(logits).all():
            raise OctetError(f"{param}: ncnn gives logits that are not finite: {logits[:5]}")
        partial[1].replace(bin)
        partial[0].replace(param)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _same(net: Net, again: Net, param: Path) -> None:
    for wanted, found in zip(net.layers, again.layers, strict=True):
        same = wanted.params == found.params and wanted.weights.keys() == found.weights.keys()
        if not same or any(
            tensor.tag != found.weights[role].tag or not np.array_equal(tensor.data, found.weights[role].data)
            for role, tensor in wanted.weights.items()
        ):
            raise OctetError(f"{param}: layer {wanted.name} did not read back as it was written")
