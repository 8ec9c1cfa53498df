"""MViT's attention: pooling with the heads as the batch, and positions by einsum and by writing into slices."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from octet.export.rewrites._tensors import constant, sizes
from octet.export.rewrites.attention import thirds

Size = tuple[int, int]  # rows and columns


def multiscale_attention(self: Any, x: torch.Tensor, in_size: Size) -> tuple[torch.Tensor, Size]:
    """MViT: the heads are channels of one depthwise convolution."""
    pools = (self.pool_q, self.pool_k, self.pool_v)
    norms = (self.norm_q, self.norm_k, self.norm_v)
    (q, size), (k, k_size), (v, _) = (
        _pooled(F.linear(x, weight, bias), pool, norm, self.num_heads, in_size)
        for (weight, bias), pool, norm in zip(thirds(self.qkv), pools, norms, strict=True)
    )
    scores = q * self.scale @ k.transpose(2, 3)
    if self.rel_pos_spatial:
        scores = scores.reshape(1, self.num_heads, -1, *k_size)
        rows, columns = _positions(q, size, k_size, self.rel_pos_h, self.rel_pos_w)
        scores = (scores + rows + columns).reshape(1, self.num_heads, -1, k_size[0] * k_size[1])
    x = scores.softmax(-1) @ v
    if self.residual_pooling:
        x = x + q
    return self.proj(x.transpose(1, 2).reshape(1, -1, self.out_dims)), size


def _pooled(x: torch.Tensor, pool: Any, norm: Any, heads: int, size: Size) -> tuple[torch.Tensor, Size]:
    """(1, N, C) -> (1, heads, N', D) and the size (H', W')."""
    c = sizes(x)[-1]
    x = x.transpose(1, 2).reshape(1, c, *size)
    weight = constant(pool.weight).repeat(heads, 1, 1, 1)
    x = F.conv2d(x, weight, None, pool.stride, pool.padding, pool.dilation, groups=c)
    _, _, height, width = sizes(x)
    return norm(x.reshape(1, heads, c // heads, -1).transpose(2, 3)), (height, width)


def _positions(
    q: torch.Tensor, q_size: Size, k_size: Size, rel_pos_h: torch.Tensor, rel_pos_w: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What query row y adds for key row k, (1, heads, N, KH, 1), and the same of columns, (1, heads, N, 1, KW)."""
    (h, w), (_, heads, _, d) = q_size, sizes(q)
    q = q.reshape(1, heads, h, w, d)
    rows = q.transpose(1, 2).reshape(1, h, heads * w, d)
    rows = rows @ _table(rel_pos_h, h, k_size[0])[None]
    rows = rows.reshape(1, h, heads, w, -1).transpose(1, 2).reshape(1, heads, h * w, -1, 1)
    columns = q.permute(0, 3, 1, 2, 4).reshape(1, w, heads * h, d)
    columns = columns @ _table(rel_pos_w, w, k_size[1])[None]
    columns = columns.reshape(1, w, heads, h, -1).permute(0, 2, 3, 1, 4).reshape(1, heads, h * w, 1, -1)
    return rows, columns


def _table(rel_pos: torch.Tensor, q_size: int, k_size: int) -> torch.Tensor:
    """The embeddings of relative positions, (Q, D, K), stretched where the sizes differ (as in mmcls's own function)."""
    rel_pos, longest = rel_pos.detach(), 2 * max(q_size, k_size) - 1
    if rel_pos.shape[0] != longest:
        rel_pos = F.interpolate(rel_pos.T[None], size=longest, mode="linear")[0].T
    q_step, k_step = max(k_size / q_size, 1.0), max(q_size / k_size, 1.0)
    at = torch.arange(q_size)[:, None] * q_step - torch.arange(k_size)[None] * k_step + (k_size - 1) * k_step
    return constant(rel_pos[at.long()].transpose(1, 2))


REWRITES = {"mmcls.models.backbones.mvit.MultiScaleAttention": multiscale_attention}
