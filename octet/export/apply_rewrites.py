"""Which rewrite runs in place of which of mmcls's forwards, and for how long: all that the files in rewrites/ have."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType, ModuleType
from typing import Any

import torch
from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

from octet.core.errors import OctetError
from octet.export import rewrites

OPSET = 13  # from which on the operators are written so; earlier ones take torch's own form


def modules() -> list[ModuleType]:
    """The files in rewrites/ that have rewrites, by their names' order."""
    names = sorted(module.name for module in pkgutil.iter_modules(rewrites.__path__))
    return [importlib.import_module(f"{rewrites.__name__}.{name}") for name in names if not name.startswith("_")]


def collected(kind: str) -> dict[str, Callable[..., Any]]:
    """What all files have under a name, 'REWRITES' or 'OPERATORS', together.

    Raises:
        OctetError: Two files rewrite the same.
    """
    together: dict[str, Callable[..., Any]] = {}
    for module in modules():
        for name, function in getattr(module, kind, {}).items():
            if name in together:
                raise OctetError(f"{module.__file__}: {name} is rewritten by another file of this folder, too")
            together[name] = function
    return together


@contextmanager
def rewritten(network: torch.nn.Module) -> Iterator[None]:
    """While the block runs, the network's modules compute by their rewrites, and torch.onnx writes operators by theirs."""
    forwards, operators = collected("REWRITES"), collected("OPERATORS")
    changed = []
    for module in network.modules():
        owner = next(kind for kind in type(module).__mro__ if "forward" in vars(kind))
        function = forwards.get(f"{owner.__module__}.{owner.__qualname__}")
        if function:
            module.forward = MethodType(function, module)
            changed.append(module)
    for name, function in operators.items():
        register_custom_op_symbolic(name, function, OPSET)
    try:
        yield
    finally:
        for name in operators:
            unregister_custom_op_symbolic(name, OPSET)
        for module in changed:
            del module.forward
