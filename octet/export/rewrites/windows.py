"""Attention in windows: an image cut into windows has six axes, ncnn's blobs at most five with the batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from octet.export.rewrites._tensors import constant, sizes
from octet.export.rewrites.attention import attend, heads, thirds


def cut(x: torch.Tensor, size: int) -> torch.Tensor:
    """(1, H, W, C) -> (1, windows, size * size, C). A window's columns and channels stay together, which saves an axis."""
    _, h, w, c = sizes(x)
    x = x.reshape(1, h // size, size, w // size, size * c).transpose(2, 3)
    return x.reshape(1, -1, size * size, c)


def join(x: torch.Tensor, height: int, width: int, size: int) -> torch.Tensor:
    """What cut took apart: (1, tokens of all windows, C) -> (1, height, width, C)."""
    c = sizes(x)[-1]
    x = x.reshape(1, height // size, width // size, size, size * c).transpose(2, 3)
    return x.reshape(1, height, width, c)


def roll(x: torch.Tensor, by: int) -> torch.Tensor:
    """torch.roll by rows and columns of (1, H, W, C), as slices: its ONNX form loses its sizes in pnnx."""
    for axis in (1, 2) if by else ():
        size = sizes(x)[axis]
        at = -by % size
        x = torch.cat([x.narrow(axis, at, size - at), x.narrow(axis, 0, at)], axis)
    return x


def pad(x: torch.Tensor, size: int) -> torch.Tensor:
    """(1, H, W, C) filled up with zeros to whole windows."""
    down, right = (-n % size for n in sizes(x)[1:3])
    return F.pad(x, (0, 0, 0, right, 0, down)) if down or right else x


def shifted_windows(self: Any, query: torch.Tensor, hw_shape: tuple[int, int]) -> torch.Tensor:
    """Swin and Swin v2: also torch.roll, and a mask that is a constant for a fixed size of the image."""
    (h, w), size, shift = map(int, hw_shape), self.window_size, self.shift_size
    if min(h, w) == size and not self.pad_small_map:
        shift = 0
    x = pad(query.reshape(1, h, w, -1), size)
    height, width = sizes(x)[1:3]
    mask = self.get_attn_mask((height, width), size, shift)
    x = self.w_msa(cut(roll(x, -shift), size), None if mask is None else constant(mask))
    x = roll(join(x, height, width, size), shift)
    return x[:, :h, :w].reshape(1, h * w, -1) if (height, width) != (h, w) else x.reshape(1, h * w, -1)


def _biases(bias: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
    """Bias (heads, N, N) and mask (windows, N, N), shaped for scores of shape (1, windows, heads, N, N)."""
    return [constant(bias)[None, None]] + ([mask[None, :, None]] if mask is not None else [])


def window_attention(self: Any, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Swin: x is (1, windows, N, C); the bias of relative positions is a constant."""
    n = sizes(x)[2]
    q, k, v = (heads(x, weight, bias, self.num_heads) for weight, bias in thirds(self.qkv))
    bias = self.relative_position_bias_table[self.relative_position_index.reshape(-1)].reshape(n, n, -1)
    y: torch.Tensor = self.proj(attend(q, k, v, self.scale, *_biases(bias.permute(2, 0, 1), mask)))
    return y


def cosine_attention(self: Any, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Swin v2: query and key of length 1, F.normalize's ONNX form being an Expand that pnnx does not have."""
    n = sizes(x)[2]
    biases = (self.q_bias, None, self.v_bias)
    q, k, v = (
        heads(x, weight, bias, self.num_heads) for (weight, _), bias in zip(thirds(self.qkv), biases, strict=True)
    )
    q, k = (y / y.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12) for y in (q, k))
    q = q * constant(self.logit_scale.clamp(max=math.log(100)).exp())[None, None]
    bias = self.cpb_mlp(self.relative_coords_table).reshape(-1, self.num_heads)
    bias = 16 * bias[self.relative_position_index.reshape(-1)].reshape(n, n, -1).sigmoid()
    y: torch.Tensor = self.proj(attend(q, k, v, 1, *_biases(bias.permute(2, 0, 1), mask)))
    return y


def local_attention(self: Any, x: torch.Tensor, hw_shape: tuple[int, int]) -> torch.Tensor:
    """Twins' local attention. Its mask, as it is written, is zero unless both sides are padded."""
    (h, w), size = map(int, hw_shape), self.window_size
    x = pad(x.reshape(1, h, w, -1), size)
    height, width = sizes(x)[1:3]
    x = cut(x, size)
    q, k, v = (heads(x, weight, bias, self.num_heads) for weight, bias in thirds(self.qkv))
    biases = []
    if height > h and width > w:
        outside = torch.ones(1, height, width, 1)
        outside[:, :h, :w] = 0
        outside = cut(outside, size)
        biases = [constant(-1000.0 * (outside != outside.transpose(2, 3)))[:, :, None]]
    x = join(attend(q, k, v, self.scale, *biases), height, width, size)
    y: torch.Tensor = self.proj(x[:, :h, :w].reshape(1, h * w, -1))
    return y


REWRITES = {
    "mmcls.models.utils.attention.ShiftWindowMSA": shifted_windows,
    "mmcls.models.utils.attention.WindowMSA": window_attention,
    "mmcls.models.utils.attention.WindowMSAV2": cosine_attention,
    "mmcls.models.backbones.twins.LocallyGroupedSelfAttention": local_attention,
}
