"""TNT: a transformer over the pixels of each patch, the patches being its batch; they become an axis of their own."""

from __future__ import annotations

from typing import Any

import torch

from octet.export.rewrites._tensors import sizes
from octet.export.rewrites.attention import attend, heads


def pixel_embedding(self: Any, x: torch.Tensor, pixel_pos: torch.Tensor) -> torch.Tensor:
    """(1, 3, H, W) -> (1, patches, pixels, C)."""
    x = self.unfold(self.proj(x)).transpose(1, 2)
    x = x.reshape(1, self.num_patches, self.embed_dims_inner, -1).transpose(2, 3)
    embedded: torch.Tensor = x + pixel_pos.reshape(1, 1, self.embed_dims_inner, -1).transpose(2, 3)
    return embedded


def layer(self: Any, pixel_embed: torch.Tensor, patch_embed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Without the write into a slice, ONNX's ScatterND, which ncnn lacks."""
    pixel_embed = self.inner_block(pixel_embed)
    pixels = self.norm_proj(pixel_embed).reshape(1, sizes(patch_embed)[1] - 1, -1)
    patches = patch_embed[:, 1:] + self.projection(pixels)
    return pixel_embed, self.outer_block(torch.cat([patch_embed[:, :1], patches], 1))


def block(self: Any, x: torch.Tensor) -> torch.Tensor:
    """The tokens are x, (1, N, C) or by patches (1, W, N, C); the attention is torch.nn.MultiheadAttention."""
    inner, query = self.attn.attn, self.norm_attn(x)
    biases = inner.in_proj_bias.chunk(3) if inner.in_proj_bias is not None else [None] * 3
    q, k, v = (
        heads(query, weight, bias, inner.num_heads)
        for weight, bias in zip(inner.in_proj_weight.chunk(3), biases, strict=True)
    )
    x = x + inner.out_proj(attend(q, k, v, inner.head_dim**-0.5)).reshape(sizes(x))
    y: torch.Tensor = self.ffn(self.norm_ffn(x), identity=x)
    return y


REWRITES = {
    "mmcls.models.backbones.tnt.PixelEmbed": pixel_embedding,
    "mmcls.models.backbones.tnt.TnTLayer": layer,
    "mmcls.models.backbones.tnt.TransformerBlock": block,
}
