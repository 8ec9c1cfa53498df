"""What ONNX Runtime's smallest package for phones lacks of what a model needs.

`onnxruntime-mobile` is a minimal build: no operator, opset or type beyond a list
(https://onnxruntime.ai/docs/reference/operators/mobile_package_op_type_support_1.17.html, the last one; the package ended with
1.18). Packages for Android and iOS that are not minimal have all operators.
"""

from __future__ import annotations

import onnx

PACKAGE = "onnxruntime-mobile, the smallest package for phones"
OPSETS = range(12, 16)
_OPERATORS = """
Abs Add And ArgMax ArgMin AveragePool Cast Ceil Clip Concat ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace
DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Expand Flatten Floor Gather GatherND Gemm GlobalAveragePool
Greater GreaterOrEqual HardSigmoid Identity If InstanceNormalization LRN LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax Loop MatMul MatMulInteger Max MaxPool Mean Min Mul Neg NonMaxSuppression NonZero Not Or PRelu Pad Pow
QLinearConv QLinearMatMul QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape
Resize ReverseSequence Round Scan ScatterND Shape Sigmoid Sin Size Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Sum
Tanh ThresholdedRelu Tile TopK Transpose Unique Unsqueeze Where
"""
OPERATORS = frozenset(_OPERATORS.split())


def lacking(model: onnx.ModelProto) -> str:
    """What the package lacks of a model's opset and operators, in words."""
    opset = next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    operators = {
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}" for node in model.graph.node
    }
    lacks = [f"opset {opset}"] * (opset not in OPSETS) + sorted(operators - OPERATORS)
    return f"lacks {', '.join(lacks)}" if lacks else "has all operators"
