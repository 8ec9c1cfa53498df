"""The networks of mmcls's model zoo: its configs, those that describe the same network together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from octet.errors import OctetError
from octet.mmcls_model import ZOO, read_config
from octet.mmcls_pipeline import derive
from octet.progress import progress

# What a config may say of a model without changing what it computes for a picture, but for the last layer's size.
_IGNORED = ("init_cfg", "train_cfg", "pretrained", "loss", "topk", "cal_acc", "num_classes", "deploy")


@dataclass
class Network:
    """configs: as octet.mmcls_model.read_config takes them, that of a published model first. size: (height, width).
    cost: multiplications and parameters as far as the metafiles tell, to do the small ones first."""

    family: str
    configs: list[str]
    size: tuple[int, int]
    cost: float = 0

    @property
    def name(self) -> str:
        return Path(self.configs[0]).stem


def networks() -> list[Network]:
    """Every network of the zoo; two configs share one if their model differs in nothing but training, drop rates,
    deploy form and number of classes, and the input has the same size."""
    published, costs = _published()
    folders = {Path(name).parts[0]: family for name, family in reversed(published.items())}
    names = sorted(str(path.relative_to(ZOO)) for path in ZOO.rglob("*.py") if "_base_" not in path.parts)
    found: dict[tuple, Network] = {}
    for name in progress(sorted(names, key=lambda name: name not in published), "reading configs", unit="config"):
        try:
            config = read_config(name)
        except OctetError as error:  # mobilenet_v3's for CIFAR-10 name a file that mmcls's wheel lacks
            print(error)
            continue
        size = tuple(derive(config, name).size)
        key = (json.dumps(_core(config.model.to_dict()), sort_keys=True, default=str), size)
        family = published.get(name) or folders.get(Path(name).parts[0]) or config.model.backbone.type
        found.setdefault(key, Network(family, [], size, costs.get(name, 1e10))).configs.append(name)
    return sorted(found.values(), key=lambda network: (network.family.lower(), network.name))


def _core(value):
    if isinstance(value, dict):
        return {k: _core(v) for k, v in value.items() if k not in _IGNORED and "drop" not in k}
    return [_core(v) for v in value] if isinstance(value, list | tuple) else value


def _published() -> tuple[dict[str, str], dict[str, float]]:
    """The family and the cost by the config, of every config in a metafile."""
    found, costs = {}, {}
    for path in sorted(ZOO.glob("*/metafile.yml")):
        for model in yaml.safe_load(path.read_text()).get("Models", ()):
            if "Config" in model:
                family = model.get("In Collection") or model["In Collections"]
                name = model["Config"].removeprefix("configs/")
                found[name] = family
                costs[name] = float(model["Metadata"]["FLOPs"]) + 10 * float(model["Metadata"]["Parameters"])
    return found, costs
