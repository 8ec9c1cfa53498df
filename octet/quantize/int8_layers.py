"""One layer becomes int8: its weights' integers, its scales, and the parameters that say so.

What ncnn's layers expect (src/layer/convolution.cpp, convolutiondepthwise.cpp, innerproduct.cpp): int8 weights, their
scales and the input's scale. Gemm, MultiHeadAttention and SDPA (gemm.cpp, multiheadattention.cpp, sdpa.cpp) have scales
for their weights alone; they find those of their inputs anew at every run.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.graph import zero_points
from octet.graph.layers import assign, integer, kind, scale_counts
from octet.graph.scales import absmax_scales, needed_entries, weight_scale_count
from octet.graph.targets import MASK_WINOGRAD, Target
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.rounding import round_int8
from octet.ncnn.table import Table
from octet.quantize import ncnn2int8
from octet.quantize.gptq_weights import GptqWeights

Floats = npt.NDArray[np.float32]


def make_int8(layer: Layer, table: Table, target: Target, where: str) -> None:
    """Makes an fp32 layer int8, in place.

    Args:
        layer: One of a type that has int8 in octet/graph/layer_types.py.
        table: The scales of its weights and, where it needs it, of its input.
        target: The device's profile.
        where: The table's file, for errors.

    Raises:
        OctetError: The scales are not for this target; or ncnn has no int8 for the layer's type.
    """
    int8 = kind(layer).int8
    if int8 is None or int8.refused:
        raise OctetError(f"layer {layer.name}: ncnn has no int8 for {layer.type}; it can only stay in fp32")
    if int8.calibrated == "input":
        assign(layer, int8_scale_term=int8.term)
        return _quantize_rows(layer, table, target, where)
    if layer.type == "Gemm":
        _quantize_gemm(layer, target)
    elif layer.type == "MultiHeadAttention":
        _quantize_attention(layer, table, target)
    assign(layer, int8_scale_term=int8.term)
    return None


def take_gptq_weights(layer: Layer, chosen: GptqWeights, target: Target) -> None:
    """Gives an int8 layer the integers that GPTQ or fine-tuning chose, the change of its bias, and scales that were learned.

    Args:
        layer: An int8 layer, which is changed.
        chosen: What was chosen for it.
        target: Says which integers may be.

    Raises:
        OctetError: They are another layer's, or another target's.
    """
    levels = target.weight_levels(layer)
    fits = chosen.weight.size == layer.weights["weight"].data.size and np.abs(chosen.weight.astype(int)).max() <= levels
    learned = {"weight_scales": chosen.weight_scales, "input_scale": chosen.input_scale}
    scales = {role: Tensor(values) for role, values in learned.items() if values is not None}
    if not fits or any(tensor.data.size != layer.weights[role].data.size for role, tensor in scales.items()):
        raise OctetError(
            f"layer {layer.name}: its {chosen.weight.size} rounded weights are not for this model and target; run the stage round"
        )
    layer.weights["weight"] = Tensor(chosen.weight, TAG_INT8)
    layer.weights |= scales
    zero_points.add_to_bias(layer, chosen.bias)


def _quantize_rows(layer: Layer, table: Table, target: Target, where: str) -> None:
    """Of convolutions and linear layers: rows of weights, each with the scale that the table has for it."""
    scales = table.weights[layer.name]
    weight = _integers(_fp32(layer, "weight").reshape(weight_scale_count(layer), -1), scales, target)
    largest = int(np.abs(weight.data.astype(np.int32)).max())
    _check_levels(layer, largest, target, where)
    if target.masks_winograd(layer):
        assign(layer, featmask=integer(layer, "featmask") | MASK_WINOGRAD)
    layer.weights["weight"] = weight
    layer.weights["weight_scales"] = Tensor(scales)
    layer.weights["input_scale"] = Tensor(np.array([table.inputs[layer.name]], np.float32))


def _check_levels(layer: Layer, largest: int, target: Target, where: str) -> None:
    """Do the weights have as many bits as the kernel takes that the target runs?"""
    levels = target.weight_levels(layer)
    # ncnn2int8 takes any table. A calibrator that clips makes some weights larger than 31: ncnn2table's aciq, up to 36.
    if largest > (min(127, 2 * levels + 1) if target.ncnn2int8_files else levels):
        raise OctetError(
            f"{where}: layer {layer.name}: the weight scales give integers up to {largest}, but on target {target.name} this "
            f"layer may run as Winograd, whose weights end at {levels}; calibrate again for this target"
        )
    if not target.ncnn2int8_files and levels == 127 and 0 < largest <= 31:
        raise OctetError(
            f"{where}: layer {layer.name}: the weight scales use 6 bits (integers up to {largest}), but on target {target.name} "
            "this layer's weights have 8; calibrate again for this target or, of a table of ncnn2table's or PPQ's own, set "
            "'target: ncnn2int8', which they are for"
        )


def _quantize_gemm(layer: Layer, target: Target) -> None:
    """Constant matrices, transposed so that a row is summed over: A has a scale for every row, B has one.

    ncnn2int8 finds B's scale in the first row alone, where B need not be transposed, and clamps the others (pnnx's
    files are like that); so does the target of its name, every other finds it in all of B.
    """
    m, n, k = (integer(layer, f"constant{size}") for size in "MNK")
    if integer(layer, "constantA"):
        transposed = integer(layer, "transA")
        a = _fp32(layer, "a").reshape(k, m).T if transposed else _fp32(layer, "a").reshape(m, k)
        scales = absmax_scales(np.abs(a).max(axis=1))
        layer.weights |= {"a": _integers(a, scales, target), "a_scales": Tensor(scales)}
        if transposed:
            assign(layer, transA=0)
    if integer(layer, "constantB"):
        rows = integer(layer, "transB")
        b = _fp32(layer, "b").reshape(n, k) if rows else _fp32(layer, "b").reshape(k, n).T.reshape(1, -1)
        scales = absmax_scales(np.abs(b[:1] if target.ncnn2int8_files else b).max().reshape(1))
        layer.weights |= {"b": _integers(b, scales, target), "b_scale": Tensor(scales)}
        assign(layer, transB=1)


def _quantize_attention(layer: Layer, table: Table, target: Target) -> None:
    scales_by_entry = table.entries()
    for role, key in zip(scale_counts(layer), needed_entries(layer), strict=True):
        scales, name = scales_by_entry[key], role.removesuffix("_weight")
        weight = _integers(_fp32(layer, role).reshape(len(scales), -1), scales, target)
        layer.weights |= {role: weight, "out_scale" if name == "out" else f"{name}_scales": Tensor(scales)}


def _fp32(layer: Layer, role: str) -> Floats:
    return layer.weights[role].data.astype(np.float32)


def _integers(rows: Floats, scales: Floats, target: Target) -> Tensor:
    """Rows of weights times their scales, or times the only one, rounded."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = rows * scales[:, None]
    rounded = ncnn2int8.round_as_ncnn2int8 if target.ncnn2int8_files else round_int8
    return Tensor(rounded(products).reshape(-1), TAG_INT8)
