"""timm and torchvision, an extra that `make timm` installs: into a folder beside the environment's own packages.

Apart, since mmcv would import a torchvision that is beside it, and since timm's own list asks for more than Octet needs.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from octet.core.errors import OctetError

FOLDER = Path(sys.prefix) / "timm"
_UNREGISTERED = ("nms", "qnms")  # operators of detectors, that torchvision describes to torch while it is imported


def torchvision() -> ModuleType:
    """torchvision.

    Raises:
        OctetError: It is not installed.
    """
    return _imported("torchvision")


def timm() -> ModuleType:
    """timm, which imports torchvision.

    Raises:
        OctetError: It is not installed.
    """
    _imported("torchvision")
    return _imported("timm")


@cache
def _imported(name: str) -> ModuleType:
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    present = sys.modules.get(name)
    if present is not None and present.__spec__ is None:  # mmcv's stand-in for torchvision, in octet.export.mmcls_model
        del sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise OctetError(f"{name}: is not installed; 'make timm' installs it. Only entries with '{name}' need it")
    if name == "torchvision" and name not in sys.modules:
        _register_operators(Path(str(spec.origin)).parent)
    return importlib.import_module(name)


def _register_operators(folder: Path) -> None:
    """Names torchvision's operators to torch where its own library does not load: PyPI's wheel wants torch's CUDA build.

    Classifiers use none of them, but without the names torchvision cannot be imported.
    """
    try:
        for library in sorted(folder.glob("_C.*")):
            torch.ops.load_library(library)
    except OSError:
        names = torch.library.Library("torchvision", "DEF")
        for name in _UNREGISTERED:
            names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(names)


_kept: list[torch.library.Library] = []  # what a library defines is gone when it is collected
