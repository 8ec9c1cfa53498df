"""The networks of mmcls's model zoo: its configs, those that describe the same network together, and its base models."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.progress import progress
from octet.export.mmcls_model import ZOO, Config, build, read_config
from octet.export.mmcls_pipeline import derive
from octet.zoo import catalogue

# What a config may say of a model without changing what it computes for an image, but for the last layer's size.
_IGNORED = ("init_cfg", "train_cfg", "pretrained", "loss", "topk", "cal_acc", "num_classes", "deploy")
# A data set for base models, by the side of their input.
_DATA = {
    32: "cifar10_bs16",
    224: "imagenet_bs64",
    256: "imagenet_bs64_swin_256",
    384: "imagenet_bs64_swin_384",
}


@dataclass
class Network:
    """configs: as octet.mmcls_model.read_config takes them, that of a published model first. size: (height, width).
    cost: parameters by pixels, to do the small ones first."""

    family: str
    configs: list[str]
    size: tuple[int, int]
    cost: float = 0

    @property
    def name(self) -> str:
        path = Path(self.configs[0])
        return "-".join([*path.parts[2:-1], path.stem])  # a base model's folder, but for models/


def networks() -> list[Network]:
    """Every network of the zoo. Two configs share one if their model differs in nothing but training, drop rates, deploy
    form and number of classes, and the input has the same size. A base model of which no config is gets one of its own."""
    models = list(catalogue.models().values())
    published = {model.config: model.family for model in models}
    parameters = {model.config: model.parameters for model in models}
    folders = {Path(name).parts[0]: family for name, family in reversed(published.items())}
    names = sorted(str(path.relative_to(ZOO)) for path in ZOO.rglob("*.py") if "_base_" not in path.parts)
    result: dict[tuple, Network] = {}
    families = defaultdict(Counter)  # by the backbone's type
    for name, config in _read(sorted(names, key=lambda name: name not in published)):
        try:
            size, backbone = tuple(derive(config, name).size), config.model.backbone.type
        except OctetError as error:  # the stage export refuses it, too: several labels an image
            print(error)
            continue
        key = _core(config.model), size
        family = published.get(name) or folders.get(Path(name).parts[0]) or backbone
        families[backbone][family] += 1
        if key not in result:
            result[key] = Network(family, [], size, parameters.get(name, 1e8) * size[0] * size[1])
        result[key].configs.append(name)
    cores = {core for core, _ in result}
    for name, config in _read(sorted(str(path.relative_to(ZOO)) for path in (ZOO / "_base_/models").rglob("*.py"))):
        model = config.model
        if _core(model) not in cores:
            cores.add(_core(model))
            side = _side(name)
            family = families[model.backbone.type].most_common(1)
            result[name] = Network(family[0][0] if family else model.backbone.type, [name], (side, side), 1e8 * side**2)
    return sorted(result.values(), key=lambda network: (network.family.lower(), network.name))


def count_parameters(config: str) -> int:
    """How many the config's model has, in the form that the config names: training's, or deploy's."""
    return sum(p.numel() for p in build(read_config(config), config).parameters())


def _read(names: list[str]) -> Iterator[tuple[str, Config]]:
    for name in progress(names, "reading configs", unit="config"):
        try:
            yield name, read_config(name)
        except OctetError as error:  # a few name a file that mmcls's wheel lacks
            print(error)


def _side(base: str) -> int:
    return 32 if "cifar" in base else int(read_config(base).model.backbone.get("img_size", 224))


def complete(config: str, folder: Path) -> str:
    """The config; of a base model, one in the folder that adds the data set it is for."""
    if not config.startswith("_base_"):
        return config
    data = _DATA[_side(config)]
    path = folder / "config.py"
    path.write_text(f"_base_ = [{str(ZOO / config)!r}, {str(ZOO / '_base_/datasets' / data)!r} + '.py']\n")
    return str(path)


def _core(model) -> str:
    return json.dumps(_stripped(model.to_dict()), sort_keys=True, default=str)


def _stripped(value):
    if isinstance(value, dict):
        return {k: _stripped(v) for k, v in value.items() if k not in _IGNORED and "drop" not in k}
    return [_stripped(v) for v in value] if isinstance(value, list | tuple) else value
