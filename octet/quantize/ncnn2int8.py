"""The files as ncnn2int8 writes them, byte for byte: its parameters, its fp16, its rules for requantizing.

Sources, in ncnn's tree of July 2026: ModelWriter::save in tools/modelwriter.h (which parameters it writes, in which
order, and when), src/paramdict.cpp (how it reads them), src/layer/x86/cast_fp16.h (fp16), fuse_requantize in
tools/quantize/ncnn2int8.cpp.

ncnn2int8 drops without a word whatever its writer has no line for: a parameter here and there, all parameters of some
layer types, every layer's feature mask. Each of these is an error here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.graph.layer_types import REQUANTIZING
from octet.graph.layers import REQUANTIZED, assign, can_requantize, integer
from octet.ncnn.layer import TAG_FP16, TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net
from octet.ncnn.parameters import ARRAY, READ, RULES, older_spelling


def convert(net: Net) -> Net:
    """The quantized model as ncnn2int8 would write it. Raises OctetError for what it would drop or misread."""
    return Net([Layer(x.type, x.name, x.inputs, x.outputs, _parameters(x), _weights(x)) for x in net.layers])


def requantize(net: Net, may: Callable[[Layer], bool]) -> None:
    """Lets layers' outputs leave as int8, by ncnn2int8's rules, which look for one reader and not at all readers.

    First every convolution with a convolution behind it, then every one whose Split is read by int8 convolutions
    alone: both int8, it gets 100 more in parameter 8 and the input scale of the first reader. Both rules may hit. They are
    those of fuse_requantize in ncnn's tools/quantize/ncnn2int8.cpp.

    Args:
        net: An int8 network, which is changed.
        may: Whether a layer's output may leave as int8 at all.
    """
    numbered = enumerate(net.layers, start=1)
    convolutions = [(at, layer) for at, layer in numbered if layer.type in REQUANTIZING and may(layer)]
    for behind, layer in convolutions:
        _fuse(layer, _reader(net.layers[behind:], REQUANTIZING, layer.outputs[0]))
    last = {blob: layer for layer in net.layers for blob in layer.inputs}
    for behind, layer in convolutions:
        split = _reader(net.layers[behind:], ("Split",), layer.outputs[0])
        copies = split.outputs if split else []
        readers = [_reader(net.layers[behind:], REQUANTIZING, blob) for blob in copies]
        if readers and all(reader is not None and can_requantize(reader) for reader in readers):
            _fuse(layer, last[copies[0]])


def _reader(layers: list[Layer], kinds: tuple[str, ...], blob: str) -> Layer | None:
    """The first layer of these types that reads this blob and nothing else."""
    return next((layer for layer in layers if layer.type in kinds and layer.inputs == [blob]), None)


def _fuse(layer: Layer, reader: Layer | None) -> None:
    if reader is not None and can_requantize(layer) and can_requantize(reader):
        assign(layer, int8_scale_term=integer(layer, "int8_scale_term") + REQUANTIZED)
        layer.weights["output_scale"] = Tensor(reader.weights["input_scale"].data)


def _parameters(layer: Layer) -> dict[int, str]:
    if layer.type not in RULES:
        raise OctetError(
            f"layer {layer.name}: Octet does not know how ncnn2int8 writes a layer of type {layer.type}; "
            "take another target, which keeps the layer as it is"
        )
    given, written = _given(layer), {}
    values: dict[str, Any] = {}
    for number, kind, relation, operand in RULES[layer.type]:
        key = ARRAY - int(number) if kind in ("I", "F") else int(number)
        text = given.pop(key, None)
        if relation in ("!", "-"):
            if relation == "!" and values[operand]:
                written[key] = "1"
            continue
        default = values[operand] if relation == "@" else _DEFAULTS[kind](operand)
        try:
            values[number] = default if text is None else READ[kind](text)
        except ValueError as error:
            raise OctetError(f"layer {layer.name}: {layer.type}'s parameter {key}={text}: {error}") from None
        if values[number] != default:
            written[key] = _WRITE[kind](values[number])
    if given:
        raise OctetError(
            f"layer {layer.name}: ncnn2int8 would drop {layer.type}'s parameter "
            f"{', '.join(f'{key}={value}' for key, value in given.items())}; take another target, which keeps it"
        )
    return written


def _given(layer: Layer) -> dict[int, str]:
    """The layer's parameters: arrays in ncnn's older spelling, and with the defaults that the writer does not share."""
    given = older_spelling(layer.params)
    if layer.type == "LSTM":
        given.setdefault(3, given.get(0, "0"))
    if layer.type == "MultiHeadAttention":
        width = layer.int(0)
        with np.errstate(divide="ignore"):
            scale = np.float32(1) / np.sqrt(np.float32(width // layer.int(1, 1)))
        given = {3: str(width), 4: str(width), 6: f"{scale:.9e}"} | given
    return given


# How the writer prints a value of each kind, and what it takes for the default where the table says nothing.
_WRITE: dict[str, Callable[[Any], str]] = {
    "": str,
    "f": lambda value: f"{value:e}",
    "I": lambda values: ",".join(map(str, [len(values), *values])),
    "F": lambda values: ",".join([str(len(values)), *(f"{value:e}" for value in values)]),
    "s": lambda value: f'"{value}"',
}
_DEFAULTS: dict[str, Callable[[str], Any]] = {
    "": lambda text: int(text or 0),
    "f": lambda text: np.float32(text or 0),
    "I": lambda _: [],
    "F": lambda _: [],
    "s": lambda _: "",
}


def _weights(layer: Layer) -> dict[str, Tensor]:
    """int8 as it is, other tagged weights as fp16, plain numbers (and MemoryData's) as fp32 without the tiny ones."""
    converted = {}
    for role, tensor in layer.weights.items():
        if tensor.tag == TAG_INT8:
            converted[role] = tensor
            continue
        data = tensor.data.astype(np.float32)
        if tensor.tag is None or layer.type == "MemoryData":
            data[(np.abs(data.astype(np.float64)) < 1e-30) & (data != 0)] = 0
            converted[role] = Tensor(data)
        else:
            converted[role] = Tensor(to_fp16(data), TAG_FP16)
    return converted


def round_as_ncnn2int8(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Half away from zero, clamped to -127..127, as in src/layer/x86/quantize_x86.cpp to the last bit: in whole groups
    of four of a row the fp32 number just below 0.5 becomes 1, in the rest of it 0; what no int32 holds becomes -127.

    (In depthwise layers ncnn cuts the rows by the number of its threads first; which of that one number become 1
    depends on it. Not so here.)
    """
    half = np.full(rows.shape[-1], 0.5, np.float32)
    half[half.size - half.size % 4 :] = np.nextafter(np.float32(0.5), np.float32(0))
    rounded = np.trunc(rows + np.copysign(half, rows))
    return np.where(np.abs(rounded) < 2**31, np.clip(rounded, -127, 127), -127).astype(np.int8)


def to_fp16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """fp32 to fp16 as on x86 with F16C: to nearest even, but the last n mod 4 values are cut off towards zero."""
    with np.errstate(over="ignore"):
        result = values.astype(np.float16)
    cut = values.size - values.size % 4
    bits = values[cut:].view(np.uint32).astype(np.int64)
    sign, exponent, significand = bits >> 31 << 15, (bits >> 23 & 0xFF) - 112, bits & 0x7FFFFF
    normal = np.where(exponent <= 0, 0, exponent << 10 | significand >> 13)
    special = 0x7C00 | np.where((exponent == 0xFF - 112) & (significand > 0), 0x200, 0)
    result[cut:] = (sign | np.where(exponent >= 31, special, normal)).astype(np.uint16).view(np.float16)
    return result
