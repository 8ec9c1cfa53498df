"""What each engine wants quantized. Small data: no other code names an engine's rules.

OpenVINO fuses what follows a convolution into it, and computes that in float: there it is enough that what a convolution
reads is quantized. It fuses a sum into a convolution only where what that one gives is quantized, too (openvino/src/plugins/
intel_cpu/src/transformations/snippets/x64/pass/snippets_mark_skipped.cpp); behind a convolution that is wide and cheap, a sum
of its own takes as long as that. ONNX Runtime has an int8 kernel only where a DequantizeLinear stands before each input and a
QuantizeLinear behind the output (onnxruntime/core/optimizer/qdq_transformer/selectors_actions/qdq_selectors.cc); TensorRT
reads symmetric int8 alone (its documentation, « Explicit quantization »).
"""

from __future__ import annotations

from dataclasses import dataclass

# Their outputs are some of their inputs' values: they have their input's scale.
SAME_VALUES = frozenset({"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True)
class Profile:
    """What one engine wants quantized.

    Args:
        engine: Its name, as `engines` in params.yaml has it.
        first: The layers that read the network's input, too?
        first_before_pool: They, too, where a max pool alone reads what they compute, as in ImageNet's ResNets? There they write
            the network's largest tensor.
        pools: What a max pool reads, in the place of what it gives, where an int8 layer computes that? The values are the same.
        wide_sums: Sums behind 1x1 convolutions that give more channels than they read, too, with all that they add, and what
            a global average reads of them?
        depthwise: Depthwise convolutions, too?
        depthwise_stem: A depthwise convolution that alone reads what the first convolution gives, and that one, too? Its
            error is the same over a plain background, so that it adds up.
        grouped_1x1: 1x1 convolutions in groups, too? OpenVINO 2026.4 does not compile some on processors with AMX («No reorder
            available»).
        outputs: What a convolution computes, too, and not only what it reads?
        around: Operators without weights that are int8 where all that they read is.
        int_bias: Is a bias int32, in units of the input's and the weight's scale?
        symmetric: Are activations int8 around 0, and not uint8 with a zero point?
        symmetric_input: Is the network's input, where it is quantized? A zero point costs the first convolution a fifth of its
            time in OpenVINO.
    """

    engine: str
    first: bool = False
    first_before_pool: bool = False
    pools: bool = False
    wide_sums: bool = False
    depthwise: bool = False
    depthwise_stem: bool = True
    grouped_1x1: bool = True
    outputs: bool = False
    around: frozenset[str] = frozenset()
    int_bias: bool = False
    symmetric: bool = False
    symmetric_input: bool = False


PROFILES = {
    "openvino": Profile(
        "openvino", first_before_pool=True, pools=True, wide_sums=True, grouped_1x1=False, symmetric_input=True
    ),
    "onnxruntime": Profile(
        "onnxruntime",
        first=True,
        depthwise=True,
        depthwise_stem=False,
        outputs=True,
        around=SAME_VALUES | {"Add", "Mul", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Sigmoid"},
        int_bias=True,
    ),
    "tensorrt": Profile("tensorrt", first=True, depthwise=True, symmetric=True),
}
