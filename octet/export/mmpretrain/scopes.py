"""Names of mmpretrain's types: with a scope before them, as 'mmpretrain.ResNet', or a module."""

from __future__ import annotations

from typing import Any

from octet.core.errors import OctetError

_SCOPES = ("mmpretrain", "mmcls", "mmcv", "mmengine", "torch")


def without_scopes(value: Any, name: str, where: str = "") -> Any:
    """A config's value, with each `type` as its last name.

    >>> without_scopes({"type": "mmpretrain.models.backbones.ResNet", "act_cfg": {"type": "ReLU"}}, "my.py")
    {'type': 'ResNet', 'act_cfg': {'type': 'ReLU'}}

    Args:
        value: Of dictionaries, lists and plain values.
        name: The config's file, for errors.
        where: The value's key, for errors.

    Raises:
        OctetError: A type is a class and not its name.
    """
    if isinstance(value, dict):
        copy = {key: without_scopes(part, name, f"{where}.{key}" if where else str(key)) for key, part in value.items()}
        kind = copy.get("type")
        if isinstance(kind, type):
            raise OctetError(f"{name}: {where}.type is the class {kind.__name__}; expected its name, as text")
        if isinstance(kind, str) and kind.split(".")[0] in _SCOPES:
            copy["type"] = kind.rpartition(".")[2]
        return copy
    if isinstance(value, list | tuple):
        return type(value)(without_scopes(part, name, f"{where}.{k}") for k, part in enumerate(value))
    return value
