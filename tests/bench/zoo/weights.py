"""Random weights with which different images give clearly different logits, and images to see that by."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from octet.data.preprocess import Preprocess

_EMBEDDINGS = ("embed", "token", "table", "rel_pos", "pixel_pos", "patch_pos", "attention_biases")


def images(steps: Preprocess, count: int, seed: int) -> list[np.ndarray]:
    """Network inputs, fp32 of shape (C, H, W), of coloured clouds of random coarseness, brightness and contrast."""
    random, (h, w) = np.random.Generator(np.random.PCG64(seed)), steps.size
    result = []
    for _ in range(count):
        cloud = np.zeros((h, w, 3), np.float32)
        for cells in (2, 3, 5, 9, 17, 33):
            grid = random.normal(0, random.uniform(0.2, 1), (cells, cells, 3)).astype(np.float32)
            cloud += cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        cloud = 128 + random.uniform(20, 60) * (cloud + random.normal(0, 0.7, 3)) + random.normal(0, 8, cloud.shape)
        image = np.clip(cloud, 0, 255).astype(np.uint8)
        result.append(steps(image if steps.channels == 3 else image[..., 0]))
    return result


def randomize(model: torch.nn.Module, network: torch.nn.Module, images: list[np.ndarray]) -> None:
    """Gives the model, in place, random weights scaled by their fan-in, random affine parameters and embeddings, and
    batch-norm statistics that are those of the images, disturbed. The network computes the model's logits."""
    torch.manual_seed(0)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) or "Norm" in type(m).__name__]
    affine = {id(p): name for m in norms for name, p in m.named_parameters(recurse=False)}
    batch = {id(p) for m in norms if isinstance(m, _BatchNorm) for p in m.parameters()}
    gates = {id(m.conv2.conv.weight) for m in model.modules() if type(m).__name__ == "SELayer"}
    activated = set(_before_activation_and_norm(model))
    for name, p in model.named_parameters():
        with torch.no_grad():
            if affine.get(id(p)) == "weight":
                p.uniform_(0.4, 1)
            elif id(p) in affine:  # mostly positive before a ReLU: else rounding grows with every batch norm
                p.normal_(0.5 if id(p) in batch else 0, 0.3)
            elif any(word in name.rpartition(".")[2] for word in _EMBEDDINGS):
                p.normal_(0, 0.5)
            elif id(p) in activated:
                p.normal_(1, 0.3)
            elif name.endswith("bias"):
                p.normal_(0, 0.1)
            elif p.dim() < 2 or p.numel() == max(p.shape):  # layer scales, temperatures
                p.uniform_(0.3, 1)
            else:  # squeeze and excitation that almost shuts channels for one image only would amplify the others
                p.normal_(0, (0.3 if id(p) in gates else 1) * (1.5 / p[0].numel()) ** 0.5)
    model.eval()
    _settle([m for m in norms if isinstance(m, _BatchNorm)], network, images)


def _before_activation_and_norm(model: torch.nn.Module) -> Iterator[int]:
    """The ids of the biases of ConvMixer's convolutions. Were they around zero, batch norm would enlarge the few values
    that the activation lets through: differences of a millionth become those of whole logits over the depth."""
    for part in model.modules():
        steps = list(part) if isinstance(part, torch.nn.Sequential) else []
        for convolution, between, norm in zip(steps, steps[1:], steps[2:], strict=False):
            if (
                isinstance(convolution, torch.nn.Conv2d)
                and isinstance(norm, _BatchNorm)
                and not list(between.parameters())
            ):
                yield id(convolution.bias)


def _settle(norms: list[_BatchNorm], network: torch.nn.Module, images: list[np.ndarray]) -> None:
    """One pass, each batch norm taking its statistics when its input comes, which those before it have made: were they
    all disturbed afterwards, a deep network would carry the shifts from layer to layer and grow them."""
    hooks = [m.register_forward_pre_hook(_take_statistics) for m in norms]
    with torch.no_grad():
        if norms:
            network(torch.from_numpy(np.stack(images)))
    for hook in hooks:
        hook.remove()


def _take_statistics(norm: _BatchNorm, inputs: tuple[torch.Tensor]) -> None:
    channels = inputs[0].transpose(0, 1).flatten(1)
    deviation = channels.var(1).clamp(min=1e-4).sqrt()
    norm.running_mean = channels.mean(1) + 0.1 * deviation * torch.randn_like(deviation)
    norm.running_var = deviation.square() * torch.empty_like(deviation).uniform_(0.7, 1.4)
