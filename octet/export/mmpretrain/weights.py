"""The names of mmpretrain's weights, as mmcls 0.25 has them.

Of the 199 different networks in mmpretrain 1.2.0's configs that mmcls has too, 196 have the same names and shapes in
both; mmcls lacks an architecture's size for the other three. So little is left to rename.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TypeVar

_Weight = TypeVar("_Weight")
# What mmpretrain writes that is no weight: its data_preprocessor's mean and std, which the config has.
_NO_WEIGHTS = ("data_preprocessor.",)
# Beginnings of names: mmpretrain's, and mmcls's. A ViT with a LinearClsHead has mmcls's head for ViT.
_BEGINNINGS = {"head.fc.": "head.layers.head."}


def as_mmcls_names(weights: Mapping[str, _Weight], wanted: Container[str]) -> dict[str, _Weight]:
    """The weights by the names that a network of mmcls has; a name that it has stays.

    >>> as_mmcls_names({"head.fc.bias": 1, "data_preprocessor.mean": 2}, {"head.layers.head.bias"})
    {'head.layers.head.bias': 1}

    Args:
        weights: Of a checkpoint.
        wanted: The names of the network's.
    """
    return {
        _name(key, wanted): weight
        for key, weight in weights.items()
        if key in wanted or not key.startswith(_NO_WEIGHTS)
    }


def _name(key: str, wanted: Container[str]) -> str:
    if key in wanted:
        return key
    for theirs, ours in _BEGINNINGS.items():
        if key.startswith(theirs) and (renamed := ours + key.removeprefix(theirs)) in wanted:
            return renamed
    return key
