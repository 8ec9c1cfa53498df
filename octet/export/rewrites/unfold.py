"""torch.nn.Unfold, whose ONNX form gathers by computed indices: ncnn has no such layer."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.modules.utils import _pair

from octet.export.rewrites._tensors import sizes


def unfold(self: Any, x: torch.Tensor) -> torch.Tensor:
    """T2T, TNT, Swin's patch merging: (1, C, H, W) -> (1, C * kernel, patches).

    Patches side by side are reshaped, overlapping ones picked by a convolution in groups whose kernels are one 1 among
    zeros.
    """
    kernel, stride, padding, dilation = map(_pair, (self.kernel_size, self.stride, self.padding, self.dilation))
    (_, c, h, w), count = sizes(x), kernel[0] * kernel[1]
    if kernel != stride or padding != (0, 0) or dilation != (1, 1):
        weight = torch.eye(count).reshape(count, 1, *kernel).repeat(c, 1, 1, 1)
        return F.conv2d(x, weight, None, stride, padding, dilation, groups=c).reshape(1, c * count, -1)
    h, w = h // kernel[0], w // kernel[1]
    x = x[:, :, : h * kernel[0], : w * kernel[1]]
    x = x.reshape(1, c * h, kernel[0], w, kernel[1]).transpose(3, 4)
    x = x.reshape(1, c, h, count, w).transpose(2, 3)
    return x.reshape(1, c * count, h * w)


REWRITES = {"torch.nn.modules.fold.Unfold": unfold}
