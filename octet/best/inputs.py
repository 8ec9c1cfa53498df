"""What the loss of a candidate depends on, as one checksum: where it changes, candidates are measured anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import ncnn

from octet.core import yaml
from octet.core.files import checksum
from octet.core.folder import ModelFolder
from octet.core.params import Model

LOCK = Path("dvc.lock")
_CODE = Path(__file__).parents[1]
_ROOMS = (
    "calibrate",
    "core",
    "data",
    "evaluate",
    "graph",
    "ncnn",
    "qdq",
    "quantize",
)  # whose code makes int8, and its loss
_SEARCHED = {"target", "equalize", "mixed_precision"}  # what candidates say themselves
_ELSEWHERE = {
    "engines",
    "export",
    "analyze",
    "evaluate",
    "benchmark",
    "max_drop_pt",
    "min_sqnr_db",
}  # what int8 does not depend on


def digest(folder: ModelFolder, entry: Model, n_images: int) -> str:
    """The checksum for a model.

    Args:
        folder: The model's files; fp32's, preprocess.json and dvc.lock have to be current.
        entry: Its entry.
        n_images: On how many hold-out images it is judged.
    """
    settings = entry.model_dump(mode="json", exclude=_SEARCHED | _ELSEWHERE)
    for section, keys in (("calibrate", ("method", "weights")), ("rounding", ("method",))):
        for key in keys:
            del settings[section][key]
    files = [
        folder.preprocess,
        *folder.fp32,
        *(path for room in _ROOMS for path in sorted((_CODE / room).rglob("*.py"))),
    ]
    content = [
        settings,
        n_images,
        ncnn.__version__,
        _data(folder.name, entry.data),
        [checksum(path, "md5") for path in files],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _data(name: str, data: str) -> Any:
    """What DVC knows of the images, by the stage that made the fp32 model."""
    stages = yaml.load(LOCK, "'dvc repro' makes it").get("stages") or {}
    known = (stages.get(f"convert@{name}") or {}).get("deps") or []
    return next((dependency for dependency in known if dependency.get("path") == data), None)
