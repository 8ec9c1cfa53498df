"""Which weights each layer type has in ncnn's .bin, in which order and of which size.

Source: `load_param` and `load_model` of each layer in ncnn's src/layer/*.cpp. A slot is (role, number of values,
tagged): ncnn reads tagged weights with `mb.load(n, 0)`, a 4-byte tag and then the data; the others with
`mb.load(n, 1)`, plain fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from octet.ncnn.layer import Layer


@dataclass(frozen=True)
class Slot:
    """A weight's place in the .bin: what it is, how many values it has, and whether a tag says their type."""

    role: str
    count: int
    tagged: bool


Rule = Callable[[Layer], list[Slot]]


def slots(layer: Layer) -> list[Slot]:
    """The layer's weights in the order of the .bin; empty for a layer without any."""
    return [slot for slot in possible_slots(layer) if slot.count > 0]


def possible_slots(layer: Layer) -> list[Slot]:
    """The weights that layers of this type have, those that this one has not among them, of 0 values."""
    rule = _RULES.get(layer.type)
    return rule(layer) if rule else []


def input_channels(layer: Layer) -> int | None:
    """How many channels a convolution with weights of its own reads; None for any other layer."""
    if layer.type not in ("Convolution", "ConvolutionDepthWise") or has_dynamic_weight(layer):
        return None
    group = layer.int(7, 1) if layer.type == "ConvolutionDepthWise" else 1
    return layer.int(6) * group // (layer.int(0) * layer.int(1) * layer.int(11, layer.int(1)))


def has_dynamic_weight(layer: Layer) -> bool:
    """Does a convolution of any kind read its weight as an input? Then there is none in the .bin."""
    return bool(layer.int(28 if layer.type.startswith("Deconvolution") else 19))


def is_scale(layer: Layer, role: str) -> bool:
    """Is a weight the scales with which numbers become int8, which are above zero?

    >>> is_scale(Layer("Convolution", "a", [], []), "weight_scales"), is_scale(Layer("Scale", "b", [], []), "scale")
    (True, False)
    """
    if layer.type in ("Quantize", "Dequantize", "Requantize"):
        return role.startswith("scale")
    return role.endswith(("_scale", "_scales"))


def _convolution(layer: Layer) -> list[Slot]:
    if has_dynamic_weight(layer):
        return []
    outputs, term = layer.int(0), layer.int(8) if layer.type in ("Convolution", "ConvolutionDepthWise") else 0
    places = [Slot("weight", layer.int(6), True), Slot("bias", outputs if layer.int(5) else 0, False)]
    if term:
        scales = outputs
        if layer.type == "ConvolutionDepthWise":
            scales = layer.int(7, 1) if term % 100 == 1 else 1
        places += [Slot("weight_scales", scales, False), Slot("input_scale", 1, False)]
    if term > 100:
        places.append(Slot("output_scale", 1, False))
    return places


def _inner_product(layer: Layer) -> list[Slot]:
    outputs = layer.int(0)
    places = [Slot("weight", layer.int(2), True), Slot("bias", outputs if layer.int(1) else 0, False)]
    if layer.int(8):
        places += [Slot("weight_scales", outputs, False), Slot("input_scale", 1, False)]
    return places


def _embed(layer: Layer) -> list[Slot]:
    places = [Slot("weight", layer.int(3), True), Slot("bias", layer.int(0) if layer.int(2) else 0, False)]
    return places + ([Slot("weight_scales", 1, False)] if layer.int(18) else [])


def _gemm(layer: Layer) -> list[Slot]:
    m, n, k = layer.int(7), layer.int(8), layer.int(9)
    sizes_c = {-1: 0, 0: 1, 1: m, 2: m, 3: m * n, 4: n}
    places = [
        Slot("a", m * k if layer.int(4) else 0, True),
        Slot("b", n * k if layer.int(5) else 0, True),
        Slot("c", sizes_c.get(layer.int(10), 0) if layer.int(6) else 0, True),
    ]
    if layer.int(18):
        places += [
            Slot("a_scales", m if layer.int(4) else 0, False),
            Slot("b_scale", 1 if layer.int(5) else 0, False),
        ]
    return places


def _multi_head_attention(layer: Layer) -> list[Slot]:
    embed = layer.int(0)
    sizes = {"q": layer.int(2) // embed, "k": layer.int(3, embed), "v": layer.int(4, embed)}
    places = []
    for name, size in sizes.items():
        places += [Slot(f"{name}_weight", embed * size, True), Slot(f"{name}_bias", embed, False)]
    places += [Slot("out_weight", sizes["q"] * embed, True), Slot("out_bias", sizes["q"], False)]
    if layer.int(18):
        places += [Slot(f"{name}_scales", embed, False) for name in sizes] + [Slot("out_scale", 1, False)]
    return places


def _recurrent(gates: int) -> Rule:
    def rule(layer: Layer) -> list[Slot]:
        outputs, directions = layer.int(0), 2 if layer.int(2) == 2 else 1
        hidden = layer.int(3, outputs) if layer.type == "LSTM" else outputs
        rows = hidden * gates * directions
        places = [
            Slot("weight_xc", layer.int(1), True),
            Slot("bias", hidden * {1: 1, 3: 4, 4: 4}[gates] * directions, True),
            Slot("weight_hc", outputs * rows, True),
            Slot("weight_hr", hidden * outputs * directions if hidden != outputs else 0, True),
        ]
        if layer.int(8):
            places += [Slot("weight_xc_scales", rows, False), Slot("weight_hc_scales", rows, False)]
        return places

    return rule


def _memory_data(layer: Layer) -> list[Slot]:
    sizes = [layer.int(key) for key in (0, 1, 11, 2)]
    count = 1
    for size in sizes:
        count *= size or 1
    return [Slot("data", count if any(sizes) else 0, layer.int(21, 1) == 0)]


def _affine(count_key: int, affine_key: int | None, *roles: str) -> Rule:
    def rule(layer: Layer) -> list[Slot]:
        if affine_key is not None and layer.int(affine_key, 1) == 0:
            return []
        return [Slot(role, layer.int(count_key), False) for role in roles]

    return rule


def _scale(layer: Layer) -> list[Slot]:
    count = max(layer.int(0), 0)  # -233: the scale is an input
    return [Slot("scale", count, False), Slot("bias", count if layer.int(1) else 0, False)]


def _quantize(layer: Layer) -> list[Slot]:
    return [Slot("scale", layer.int(0, 1), False)]


def _dequantize(layer: Layer) -> list[Slot]:
    return [Slot("scale", layer.int(0, 1), False), Slot("bias", layer.int(1), False)]


def _requantize(layer: Layer) -> list[Slot]:
    return [
        Slot("scale_in", layer.int(0, 1), False),
        Slot("scale_out", layer.int(1, 1), False),
        Slot("bias", layer.int(2), False),
    ]


CONVOLUTIONS = (
    *(f"{kind}{dims}" for kind in ("Convolution", "ConvolutionDepthWise") for dims in ("", "1D", "3D")),
    *(f"{kind}{dims}" for kind in ("Deconvolution", "DeconvolutionDepthWise") for dims in ("", "1D", "3D")),
    "DeformableConv2D",
)
_RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    "InnerProduct": _inner_product,
    "Embed": _embed,
    "Gemm": _gemm,
    "MultiHeadAttention": _multi_head_attention,
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
    "MemoryData": _memory_data,
    "BatchNorm": _affine(0, None, "slope", "mean", "variance", "bias"),
    "Bias": _affine(0, None, "bias"),
    "PReLU": _affine(0, None, "slope"),
    "Normalize": _affine(3, None, "scale"),
    "Padding": _affine(6, None, "value"),
    "GroupNorm": _affine(1, 3, "gamma", "beta"),
    "InstanceNorm": _affine(0, 2, "gamma", "beta"),
    "LayerNorm": _affine(0, 2, "gamma", "beta"),
    "RMSNorm": _affine(0, 2, "gamma"),
    "Scale": _scale,
    "Quantize": _quantize,
    "Dequantize": _dequantize,
    "Requantize": _requantize,
}
