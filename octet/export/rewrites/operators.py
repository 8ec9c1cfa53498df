"""Operators whose ONNX form pnnx misreads, wherever in a model they are; by torch's names."""

from __future__ import annotations

from typing import Any

import torch
from torch.onnx import symbolic_helper

helper: Any = symbolic_helper  # untyped in places


def sum_as_mean(g: Any, x: Any, *arguments: Any) -> Any:
    """Sums over one axis (Swin v2, CSRA) as means: from opset 13 on, pnnx loses the axis of a ReduceSum with only one."""
    if len(arguments) != 3 or not helper._is_none(arguments[2]):
        raise torch.onnx.errors.UnsupportedOperatorError("aten::sum over everything or with a dtype", 13, None)
    axes, keep = helper._get_const(arguments[0], "is", "dim"), helper._get_const(arguments[1], "i", "keepdim")
    if len(axes) != 1:
        return g.op("ReduceSum", x, arguments[0], keepdims_i=keep)
    count = helper._get_tensor_dim_size(x, axes[0] % helper._get_tensor_rank(x))
    mean = g.op("ReduceMean", x, axes_i=axes, keepdims_i=keep)
    return g.op("Mul", mean, g.op("Constant", value_t=torch.tensor(float(count))))


OPERATORS = {"aten::sum": sum_as_mean}
