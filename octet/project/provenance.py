"""The parameters with which a model's files were made: dvc.lock's, which params.yaml may have left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from octet.calibrate.methods import describe
from octet.core.errors import OctetError
from octet.core.files import read_bytes


def used(name: str, lock: str | Path = "dvc.lock") -> dict[str, Any]:
    """By section of params.yaml: export, calibrate, target, evaluate, …, and `model`, what is known of its entry.

    Raises OctetError where the pipeline did not run for this model, or not to its end.
    """
    made_by = f"'make quantize MODEL={name}' makes it"
    stages = (yaml.safe_load(read_bytes(lock, made_by)) or {}).get("stages", {})
    if f"summary@{name}" not in stages:
        raise OctetError(f"{lock}: the pipeline did not run for {name}; 'make quantize MODEL={name}' does that")
    found: dict[str, Any] = {"model": {}}
    for stage, entry in stages.items():
        if stage.endswith(f"@{name}"):
            for key, value in entry.get("params", {}).get("params.yaml", {}).items():
                prefix, _, last = key.rpartition(".")
                (found["model"] if prefix == f"models.{name}" else found)[last or key] = value
    return found


def calibration(found: dict[str, Any]) -> str:
    """The calibration method in words."""
    return describe(found["calibrate"])
