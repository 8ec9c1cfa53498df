"""The file of the layers that mixed precision leaves in fp32: plan.json, written by the stage plan."""

from __future__ import annotations

from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import read_json


def read_plan(path: Path) -> list[str]:
    """The layers that mixed precision leaves in fp32, from plan.json.

    Raises:
        OctetError: The file is missing, or not what the stage plan writes.
    """
    made_by = "the stage plan makes it"
    plan = read_json(path, made_by)
    names = plan.get("keep_fp32") if isinstance(plan, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OctetError(f"{path}: expected the names of layers under 'keep_fp32'; {made_by}: run it again")
    return names
