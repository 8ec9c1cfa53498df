"""The list of mmcls's model zoo as text."""

from __future__ import annotations

import json
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.progress import progress
from octet.zoo import catalogue

# `make zoo-table` writes it: what became of each config's network, and its parameters, counted: some metafiles are wrong.
CONVERTED = Path("docs/zoo.json")


def table(part: str | None = None) -> str:
    """One line a model: name, family, input size, parameters, published top-1, whether Octet converts it.

    part: only models in whose name or family it is. The input size is read from the config's test pipeline.
    """
    from octet.export.mmcls_model import read_config  # imports torch
    from octet.export.mmcls_pipeline import derive

    found = [m for m in catalogue.models().values() if not part or part.lower() in f"{m.name} {m.family}".lower()]
    if not found:
        raise OctetError(f"{part}: no model of mmcls's zoo has that in its name or family; 'make zoo' lists them all")
    sizes = {}
    for config in progress(sorted({model.config for model in found}), "reading configs", unit="config"):
        sizes[config] = derive(read_config(config), config).size
    known = json.loads(CONVERTED.read_text()) if CONVERTED.is_file() else {}
    rows = [("name", "family", "input", "parameters", "top-1", "Octet")]
    for m in found:
        height, width = sizes[m.config]
        top1 = f"{m.top1_pct:.2f} %" if m.top1_pct is not None else "-"
        seen = {"parameters": m.parameters, "octet": "not tried yet"} | known.get(m.config, {})
        rows.append((m.name, m.family, f"{height}x{width}", f"{seen['parameters'] / 1e6:.1f} M", top1, seen["octet"]))
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    lines = [
        f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]:>{widths[3]}}  {r[4]:>{widths[4]}}  {r[5]}".rstrip()
        for r in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], f"{len(found)} models"])
