"""Activations that ncnn has as a layer of its own, where they are written as arithmetic."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


def hard_sigmoid(self: Any, x: torch.Tensor) -> torch.Tensor:
    """MobileNetV3.

    pnnx turns the arithmetic after a global pooling into Reshapes that ask for the batch, which older ncnn do not know.
    """
    if (self.bias, self.divisor, self.min_value, self.max_value) == (3, 6, 0, 1):
        return F.hardsigmoid(x)
    y: torch.Tensor = ((x + self.bias) / self.divisor).clamp(self.min_value, self.max_value)
    return y


REWRITES = {"mmcv.cnn.bricks.hsigmoid.HSigmoid": hard_sigmoid}
