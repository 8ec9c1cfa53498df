"""The layer types that matter to quantization: what ncnn has for each, and what Octet does with it. The one place.

To make another type quantizable (Deconvolution, say), this is needed:

1. ncnn itself computes it in int8: its src/layer/TYPE.cpp reads `int8_scale_term`. Where it does not, nothing can be done
   here: such a layer stays in fp32, and whoever asks for int8 is told why.
2. Here: the type's `Int8`, its parameters' names, and which of zero points, equalization and GPTQ know it.
3. octet/ncnn/layout.py: what int8 adds to its weights in the .bin; octet/ncnn/parameters.py: the parameter that says so, which
   the writer of ncnn2int8's files asks for.
4. octet/quantize/int8_layers.py: how its weights become integers, unless as a convolution's do.
5. tests/simulate.py and tests/unit/test_layer_types.py: what the engine should compute. Without that the tests fail, and
   they fail where ncnn does not compute in int8 what stands here.

Lists of types, which layers can be int8, which may requantize, how many scales a layer has: all follow from LAYER_TYPES.
Parameters have ncnn's own names and numbers (`load_param` in src/layer/*.cpp; int8_scale_term is quantize_term in the newer
layers); the releases are those of ncnn's tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Parameter:
    """One of ncnn's numbered parameters. default: its value where it is absent, or the parameter that it then equals."""

    number: int
    default: int | float | str = 0


@dataclass(frozen=True)
class Int8:
    """How ncnn computes a layer type in int8.

    Args:
        since: The first release of ncnn that has it.
        term: What the parameter int8_scale_term is then, and nothing that needs more of ncnn.
        weights: The weights that are integers then, by their role in the .bin; for each how many scales it has: a
            parameter that says so, or a number.
        calibrated: What the calibration table says of the layer: 'input' (the scales of the input and the weights),
            'weights', or '' where ncnn or Octet find all scales themselves.
        requantizes: May its output leave as int8 where all that read it are int8?
        refused: Does Octet leave it in fp32, though ncnn has int8 for it?
    """

    since: str
    term: int
    weights: Mapping[str, str | int]
    calibrated: str = ""
    requantizes: bool = False
    refused: bool = False


@dataclass(frozen=True)
class LayerType:
    """What is true of all layers of one type.

    Args:
        name: ncnn's name of the type.
        parameters: Its parameters, by ncnn's names.
        int8: None where ncnn has no int8 for it.
        linear: Is its output weight * input + bias, before the activation that is fused into it? Then its input may have
            a zero point, whether it is int8 or not: the bias takes it up.
        equalizes: May equalization scale the channels that it reads ('in') and writes ('out')?
        gptq: May GPTQ choose its weights' integers?
    """

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    int8: Int8 | None = None
    linear: bool = False
    equalizes: tuple[str, ...] = ()
    gptq: bool = False


_WINDOW = {
    "kernel_w": Parameter(1),
    "kernel_h": Parameter(11, "kernel_w"),
    "dilation_w": Parameter(2, 1),
    "dilation_h": Parameter(12, "dilation_w"),
    "stride_w": Parameter(3, 1),
    "stride_h": Parameter(13, "stride_w"),
    "pad_left": Parameter(4),
    "pad_right": Parameter(15, "pad_left"),
    "pad_top": Parameter(14, "pad_left"),
    "pad_bottom": Parameter(16, "pad_top"),
    "pad_value": Parameter(18, 0.0),
}
_FUSED = {"activation_type": Parameter(9), "activation_params": Parameter(10)}
_CONVOLUTION = {
    "num_output": Parameter(0),
    **_WINDOW,
    "bias_term": Parameter(5),
    "weight_data_size": Parameter(6),
    "int8_scale_term": Parameter(8),
    **_FUSED,
    "dynamic_weight": Parameter(19),
}
_INNER_PRODUCT = {
    "num_output": Parameter(0),
    "bias_term": Parameter(1),
    "weight_data_size": Parameter(2),
    "int8_scale_term": Parameter(8),
    **_FUSED,
}
_GEMM = {
    "transA": Parameter(2),
    "transB": Parameter(3),
    "constantA": Parameter(4),
    "constantB": Parameter(5),
    "constantM": Parameter(7),
    "constantN": Parameter(8),
    "constantK": Parameter(9),
    "int8_scale_term": Parameter(18),
}
_POOLING = {
    "pooling_type": Parameter(0),  # 0: maximum, 1: average
    "pad_left": Parameter(3),
    "pad_top": Parameter(13, "pad_left"),
    "pad_right": Parameter(14, "pad_left"),
    "pad_bottom": Parameter(15, "pad_top"),
    "global_pooling": Parameter(4),
    "pad_mode": Parameter(5),  # 0: full, 1: valid, 2 and 3: same
    "avgpool_count_include_pad": Parameter(6),
    "adaptive_pooling": Parameter(7),
}
_ATTENTION = {"embed_dim": Parameter(0), "int8_scale_term": Parameter(18)}
_ATTENTION_SCALES: dict[str, str | int] = {
    "q_weight": "embed_dim",
    "k_weight": "embed_dim",
    "v_weight": "embed_dim",
    "out_weight": 1,
}
_BOTH = ("in", "out")

LAYER_TYPES = {
    kind.name: kind
    for kind in (
        LayerType(
            "Convolution",
            _CONVOLUTION,
            Int8("20180830", 2, {"weight": "num_output"}, "input", requantizes=True),
            linear=True,
            equalizes=_BOTH,
            gptq=True,
        ),
        LayerType(
            "ConvolutionDepthWise",
            _CONVOLUTION | {"group": Parameter(7, 1)},
            Int8("20180830", 1, {"weight": "group"}, "input", requantizes=True),
            linear=True,
            equalizes=_BOTH,
            gptq=True,
        ),
        LayerType(
            "InnerProduct",
            _INNER_PRODUCT,
            Int8("20180830", 2, {"weight": "num_output"}, "input"),
            linear=True,
            equalizes=("in",),
            gptq=True,
        ),
        LayerType("Gemm", _GEMM, Int8("20241226", 2, {"a": "constantM", "b": 1})),
        LayerType("MultiHeadAttention", _ATTENTION, Int8("20241226", 2, _ATTENTION_SCALES, "weights")),
        LayerType("SDPA", {"int8_scale_term": Parameter(18)}, Int8("20260113", 2, {})),
        *(
            LayerType(name, {"int8_scale_term": Parameter(8)}, Int8("20240820", 2, {}, refused=True))
            for name in ("RNN", "LSTM", "GRU")
        ),
        LayerType("Embed", {"int8_scale_term": Parameter(18)}, Int8("20241226", 2, {}, refused=True)),
        *(
            LayerType(name, _FUSED)
            for name in (
                *("Convolution1D", "ConvolutionDepthWise1D", "Convolution3D", "ConvolutionDepthWise3D"),
                *("Deconvolution", "DeconvolutionDepthWise", "Deconvolution1D", "DeconvolutionDepthWise1D"),
                *("Deconvolution3D", "DeconvolutionDepthWise3D", "DeformableConv2D"),
            )
        ),
        LayerType("ReLU", {"slope": Parameter(0, 0.0)}),
        LayerType("Clip", {"min": Parameter(0, float("-inf")), "max": Parameter(1, float("inf"))}),
        LayerType("Pooling", _POOLING),
        LayerType("BinaryOp", {"op_type": Parameter(0), "with_scalar": Parameter(1)}),
    )
}
OF_ALL_TYPES = {"featmask": Parameter(31)}  # what a layer's implementation may not use (src/net.cpp)

_QUANTIZED = {name: kind.int8 for name, kind in LAYER_TYPES.items() if kind.int8 and not kind.int8.refused}
QUANTIZABLE = tuple(name for name, int8 in _QUANTIZED.items() if int8.calibrated == "input")
REQUANTIZING = tuple(name for name, int8 in _QUANTIZED.items() if int8.requantizes)
UNCALIBRATED = tuple(
    name for name in _QUANTIZED if name not in QUANTIZABLE
)  # they find their inputs' scales as they run
