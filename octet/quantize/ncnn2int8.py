"""The files as ncnn2int8 writes them, byte for byte: its parameters, its fp16, its rules for requantizing.

Sources, in ncnn's tree of July 2026: ModelWriter::save in tools/modelwriter.h (which parameters it writes, in which
order, and when), src/paramdict.cpp (how it reads them), src/layer/x86/cast_fp16.h (fp16), fuse_requantize in
tools/quantize/ncnn2int8.cpp.

ncnn2int8 drops without a word whatever its writer has no line for: a parameter here and there, all parameters of some
layer types, every layer's feature mask. Each of these is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from octet.core.errors import OctetError
from octet.graph.layer_types import REQUANTIZING
from octet.graph.layers import REQUANTIZED, assign, can_requantize, integer
from octet.ncnn.layer import TAG_FP16, TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net

_KERNEL = "1 11@1 2=1 12@2 3=1 13@3 4 14@4 15@4 16@14"
_KERNEL_1D = "1 2=1 3=1 4 15@4"

# One word a parameter, in the writer's order: its number; its kind (none: integer, f: float, I: integers, F: floats,
# s: text); and when it is left out: where it equals the value behind = (0, none or empty if there is none), or
# parameter n's value behind @. 1!0: a mark, written as 1 wherever parameter 0 is not 0 or empty. 21-: never written.
_TABLE = {
    "BatchNorm": "0 1f",
    "Bias": "0",
    "BinaryOp": "0 1 2f",
    "CELU": "0f=1",
    "Clip": "0f=-3.4028235e38 1f=3.4028235e38",
    "Concat": "0",
    "Convolution": f"0 {_KERNEL} 18f 5 6 8 9 10F 19",
    "Convolution1D": f"0 {_KERNEL_1D} 18f 5 6 9 10F 19",
    "ConvolutionDepthWise": f"0 {_KERNEL} 18f 5 6 7=1 8 9 10F 19",
    "ConvolutionDepthWise1D": f"0 {_KERNEL_1D} 18f 5 6 7=1 9 10F 19",
    "CopyTo": "0 1 13 2 9I 11I",
    "Crop": "0 1 13 2 3 4 14 5 6 7 15 8 9I 10I 11I 19s 20s 21s",
    "CumulativeSum": "0",
    "Deconvolution": f"0 {_KERNEL} 18 19@18 20 21@20 5 6 9 10F 28",
    "Deconvolution1D": f"0 {_KERNEL_1D} 18 20 5 6 9 10F 28",
    "DeconvolutionDepthWise": f"0 {_KERNEL} 18 19@18 20 21@20 5 6 7=1 9 10F 28",
    "DeconvolutionDepthWise1D": f"0 {_KERNEL_1D} 18 20 5 6 7=1 9 10F 28",
    "DeformableConv2D": f"0 {_KERNEL} 5 6 9 10F",
    "Diag": "0",
    "Dropout": "0f=1",
    "Eltwise": "0 1F",
    "ELU": "0f=0.1",
    "Embed": "0 1 2 3 18",
    "Exp": "0f=-1 1f=1 2f",
    "ExpandDims": "3I",
    "Fold": f"{_KERNEL} 20 21@20",
    "GELU": "0",
    "Gemm": "0f=1 1f=1 2 3 4 5 6 7 8 9 10 11 12 13 14 18 20 21 22",
    "GLU": "0",
    "GridSample": "0=1 1=1 2 3",
    "GroupNorm": "0=1 1 2f=0.001 3=1",
    "GRU": "0 1 2 8",
    "HardSigmoid": "0f=0.2 1f=0.5",
    "HardSwish": "0f=0.2 1f=0.5",
    "InnerProduct": "0 1 2 8 9 10F",
    "Input": "0 1 2",
    "InstanceNorm": "0 1f=0.001 2=1",
    "Interp": "0 1f=1 2f=1 3 4 5 6 9s",
    "LayerNorm": "0 1f=0.001 2=1",
    "Log": "0f=-1 1f=1 2f",
    "LRN": "0 1=5 2f=1 3f=0.75 4f=1",
    "LSTM": "0 1 2 3 8",
    "MatMul": "0",
    "MemoryData": "0 1 2 11 21-",
    "MultiHeadAttention": "0 1=1 2 3 4 5 6f=inf 7 18",
    "MVN": "0 1 2f=0.0001",
    "Normalize": "0 1 2f=0.0001 3 4=1 9",
    "Padding": "0 1 2 3 4 5f 6 7 8",
    "Permute": "0",
    "PixelShuffle": "0=1 1",
    "Pooling": "0 1 11@1 2=1 12@2 3 13@3 14@3 15@13 4 5 6 7 8 18@8",
    "Pooling1D": "0 1 2=1 3 14@3 4 5 6 7 8",
    "Power": "0f=1 1f=1 2f",
    "PReLU": "0",
    "Reduction": "0 1=1 2f=1 3I 4 5!3",
    "ReLU": "0f",
    "Reorg": "0=1 1",
    "Reshape": "0=-233 1=-233 11=-233 2=-233 6s",
    "RMSNorm": "0 1f=0.001 2=1",
    "RNN": "0 1 2 8",
    "RotaryEmbed": "0",
    "Scale": "0 1",
    "SDPA": "5 6f 7 18",
    "ShuffleChannel": "0=1 1",
    "Slice": "0I 1",
    "Softmax": "0 1!0",
    "Squeeze": "0 1 11 2 3I",
    "Threshold": "0f",
    "Tile": "0 1=1 2I",
    "UnaryOp": "0",
    "Unfold": f"{_KERNEL} 18f",
}
# Types that the writer has no line for: right as long as they have no parameters.
_BARE = [
    "AbsVal",
    "BNLL",
    "Cast",
    "DeepCopy",
    "Einsum",
    "Erf",
    "Flatten",
    "Flip",
    "Mish",
    "Noop",
    "Packing",
    "SELU",
    "Shrink",
    "Sigmoid",
    "Softplus",
    "Split",
    "Swish",
    "TanH",
]
_RULES = {
    **{kind: re.findall(r"(\d+)([fIFs]?)([=@!-]?)(\S*)", words) for kind, words in _TABLE.items()},
    **{kind: [] for kind in _BARE},
}
_INTEGER = re.compile(r"[-+]?\d+$", re.ASCII)
_FLOAT = re.compile(r"(?=[-+]?\.?\d)([-+]?)(\d*)(?:\.(\d*))?(?:[eE]([-+]?)(\d*))?$", re.ASCII)


def convert(net: Net) -> Net:
    """The quantized model as ncnn2int8 would write it. Raises OctetError for what it would drop or misread."""
    return Net([Layer(x.type, x.name, x.inputs, x.outputs, _parameters(x), _weights(x)) for x in net.layers])


def requantize(net: Net, may: Callable[[Layer], bool]) -> None:
    """Lets layers' outputs leave as int8, by ncnn2int8's rules, which look for one reader and not at all readers.

    First every convolution with a convolution behind it, then every one whose Split is read by int8 convolutions
    alone: both int8, it gets 100 more in parameter 8 and the input scale of the first reader. Both rules may hit.
    """
    numbered = enumerate(net.layers, start=1)
    convolutions = [(at, layer) for at, layer in numbered if layer.type in REQUANTIZING and may(layer)]
    for behind, layer in convolutions:
        _fuse(layer, _reader(net.layers[behind:], REQUANTIZING, layer.outputs[0]))
    last = {blob: layer for layer in net.layers for blob in layer.inputs}
    for behind, layer in convolutions:
        split = _reader(net.layers[behind:], ("Split",), layer.outputs[0])
        readers = [_reader(net.layers[behind:], REQUANTIZING, blob) for blob in split.outputs] if split else []
        if readers and all(reader is not None and can_requantize(reader) for reader in readers):
            _fuse(layer, last[split.outputs[0]])


def _reader(layers: list[Layer], kinds: tuple[str, ...], blob: str) -> Layer | None:
    """The first layer of these types that reads this blob and nothing else."""
    return next((layer for layer in layers if layer.type in kinds and layer.inputs == [blob]), None)


def _fuse(layer: Layer, reader: Layer | None) -> None:
    if reader is not None and can_requantize(layer) and can_requantize(reader):
        assign(layer, int8_scale_term=integer(layer, "int8_scale_term") + REQUANTIZED)
        layer.weights["output_scale"] = Tensor(reader.weights["input_scale"].data)


def _parameters(layer: Layer) -> dict[int, str]:
    if layer.type not in _RULES:
        raise OctetError(
            f"layer {layer.name}: Octet does not know how ncnn2int8 writes a layer of type {layer.type}; "
            "take another target, which keeps the layer as it is"
        )
    given, values, written = _given(layer), {}, {}
    for number, kind, relation, operand in _RULES[layer.type]:
        key = -23300 - int(number) if kind in ("I", "F") else int(number)
        text = given.pop(key, None)
        if relation in ("!", "-"):
            if relation == "!" and values[operand]:
                written[key] = "1"
            continue
        left_out = values[operand] if relation == "@" else _DEFAULTS[kind](operand)
        try:
            values[number] = left_out if text is None else _READ[kind](text)
        except ValueError as error:
            raise OctetError(f"layer {layer.name}: {layer.type}'s parameter {key}={text}: {error}") from None
        if values[number] != left_out:
            written[key] = _WRITE[kind](values[number])
    if given:
        raise OctetError(
            f"layer {layer.name}: ncnn2int8 would drop {layer.type}'s parameter "
            f"{', '.join(f'{key}={value}' for key, value in given.items())}; take another target, which keeps it"
        )
    return written


def _given(layer: Layer) -> dict[int, str]:
    """The layer's parameters: arrays in ncnn's older spelling, and with the defaults that the writer does not share."""
    given = {}
    for key, text in layer.params.items():
        array = key >= 0 and "," in text and not text.startswith('"')
        given[-23300 - key if array else key] = f"{text.count(',') + 1},{text}" if array else text
    if layer.type == "LSTM":
        given.setdefault(3, given.get(0, "0"))
    if layer.type == "MultiHeadAttention":
        width = layer.int(0)
        with np.errstate(divide="ignore"):
            scale = np.float32(1) / np.sqrt(np.float32(width // layer.int(1, 1)))
        given = {3: str(width), 4: str(width), 6: f"{scale:.9e}"} | given
    return given


def _integer(text: str) -> int:
    if not _INTEGER.match(text) or len(text) > 15 or not -(2**31) <= int(text) < 2**31:
        raise ValueError("expected an integer of 32 bits")
    return int(text)


def _float(text: str) -> np.float32:
    """A number as ncnn reads it: digits in unsigned integers, the rest in fp64, the exponent step by step."""
    found = _FLOAT.match(text)
    if not found or len(text) > 15:
        raise ValueError("expected a number of up to 15 characters")
    if _INTEGER.match(text) and int(text):
        raise ValueError("expected a point or an exponent; ncnn takes the bits of a whole number for a float's")
    sign, whole, fraction, direction, exponent = (part or "" for part in found.groups())
    value = float(int(whole or 0) % 2**32)
    if fraction:
        value += int(fraction) % 2**32 / (10 ** len(fraction) % 2**32)
    scale = 1.0
    for factor in [1e8] * (int(exponent or 0) // 8) + [10.0] * (int(exponent or 0) % 8):
        scale *= factor
    value = value / scale if direction == "-" else value * scale
    with np.errstate(over="ignore"):
        return np.float32(-value if sign == "-" else value)


def _array(item):
    def read(text: str) -> list:
        count, *words = text.split(",")
        if count != str(len(words)):
            raise ValueError(f"expected the number of values, then as many; found {len(words)}")
        return [item(word) for word in words]

    return read


_READ = {"": _integer, "f": _float, "I": _array(_integer), "F": _array(_float), "s": lambda text: text.strip('"')}
_WRITE = {
    "": str,
    "f": lambda value: f"{value:e}",
    "I": lambda values: ",".join(map(str, [len(values), *values])),
    "F": lambda values: ",".join([str(len(values)), *(f"{value:e}" for value in values)]),
    "s": lambda value: f'"{value}"',
}
_DEFAULTS = {
    "": lambda text: int(text or 0),
    "f": lambda text: np.float32(text or 0),
    "I": lambda text: [],
    "F": lambda text: [],
    "s": lambda text: "",
}


def _weights(layer: Layer) -> dict[str, Tensor]:
    """int8 as it is, other tagged weights as fp16, plain numbers (and MemoryData's) as fp32 without the tiny ones."""
    found = {}
    for role, tensor in layer.weights.items():
        if tensor.tag == TAG_INT8:
            found[role] = tensor
            continue
        data = tensor.data.astype(np.float32)
        if tensor.tag is None or layer.type == "MemoryData":
            data[(np.abs(data.astype(np.float64)) < 1e-30) & (data != 0)] = 0
            found[role] = Tensor(data)
        else:
            found[role] = Tensor(to_fp16(data), TAG_FP16)
    return found


def round_as_ncnn2int8(rows: np.ndarray) -> np.ndarray:
    """Half away from zero, clamped to -127..127, as in src/layer/x86/quantize_x86.cpp to the last bit: in whole groups
    of four of a row the fp32 number just below 0.5 becomes 1, in the rest of it 0; what no int32 holds becomes -127.

    (In depthwise layers ncnn cuts the rows by the number of its threads first; which of that one number become 1
    depends on it. Not so here.)
    """
    half = np.full(rows.shape[-1], 0.5, np.float32)
    half[half.size - half.size % 4 :] = np.nextafter(np.float32(0.5), np.float32(0))
    rounded = np.trunc(rows + np.copysign(half, rows))
    return np.where(np.abs(rounded) < 2**31, np.clip(rounded, -127, 127), -127).astype(np.int8)


def to_fp16(values: np.ndarray) -> np.ndarray:
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
