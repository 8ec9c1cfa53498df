"""quantize: the fp32 model and a table become ncnn's int8 model.

What ncnn's layers expect (src/layer/convolution.cpp, convolutiondepthwise.cpp, innerproduct.cpp): layer parameter 8
set, int8 weights, the weights' scales and the input's scale; 100 more in parameter 8 where the output leaves as int8,
and then the output's scale too. Gemm, MultiHeadAttention and SDPA (gemm.cpp, multiheadattention.cpp, sdpa.cpp) have
parameter 18 and scales for their weights; they find those of their inputs anew at every run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError, nearest
from octet.graph import zero_points
from octet.graph.targets import MASK_PARAMETER, MASK_WINOGRAD, REQUANTIZING, UNCALIBRATED, Target, quantizable
from octet.ncnn.engine import Engine
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net, load_net, save_net
from octet.ncnn.rounding import round_int8
from octet.ncnn.table import Table, absmax_scales, add_attention, channels, needed
from octet.quantize import ncnn2int8
from octet.quantize.rounded import Rounded

_INT8_TERM = {"Convolution": 2, "ConvolutionDepthWise": 1, "InnerProduct": 2}
_REFUSED = ("RNN", "LSTM", "GRU", "Embed")


def quantize(
    net: Net,
    table: Table,
    target: Target,
    keep_fp32: Collection[str],
    where: str,
    rounded: Mapping[str, Rounded] | None = None,
    exchanged: Collection[str] = (),
) -> Net:
    """The int8 model: every layer that can be int8, but those of keep_fp32, as the table says. `where` names the table.

    rounded: weights whose integers are chosen already (octet/rounding.py), by layer; all others round to the nearest.
    With the target ncnn2int8 its files are byte for byte those of ncnn2int8, which stores as fp16 what is not int8.
    With others, a MultiHeadAttention needs no entries. Raises OctetError for a table that does not fit the model or
    the target, for an unknown layer in keep_fp32, and for a type that ncnn2int8 quantizes and Octet does not.
    exchanged: blobs that leave their layers in fp32, since they go from one part of a cut model to another.
    """
    by_table = quantizable(net.layers)
    target.check(by_table)
    others = [layer for layer in net.layers if layer.type in UNCALIBRATED + _REFUSED]
    layers = {layer.name: layer for layer in by_table + others}
    for name in keep_fp32:
        if name not in layers:
            raise OctetError(
                f"keep_fp32: '{name}' is no layer of the model that could be int8. {nearest(name, layers)}"
            )
    for layer in layers.values():
        if layer.type in _REFUSED and layer.name not in keep_fp32:
            raise OctetError(f"layer {layer.name}: Octet does not quantize {layer.type}; list it under keep_fp32")
        if layer.int(_term(layer)):
            raise OctetError(f"layer {layer.name}: is int8 already; quantize takes the fp32 model")
    if not _parity(target):
        table = deepcopy(table)
        add_attention(table, others)
    attention = [layer for layer in others if layer.type == "MultiHeadAttention"]
    table.check(by_table + attention, where, frozenset(keep_fp32))
    chosen = target.int8_layers(net) | {layer.name for layer in others}
    result = net.copy()
    for layer in result.layers:
        if layer.name in chosen.difference(keep_fp32):
            _MAKE_INT8[layer.type](layer, table, target, where)
            if rounded and layer.name in rounded:
                _take_rounded(layer, rounded[layer.name], target)

    def may_requantize(layer: Layer) -> bool:
        return target.may_requantize(layer) and layer.outputs[0] not in exchanged

    if _parity(target):
        ncnn2int8.requantize(result, may_requantize)
        return ncnn2int8.convert(result)
    if target.asymmetric:
        zero_points.shift(result, is_int8)
    consumers = result.consumers()
    for layer in result.layers:
        scale = _output_scale(consumers, layer) if may_requantize(layer) else None
        if scale is not None:
            layer.params[8] = str(layer.int(8) + 100)
            layer.weights["output_scale"] = Tensor(np.array([scale], np.float32))
            if target.asymmetric:
                zero_points.drop_activation(layer, scale)
    return result


def is_int8(layer: Layer) -> bool:
    """Does ncnn compute this layer in int8?"""
    if layer.type in UNCALIBRATED:
        return layer.int(18) > 0
    return layer.type in _INT8_TERM and layer.int(8) > 0 and layer.weights["weight"].tag == TAG_INT8


def _parity(target: Target) -> bool:
    return target.name == "ncnn2int8"


def _term(layer: Layer) -> int:
    """The number of the parameter that makes a layer int8."""
    return 18 if layer.type in (*UNCALIBRATED, "Embed") else 8


def _fp32(layer: Layer, role: str) -> np.ndarray:
    return layer.weights[role].data.astype(np.float32)


def _int8(rows: np.ndarray, scales: np.ndarray, target: Target) -> Tensor:
    """Rows of weights times their scales, or times the only one, rounded."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = rows * scales[:, None]
    return Tensor((ncnn2int8.round_int8 if _parity(target) else round_int8)(products).reshape(-1), TAG_INT8)


def _make_int8(layer: Layer, table: Table, target: Target, where: str) -> None:
    scales = table.weights[layer.name]
    weight = _int8(_fp32(layer, "weight").reshape(channels(layer), -1), scales, target)
    levels, used = target.weight_levels(layer), int(np.abs(weight.data.astype(np.int32)).max())
    # ncnn2int8 takes any table. A calibrator that clips makes some weights larger than 31: ncnn2table's aciq, up to 36.
    if used > (min(127, 2 * levels + 1) if _parity(target) else levels):
        raise OctetError(
            f"{where}: layer {layer.name}: the weight scales give integers up to {used}, but on target {target.name} this "
            f"layer may run as Winograd, whose weights end at {levels}; calibrate again for this target"
        )
    if not _parity(target) and levels == 127 and 0 < used <= 31:
        raise OctetError(
            f"{where}: layer {layer.name}: the weight scales use 6 bits (integers up to {used}), but on target {target.name} "
            "this layer's weights have 8; calibrate again for this target"
        )
    layer.params[8] = str(_INT8_TERM[layer.type])
    if target.masks_winograd(layer):
        layer.params[MASK_PARAMETER] = str(layer.int(MASK_PARAMETER) | MASK_WINOGRAD)
    layer.weights["weight"] = weight
    layer.weights["weight_scales"] = Tensor(scales)
    layer.weights["input_scale"] = Tensor(np.array([table.inputs[layer.name]], np.float32))


def _take_rounded(layer: Layer, rounded: Rounded, target: Target) -> None:
    levels = target.weight_levels(layer)
    if rounded.weight.size != layer.weights["weight"].data.size or np.abs(rounded.weight.astype(int)).max() > levels:
        raise OctetError(
            f"layer {layer.name}: its {rounded.weight.size} rounded weights are not for this model and target; run the stage round"
        )
    layer.weights["weight"] = Tensor(rounded.weight, TAG_INT8)
    zero_points.add_to_bias(layer, rounded.bias)


def _make_gemm_int8(layer: Layer, table: Table, target: Target, where: str) -> None:
    """Constant matrices, transposed so that a row is summed over: A has a scale for every row, B has one.

    ncnn2int8 finds B's scale in the first row alone, where B need not be transposed, and clamps the others (pnnx's
    files are like that); so does the target of its name, every other finds it in all of B.
    """
    m, n, k = layer.int(7), layer.int(8), layer.int(9)
    if layer.int(4):
        a = _fp32(layer, "a").reshape(k, m).T if layer.int(2) else _fp32(layer, "a").reshape(m, k)
        scales = absmax_scales(np.abs(a).max(axis=1))
        layer.weights |= {"a": _int8(a, scales, target), "a_scales": Tensor(scales)}
        if layer.int(2):
            layer.params[2] = "0"
    if layer.int(5):
        b = _fp32(layer, "b").reshape(n, k) if layer.int(3) else _fp32(layer, "b").reshape(k, n).T.reshape(1, -1)
        scales = absmax_scales(np.abs(b[:1] if _parity(target) else b).max().reshape(1))
        layer.weights |= {"b": _int8(b, scales, target), "b_scale": Tensor(scales)}
        layer.params[3] = "1"
    layer.params[18] = "2"


def _make_attention_int8(layer: Layer, table: Table, target: Target, where: str) -> None:
    found = table.entries()
    for role, key in zip(["q", "k", "v", "out"], needed(layer), strict=True):
        scales = found[key]
        weight = _int8(_fp32(layer, f"{role}_weight").reshape(len(scales), -1), scales, target)
        layer.weights |= {f"{role}_weight": weight, "out_scale" if role == "out" else f"{role}_scales": Tensor(scales)}
    layer.params[18] = "2"


def _make_sdpa_int8(layer: Layer, table: Table, target: Target, where: str) -> None:
    layer.params[18] = "2"


_MAKE_INT8 = {
    **dict.fromkeys(_INT8_TERM, _make_int8),
    "Gemm": _make_gemm_int8,
    "MultiHeadAttention": _make_attention_int8,
    "SDPA": _make_sdpa_int8,
}


def _output_scale(consumers: dict[str, list[Layer]], layer: Layer) -> np.float32 | None:
    """The scale with which this layer's output may leave as int8: where every consumer, directly or through one Split,
    is an int8 convolution with this input scale (fuse_requantize in ncnn2int8.cpp).
    """
    if layer.type not in REQUANTIZING or not is_int8(layer):
        return None
    readers = consumers.get(layer.outputs[0], [])
    if len(readers) == 1 and readers[0].type == "Split":
        readers = [reader for blob in readers[0].outputs for reader in consumers.get(blob, [])]
    if not readers or not all(reader.type in REQUANTIZING and is_int8(reader) for reader in readers):
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
        save_net(net, *partial)
        again = load_net(*partial)
        _same(net, again, param)
        requantized = [layer.outputs[0] for layer in again.layers if layer.type in REQUANTIZING and layer.int(8) > 100]
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
