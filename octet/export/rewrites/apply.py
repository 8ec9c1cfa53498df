"""Which rewrite runs in place of which of mmcls's forwards, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType

import torch

from octet.export.rewrites import (
    activations,
    attention,
    fourier,
    multiscale,
    nested,
    operators,
    partitions,
    split_attention,
    unfold,
    windows,
)

# The class that defines a forward, as module.Class -> the function that runs in its place.
REWRITES = {
    name: function
    for module in (activations, attention, fourier, multiscale, nested, partitions, split_attention, unfold, windows)
    for name, function in module.REWRITES.items()
}


@contextmanager
def rewritten(network: torch.nn.Module) -> Iterator[None]:
    """While the block runs, the network's modules compute by their rewrites, and torch.onnx writes operators by theirs.

    A class that inherits a rewritten forward is rewritten too, one that overrides it is not.
    """
    changed = []
    for module in network.modules():
        owner = next(kind for kind in type(module).__mro__ if "forward" in vars(kind))
        function = REWRITES.get(f"{owner.__module__}.{owner.__qualname__}")
        if function:
            module.forward = MethodType(function, module)
            changed.append(module)
    for name, function in operators.OPERATORS.items():
        torch.onnx.register_custom_op_symbolic(name, function, 13)
    try:
        yield
    finally:
        for name in operators.OPERATORS:
            torch.onnx.unregister_custom_op_symbolic(name, 13)
        for module in changed:
            del module.forward
