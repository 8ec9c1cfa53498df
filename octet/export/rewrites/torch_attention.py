"""torch's own attention of an image with itself, as torchvision's ViT has it, by products of matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def _attention(self: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **given: Any) -> Any:
    """MultiheadAttention.forward, where query, key and value are one tensor of shape (1, n, channels)."""
    masks = [given.get(name) for name in ("key_padding_mask", "attn_mask")]
    plain = self.batch_first and self.in_proj_weight is not None and self.bias_k is None and not self.add_zero_attn
    if not plain or query is not key or key is not value or any(mask is not None for mask in masks):
        return type(self).forward(self, query, key, value, **given)
    count, channels, heads = int(query.shape[1]), self.embed_dim, self.num_heads
    parts = functional.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (part.reshape(1, count, heads, channels // heads).transpose(1, 2) for part in parts)
    shares = (q * (channels // heads) ** -0.5 @ k.transpose(2, 3)).softmax(dim=-1)
    return self.out_proj((shares @ v).transpose(1, 2).reshape(1, count, channels)), None


REWRITES = {"torch.nn.modules.activation.MultiheadAttention": _attention}
