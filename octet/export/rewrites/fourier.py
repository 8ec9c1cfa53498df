"""HorNet's global filter, a product of Fourier transforms: neither ONNX up to opset 13 nor ncnn has them."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from octet.export.rewrites._tensors import constant, sizes


def global_local_filter(self: Any, x: torch.Tensor) -> torch.Tensor:
    """HorNet-GF: the product of spectra is a convolution that wraps around, with a kernel as large as the image."""
    x = self.pre_norm(x)
    local, x = x.chunk(2, 1)
    _, c, h, w = sizes(x)
    spectrum = self.complex_weight.detach()
    if tuple(spectrum.shape[1:3]) != (h, w // 2 + 1):
        spectrum = F.interpolate(
            spectrum.permute(3, 0, 1, 2), size=(h, w // 2 + 1), mode="bilinear", align_corners=True
        ).permute(1, 2, 3, 0)
    kernel = torch.fft.irfft2(torch.view_as_complex(spectrum.contiguous()), s=(h, w), dim=(1, 2))
    kernel = constant(kernel.flip(1, 2)[:, None])  # conv2d slides, it does not mirror
    x = torch.cat([x[:, :, 1:], x], 2)
    x = torch.cat([x[:, :, :, 1:], x], 3)
    x = F.conv2d(x, kernel, groups=c)
    pairs = [y.reshape(1, c, 1, h * w) for y in (self.dw(local), x)]
    y: torch.Tensor = self.post_norm(torch.cat(pairs, 2).reshape(1, 2 * c, h, w))
    return y


REWRITES = {"mmcls.models.backbones.hornet.GlobalLocalFilter": global_local_filter}
