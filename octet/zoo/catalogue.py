"""mmcls's model zoo by name, from the metafiles in mmcls's wheel; nothing of mmcls is imported.

A weights file's name ends in the first eight hex digits of its sha256.
"""

from __future__ import annotations

import importlib.util
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
    """A model of mmcls's zoo.

    Args:
        name: As its metafile has it.
        family: The collection that it belongs to.
        config: As octet.export.mmcls_model.read_config takes it.
        url: Where its weights are.
        parameters: How many it has, by the metafile.
        top1_pct: The published top-1; None for a multi-label model.
        data_set: What that was measured on, by its name in the metafile.
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
        return self.file.stem.rsplit("-", 1)[1]


@cache
def models() -> dict[str, ZooModel]:
    """Every model of the zoo that has a config, weights and results, by its name, in the order of the metafiles."""
    zoo = {}
    for path in sorted(_wheel().glob("configs/*/metafile.yml")):
        for entry in yaml.load(path, "it is part of mmcls's wheel: install that again").get("Models", ()):
            if not {"Config", "Weights"} <= entry.keys() or not entry.get("Results"):
                continue
            result = entry["Results"][0]
            zoo[entry["Name"]] = ZooModel(
                entry["Name"],
                entry.get("In Collection") or entry["In Collections"],
                entry["Config"].removeprefix("configs/"),
                entry["Weights"],
                int(entry["Metadata"]["Parameters"]),
                result["Metrics"].get("Top 1 Accuracy"),
                result["Dataset"],
            )
    return zoo


def find(name: str) -> ZooModel:
    """The model of that name, or the only one whose config has it.

    >>> find("resnet18_8xb16_cifar10").top1_pct
    94.82

    Raises:
        OctetError: There is none, with the nearest name; or there are several.
    """
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


def published_top1_pct(checkpoint: str, top1_pct: float) -> float | None:
    """What the zoo publishes for a checkpoint of its own; a warning on standard error where the measured one differs.

    Args:
        checkpoint: Where the weights lie.
        top1_pct: The fp32 model's top-1 on all test images.

    Returns:
        None where the checkpoint is not of the zoo, or nothing is published.
    """
    model = by_file(checkpoint)
    if model is None or model.top1_pct is None:
        return None
    off = top1_pct - model.top1_pct
    if abs(off) > TOLERANCE_PT:
        print(
            f"warning: {model.name}: fp32 top-1 is {top1_pct:.2f} %, published are {model.top1_pct:.2f} % on {model.data_set} "
            f"({off:+.2f} points). Usual causes: channel order (RGB for BGR), normalization, resize or crop other than in "
            "training, images that were encoded again, labels in another order, another data set",
            file=sys.stderr,
        )
    return model.top1_pct


def _wheel() -> Path:
    """What mmcls's wheel carries besides code."""
    spec = importlib.util.find_spec("mmcls")
    if spec is None or not spec.submodule_search_locations:
        raise OctetError("mmcls: not installed; 'make quantize' installs all that requirements.lock names")
    return Path(spec.submodule_search_locations[0]) / ".mim"
