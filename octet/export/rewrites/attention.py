"""Attention without tensors of query, key and value in one, which have five axes beside the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from octet.export.rewrites._tensors import constant, sizes


def thirds(linear: torch.nn.Linear, parts: int = 3) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """(weight, bias) of query, key and value, from the linear layer that makes all of them."""
    biases = linear.bias.chunk(parts) if linear.bias is not None else [None] * parts
    return [
        (constant(w), None if b is None else constant(b))
        for w, b in zip(linear.weight.chunk(parts), biases, strict=True)
    ]


def heads(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, count: int) -> torch.Tensor:
    """The linear layer's output by heads: (1, N, C) -> (1, heads, N, D), or in windows (1, W, N, C) -> (1, W, heads, N, D)."""
    *outer, c = sizes(x)
    y = F.linear(x.reshape(1, -1, c), weight, bias)
    return y.reshape(*outer, count, weight.shape[0] // count).transpose(-3, -2)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, *biases: torch.Tensor) -> torch.Tensor:
    """Attention.

    Args:
        q: Queries, of shape (1, …, heads, N, D); k, the keys, and v, the values, alike.
        k: See q.
        v: See q.
        scale: By which the scores are multiplied.
        biases: Added to them before the softmax.

    Returns:
        Of shape (1, N of all windows, C).
    """
    scores = q @ k.transpose(-2, -1) * scale
    for bias in biases:
        scores = scores + bias
    count, _, width = sizes(v)[-3:]
    attended: torch.Tensor = scores.softmax(-1) @ v
    return attended.transpose(-3, -2).reshape(1, -1, count * width)


def multihead_attention(self: Any, x: torch.Tensor) -> torch.Tensor:
    """VisionTransformer, DeiT, T2T, Conformer: pnnx cannot unbind a reshape to (1, N, 3, heads, D)."""
    q, k, v = (heads(x, weight, bias, self.num_heads) for weight, bias in thirds(self.qkv))
    y: torch.Tensor = self.proj(attend(q, k, v, self.scale))
    return v.squeeze(1) + y if self.v_shortcut else y


def subsampled_attention(self: Any, x: torch.Tensor, hw_shape: tuple[int, int]) -> torch.Tensor:
    """Twins' global attention: the same of key and value."""
    c = sizes(x)[-1]
    q = heads(x, self.q.weight, self.q.bias, self.num_heads)
    if self.sr_ratio > 1:
        x = self.sr(x.transpose(1, 2).reshape(1, c, *hw_shape))
        x = self.norm(x.reshape(1, c, -1).transpose(1, 2))
    k, v = (heads(x, weight, bias, self.num_heads) for weight, bias in thirds(self.kv, 2))
    y: torch.Tensor = self.proj(attend(q, k, v, self.scale))
    return y


REWRITES = {
    "mmcls.models.utils.attention.MultiheadAttention": multihead_attention,
    "mmcls.models.backbones.twins.GlobalSubsampledAttention": subsampled_attention,
}
