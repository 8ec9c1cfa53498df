"""mmcls's model zoo by name, from the metafiles in mmcls's wheel; nothing of mmcls is imported.

A weights file's name ends in the first eight hex digits of its sha256.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from octet.core import yaml
from octet.core.errors import OctetError, nearest

FOLDER = Path("models/zoo")  # where the weights lie
TOLERANCE_PT = 0.1  # how far fp32's top-1 may be from the published one without a warning


@dataclass(frozen=True)
class ZooModel:
    """config: as mmcls_model.read_config takes it. top1_pct: published, None for a multi-label model. data_set: its name
    in the metafile.
    """

    name: str
    family: str
    config: str
    url: str
    parameters: int
    top1_pct: float | None
    data_set: str

    @property
    def file(self) -> Path:
        """Where the weights lie."""
        return FOLDER / self.url.rsplit("/", 1)[1]

    @property
    def sha256(self) -> str:
        """The first digits of the weights' sha256."""
        return re.fullmatch(r".*-([0-9a-f]{8})\.pth", self.file.name)[1]


@cache
def models() -> dict[str, ZooModel]:
    """Every model of the zoo that has a config, weights and results, by its name, in the order of the metafiles."""
    found = {}
    for path in sorted(_wheel().glob("configs/*/metafile.yml")):
        for entry in yaml.load(path, "it is part of mmcls's wheel: install that again").get("Models", ()):
            if not {"Config", "Weights"} <= entry.keys() or not entry.get("Results"):
                continue
            result = entry["Results"][0]
            found[entry["Name"]] = ZooModel(
                entry["Name"],
                entry.get("In Collection") or entry["In Collections"],
                entry["Config"].removeprefix("configs/"),
                entry["Weights"],
                int(entry["Metadata"]["Parameters"]),
                result["Metrics"].get("Top 1 Accuracy"),
                result["Dataset"],
            )
    return found


def find(name: str) -> ZooModel:
    """The model of that name, or the only one whose config has it; OctetError with the nearest name otherwise."""
    if name in models():
        return models()[name]
    same = [model for model in models().values() if Path(model.config).stem == name.removesuffix(".py")]
    if len(same) == 1:
        return same[0]
    if same:
        raise OctetError(f"{name}: a config of several models; take one of {', '.join(model.name for model in same)}")
    raise OctetError(f"{name}: no such model in mmcls's zoo. {nearest(name, models())} 'make zoo' lists them")


def by_file(path: str | Path) -> ZooModel | None:
    """The model that a weights file belongs to, by the file's name, wherever it lies."""
    return next((model for model in models().values() if model.file.name == Path(path).name), None)


def compare(top1_pct: float, checkpoint: str) -> dict:
    """The published top-1 beside the fp32 model's, as metrics JSON, where the checkpoint is of the zoo; a warning where
    the two differ.
    """
    model = by_file(checkpoint)
    if model is None or model.top1_pct is None:
        return {}
    off = top1_pct - model.top1_pct
    if abs(off) > TOLERANCE_PT:
        print(
            f"warning: {model.name}: fp32 top-1 is {top1_pct:.2f} %, published are {model.top1_pct:.2f} % on {model.data_set} "
            f"({off:+.2f} points). Usual causes: channel order (RGB for BGR), normalization, resize or crop other than in "
            "training, images that were encoded again, labels in another order, another data set",
            file=sys.stderr,
        )
    return {"published_top1_pct": model.top1_pct}


def _wheel() -> Path:
    return Path(importlib.util.find_spec("mmcls").submodule_search_locations[0]) / ".mim"
