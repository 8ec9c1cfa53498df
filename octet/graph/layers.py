"""What is true of one layer: its parameters by name, whether and how it is int8, which activation it has.

>>> from octet.ncnn.layer import Layer
>>> layer = Layer("Convolution", "conv_1", ["in0"], ["1"], {0: "8", 1: "3", 6: "216", 9: "1"})
>>> integer(layer, "kernel_h"), integer(layer, "stride_w"), could_run_winograd(layer), clip_range(layer)
(3, 1, True, (0.0, inf))
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from octet.graph.layer_types import LAYER_TYPES, OF_ALL_TYPES, QUANTIZABLE, UNCALIBRATED, LayerType, Parameter
from octet.ncnn.layer import TAG_INT8, Layer

REQUANTIZED = 100  # more in int8_scale_term: the output leaves as int8
_FLT_MAX = 3.4028235e38
_NOTHING, _RELU, _CLIP = 0, 1, 3  # activation_type, fused into a layer (src/layer/fused_activation.h)
_OTHER = LayerType("")


def kind(layer: Layer) -> LayerType:
    """What is true of this layer's type; of a type that does not matter to quantization, nothing."""
    return LAYER_TYPES.get(layer.type, _OTHER)


def integer(layer: Layer, name: str) -> int:
    """A whole-number parameter by ncnn's name for it, or ncnn's default."""
    parameter = _parameter(layer, name)
    if parameter.number in layer.params:
        return layer.int(parameter.number)
    return integer(layer, parameter.default) if isinstance(parameter.default, str) else int(parameter.default)


def number(layer: Layer, name: str) -> float:
    """A parameter by ncnn's name for it, or ncnn's default; not one that equals another where it is absent."""
    parameter = _parameter(layer, name)
    return float(layer.params.get(parameter.number, parameter.default))


def numbers(layer: Layer, name: str) -> list[float]:
    """An array parameter by ncnn's name for it; empty where it is absent."""
    return layer.floats(_parameter(layer, name).number)


def assign(layer: Layer, **values: int | str) -> None:
    """Gives parameters new values, by ncnn's names for them; a text goes into the file as it is."""
    for name, value in values.items():
        layer.params[_parameter(layer, name).number] = str(value)


def quantizable(layers: Iterable[Layer]) -> list[Layer]:
    """The layers that can be int8 with the table's scales, in the network's order: with weights of their own."""
    return [layer for layer in layers if layer.type in QUANTIZABLE and "weight" in layer.weights]


def uncalibrated(layers: Iterable[Layer]) -> list[Layer]:
    """The layers that can be int8 and find the scales of their inputs as they run, in the network's order."""
    return [layer for layer in layers if layer.type in UNCALIBRATED]


def is_int8(layer: Layer) -> bool:
    """Does ncnn compute this layer in int8, from weights that are int8 in the file?"""
    int8 = kind(layer).int8
    if int8 is None or integer(layer, "int8_scale_term") == 0:
        return False
    return all(layer.weights[role].tag == TAG_INT8 for role in int8.weights if role in layer.weights)


def can_requantize(layer: Layer) -> bool:
    """Is it an int8 layer of a type whose output ncnn can leave as int8?"""
    int8 = kind(layer).int8
    return int8 is not None and int8.requantizes and is_int8(layer)


def is_requantized(layer: Layer) -> bool:
    """Does this layer's output leave as int8?"""
    return can_requantize(layer) and integer(layer, "int8_scale_term") > REQUANTIZED


def is_linear(layer: Layer) -> bool:
    """Is its output weight * input + bias before its activation, with weights of its own?"""
    return kind(layer).linear and "weight" in layer.weights


def outputs(layer: Layer) -> int:
    """How many channels or features a layer with weights makes; 0 for a type that has none."""
    names = ("num_output", "embed_dim", "constantN", "constantM")
    return next((integer(layer, n) for n in names if n in kind(layer).parameters and integer(layer, n)), 0)


def groups(layer: Layer) -> int:
    """In how many groups a layer's outputs and inputs fall; 1 where each output has all inputs."""
    return integer(layer, "group") if "group" in kind(layer).parameters else 1


def no_int8(layer: Layer) -> str:
    """The sentence that ncnn has no int8 for a layer's type; empty where it has, or where nothing is known of it."""
    known = layer.type in LAYER_TYPES and kind(layer).int8 is None
    return f"ncnn has no int8 for {layer.type}: such a layer stays in fp32" if known else ""


def scale_counts(layer: Layer) -> dict[str, int]:
    """How many scales each weight of a layer has where it is int8, by the weight's role in the .bin."""
    int8 = kind(layer).int8
    counts = int8.weights if int8 else {}
    return {role: count if isinstance(count, int) else integer(layer, count) for role, count in counts.items()}


def is_grouped(layer: Layer) -> bool:
    """Is it a convolution in groups that is not depthwise, for which ncnn makes a Convolution of each group?"""
    if layer.type != "ConvolutionDepthWise":
        return False
    outputs = integer(layer, "num_output")
    size = outputs * integer(layer, "kernel_w") * integer(layer, "kernel_h")
    return groups(layer) != outputs or integer(layer, "weight_data_size") != size


def is_depthwise(layer: Layer) -> bool:
    """Is it a convolution of every channel by itself?"""
    return layer.type == "ConvolutionDepthWise" and not is_grouped(layer)


def could_run_winograd(layer: Layer) -> bool:
    """ncnn2table's own condition for weights of 6 bits: a convolution 3x3, of stride 1 and dilation 1."""
    if layer.type != "Convolution":
        return False
    names = "kernel_w", "kernel_h", "stride_w", "stride_h", "dilation_w", "dilation_h"
    return [integer(layer, name) for name in names] == [3, 3, 1, 1, 1, 1]


def multiplications_per_value(layer: Layer) -> float:
    """How often a 1x1 convolution or linear layer multiplies for each value that it reads or writes; inf for any other layer.

    >>> from octet.ncnn.layer import Layer
    >>> multiplications_per_value(Layer("Convolution", "c", ["a"], ["b"], {0: "192", 1: "1", 3: "2", 6: "6144"}))
    19.2
    """
    if layer.type == "Convolution" and integer(layer, "kernel_w") == integer(layer, "kernel_h") == 1:
        read = integer(layer, "stride_w") * integer(layer, "stride_h")  # for each pixel of its output
    elif layer.type == "InnerProduct":
        read = 1
    else:
        return inf
    weights, outputs = integer(layer, "weight_data_size"), integer(layer, "num_output")
    return weights / (weights / outputs * read + outputs)


def pads(layer: Layer) -> bool:
    """Does it read a border around its input?"""
    sides = "pad_left", "pad_right", "pad_top", "pad_bottom"
    return any(name in kind(layer).parameters and integer(layer, name) for name in sides)


def clip_range(layer: Layer) -> tuple[float, float] | None:
    """The range to which a ReLU or a Clip (ReLU6) limits its values, be it a layer or fused into one.

    -inf to inf for a layer into which nothing is fused; None for any other activation, and for any other kind of layer.
    """
    if layer.type == "ReLU":
        return None if number(layer, "slope") else (0.0, inf)
    if layer.type == "Clip":
        return _unlimited(number(layer, "min"), number(layer, "max"))
    if "activation_type" not in kind(layer).parameters:
        return None
    fused = integer(layer, "activation_type")
    if fused == _CLIP:
        low, high = numbers(layer, "activation_params")
        return _unlimited(low, high)
    return {_NOTHING: (-inf, inf), _RELU: (0.0, inf)}.get(fused)


def is_clip(layer: Layer) -> bool:
    """Is it a layer that does nothing but limit its values from below, at 0, and from above or not: ReLU, ReLU6?"""
    return layer.type in ("ReLU", "Clip") and (clip_range(layer) or (-inf,))[0] == 0


def set_clip(layer: Layer, low: float, high: float) -> None:
    """Makes a layer's activation, a ReLU or Clip, the clip to this range. A limit that stays keeps its text in the file."""
    limits = [f"{low:.8e}", "3.402823e+38" if high > _FLT_MAX / 2 else f"{high:.8e}"]
    if "activation_type" in kind(layer).parameters:
        layer.params.pop(_parameter(layer, "activation_params").number, None)
        assign(layer, activation_type=_CLIP)
        layer.params[_array(layer, "activation_params")] = f"2,{','.join(limits)}"
        return
    if layer.type == "Clip":
        kept = clip_range(layer) or (-inf, inf)
        texts = [layer.params.get(_parameter(layer, name).number) for name in ("min", "max")]
        limits = [
            text if text is not None and old == new else limit
            for text, old, new, limit in zip(texts, kept, (low, high), limits, strict=True)
        ]
    layer.type, layer.params = "Clip", {}
    assign(layer, min=limits[0], max=limits[1])


def drop_activation(layer: Layer) -> None:
    """Takes out the activation that is fused into a layer."""
    for name in ("activation_type", "activation_params"):
        layer.params.pop(_parameter(layer, name).number, None)
    layer.params.pop(_array(layer, "activation_params"), None)


def _unlimited(low: float, high: float) -> tuple[float, float]:
    """ncnn writes the largest fp32 number where there is no limit."""
    return -inf if low < -_FLT_MAX / 2 else low, inf if high > _FLT_MAX / 2 else high


def _array(layer: Layer, name: str) -> int:
    """The number of an array parameter in ncnn's older spelling, which pnnx writes."""
    return -23300 - _parameter(layer, name).number


def _parameter(layer: Layer, name: str) -> Parameter:
    return (OF_ALL_TYPES | dict(kind(layer).parameters))[name]
