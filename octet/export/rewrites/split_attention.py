"""ResNeSt's split attention, which sums over an axis between batch and channels; pnnx takes the wrong one."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


def split_attention(self: Any, x: torch.Tensor) -> torch.Tensor:
    """ResNeSt: the parts as slices of the channels, added one by one."""
    x = self.relu(self.norm0(self.conv(x)))
    parts = x.chunk(self.radix, 1)
    pooled = F.adaptive_avg_pool2d(sum(parts[1:], parts[0]), 1)
    weights = self.fc2(self.relu(self.norm1(self.fc1(pooled))))
    if self.radix == 1:
        gated: torch.Tensor = weights.sigmoid() * x
        return gated
    # Flat first: else pnnx leaves a Reshape that asks for the batch, which older ncnn do not know.
    weights = weights.flatten(1).reshape(1, self.groups, self.radix, -1).transpose(1, 2).softmax(1)
    weights = weights.reshape(1, -1, 1, 1).chunk(self.radix, 1)
    weighted: list[torch.Tensor] = [weight * part for weight, part in zip(weights, parts, strict=True)]
    return sum(weighted[1:], weighted[0])


REWRITES = {"mmcls.models.backbones.resnest.SplitAttentionConv2d": split_attention}
