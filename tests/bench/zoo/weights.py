"""Random weights with which different pictures give clearly different logits, and pictures to see that by."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from octet.preprocess import Preprocess

_EMBEDDINGS = ("embed", "token", "table", "rel_pos", "pixel_pos", "patch_pos", "attention_biases")


def pictures(steps: Preprocess, count: int, seed: int) -> list[np.ndarray]:
    """Network inputs, fp32 of shape (C, H, W), of coloured clouds of random coarseness, brightness and contrast."""
    random, (h, w) = np.random.Generator(np.random.PCG64(seed)), steps.size
    found = []
    for _ in range(count):
        cloud = np.zeros((h, w, 3), np.float32)
        for cells in (2, 3, 5, 9, 17, 33):
            grid = random.normal(0, random.uniform(0.2, 1), (cells, cells, 3)).astype(np.float32)
            cloud += cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        cloud = 128 + random.uniform(20, 60) * (cloud + random.normal(0, 0.7, 3)) + random.normal(0, 8, cloud.shape)
        picture = np.clip(cloud, 0, 255).astype(np.uint8)
        found.append(steps(picture if steps.channels == 3 else picture[..., 0]))
    return found


def randomize(model: torch.nn.Module, network: torch.nn.Module, images: list[np.ndarray]) -> None:
    """Gives the model, in place, random weights scaled by their fan-in, random affine parameters and embeddings, and
    batch-norm statistics that are those of the images, disturbed. The network computes the model's logits."""
    torch.manual_seed(0)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) or "Norm" in type(m).__name__]
    affine = {id(p): name for m in norms for name, p in m.named_parameters(recurse=False)}
    for name, p in model.named_parameters():
        with torch.no_grad():
            if id(p) in affine:  # mostly positive before a ReLU: else noise grows with every batch norm
                p.uniform_(0.5, 1.5) if affine[id(p)] == "weight" else p.normal_(0.5, 0.3)
            elif any(word in name for word in _EMBEDDINGS) and not name.endswith(("projection.weight", "proj.weight")):
                p.normal_(0, 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.1)
            elif p.dim() < 2 or p.numel() == max(p.shape):  # layer scales, temperatures
                p.uniform_(0.3, 1)
            else:
                p.normal_(0, (1.5 / p[0].numel()) ** 0.5)
    _settle([m for m in norms if isinstance(m, _BatchNorm)], network, images)
    model.eval()


def _settle(norms: list[_BatchNorm], network: torch.nn.Module, images: list[np.ndarray]) -> None:
    for m in norms:
        m.momentum = 1.0
        m.train()
    with torch.no_grad():
        if norms:
            network(torch.from_numpy(np.stack(images)))
        for m in norms:
            deviation = m.running_var.clamp(min=1e-4).sqrt()
            m.running_mean += 0.1 * deviation * torch.randn_like(deviation)
            m.running_var = deviation.square() * torch.empty_like(deviation).uniform_(0.7, 1.4)
