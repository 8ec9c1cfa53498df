"""mmcls and mmcv themselves: the one place that imports mmcls."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

from octet.core.quiet_imports import quiet_imports

with quiet_imports():
    if importlib.util.find_spec("torchvision") is None:
        # mmcv imports torchvision only to resolve torchvision:// addresses, which Octet does not use.
        sys.modules["torchvision"] = types.ModuleType("torchvision")
    import mmcls
    from mmcls.datasets import CIFAR10, DATASETS, MNIST, PIPELINES, CustomDataset, MultiLabelDataset
    from mmcls.models import BACKBONES, HEADS, NECKS, build_classifier
    from mmcls.models.backbones import VisionTransformer
    from mmcv import Config, ConfigDict
    from mmcv.utils import build_from_cfg


def registered(registry: Any, kind: object) -> Any:
    """The class of that name in one of mmcls's registries; None: there is none, or the name is in another's scope.

    >>> registered(BACKBONES, "ResNet").__name__, registered(BACKBONES, "mmdet.ResNet"), registered(BACKBONES, 5)
    ('ResNet', None, None)
    """
    try:
        return registry.get(kind) if isinstance(kind, str) else None
    except AttributeError:  # mmcv's answer to a scope that it does not know
        return None


__all__ = [
    "BACKBONES",
    "CIFAR10",
    "DATASETS",
    "HEADS",
    "MNIST",
    "NECKS",
    "PIPELINES",
    "Config",
    "ConfigDict",
    "CustomDataset",
    "MultiLabelDataset",
    "VisionTransformer",
    "build_classifier",
    "build_from_cfg",
    "mmcls",
    "registered",
]
