"""RepMLP's patches of an image, which have six axes."""

from __future__ import annotations

from typing import Any

import torch

from octet.export.rewrites._tensors import sizes


def patch_perceptron(self: Any, x: torch.Tensor) -> torch.Tensor:
    """RepMLP in its deploy form: each patch is a pixel with as many channels as the patch has pixels."""
    _, c, h, w = sizes(x)
    rows, columns, sets, pixels = h // self.path_h, w // self.path_w, self.num_sharesets, self.path_h * self.path_w
    y = x.reshape(1, c * rows, self.path_h, columns, self.path_w).transpose(2, 3)
    y = y.reshape(1, c // sets, sets, rows * columns, pixels).permute(0, 2, 4, 1, 3)
    y = self.fc3(y.reshape(1, sets * pixels, -1, 1))
    y = y.reshape(1, sets, pixels, c // sets, rows * columns).permute(0, 3, 1, 4, 2)
    y = y.reshape(1, c * rows, columns, self.path_h, self.path_w).transpose(2, 3)
    perceived: torch.Tensor = y.reshape(1, c, h, w) * self.gp(x)
    return perceived


REWRITES = {"mmcls.models.backbones.repmlp.RepMLPBlock": patch_perceptron}
