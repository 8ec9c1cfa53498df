"""The list of mmcls's model zoo as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from octet.core import text
from octet.core.errors import OctetError
from octet.core.progress import progress
from octet.zoo import catalogue

# `make zoo-table` writes it: what became of each config's network, and its parameters, counted: some metafiles are wrong.
CONVERTED = Path("docs/zoo.json")


def table(part: str | None = None) -> str:
    """One line a model: name, family, input size, parameters, published top-1, whether Octet converts it.

    Args:
        part: Only models in whose name or family it is.

    Raises:
        OctetError: There are none.
    """
    from octet.export.mmcls_model import read_config  # imports torch
    from octet.export.mmcls_pipeline import derive

    zoo = [m for m in catalogue.models().values() if not part or part.lower() in f"{m.name} {m.family}".lower()]
    if not zoo:
        raise OctetError(f"{part}: no model of mmcls's zoo has that in its name or family; 'make zoo' lists them all")
    sizes, refusals = {}, {}
    for config in progress(sorted({model.config for model in zoo}), "reading configs", unit="config"):
        try:
            height, width = derive(read_config(config), config).size  # of the test pipeline
        except OctetError as error:
            refusals[config] = _cause(str(error), config)
            continue
        sizes[config] = f"{height}x{width}"
    known = json.loads(CONVERTED.read_text(encoding="utf-8")) if CONVERTED.is_file() else {}
    rows = [
        _row(model, sizes.get(model.config), refusals.get(model.config), known.get(model.config, {})) for model in zoo
    ]
    heads = ["name", "family", "input", "parameters", "top-1", "Octet"]
    return f"{text.table(rows, heads, align='llrrrl')}\n{len(zoo)} models"


def _cause(problem: str, config: str) -> str:
    """What an error says of a config, without its name and what to do."""
    return problem.splitlines()[0].removeprefix(f"{config}: ").split("; ")[0]


def _row(model: catalogue.ZooModel, size: str | None, refusal: str | None, known: dict[str, Any]) -> list[str]:
    """A model's line.

    Args:
        model: The model.
        size: Its input's; None where Octet refuses its config.
        refusal: Why Octet refuses its config; None where it does not.
        known: What docs/zoo.json has of its config.
    """
    top1 = f"{model.top1_pct:.2f} %" if model.top1_pct is not None else "-"
    parameters = f"{known.get('parameters', model.parameters) / 1e6:.1f} M"
    verdict = f"refused: {refusal}" if refusal else known.get("octet", "not tried yet")
    return [model.name, model.family, size or "-", parameters, top1, verdict]
