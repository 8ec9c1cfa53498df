"""What rewrites need to be traced so that pnnx has nothing left to find out."""

from __future__ import annotations

import torch


def constant(value: torch.Tensor) -> torch.Tensor:
    """A value that depends on the weights alone, as a constant of the exported model."""
    return torch.from_numpy(value.detach().numpy().copy())


def sizes(x: torch.Tensor) -> list[int]:
    """Its shape as numbers: x.shape would be traced, and pnnx would be left to find out what is constant."""
    return [int(n) for n in x.shape]
