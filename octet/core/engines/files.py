"""models/<model>/engines: the int8 models for engines beside ncnn, and layers.json, which says of each what is int8."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from octet.core.errors import OctetError
from octet.core.files import as_dataclass, read_bytes, read_json
from octet.core.folder import ModelFolder

Costs = dict[str, float]  # nats by layer; named here, since below `float` is a key of the file


@dataclass(frozen=True)
class EngineLayers:
    """What layers.json says of one engine's model; its fields are the keys of its part of the file.

    Args:
        int8: The layers that are int8, in the network's order.
        float: Those that are not, and why.
        sha256: Of the model's file: an engine would run one in which a weight was damaged.
        kl_alone: What each int8 layer costs: the KL divergence of the probabilities from fp32's in nats, where it alone is int8.
    """

    int8: list[str]
    float: dict[str, str]
    sha256: str
    kl_alone: Costs


def check_models(folder: ModelFolder, engines: Iterable[str]) -> dict[str, EngineLayers]:
    """Checks that the models of engines are those that the stage qdq made, before an engine reads them.

    Args:
        folder: The model's files.
        engines: Their names.

    Returns:
        What layers.json says of each.

    Raises:
        OctetError: layers.json or a model is missing or damaged.
    """
    path, made_by = folder.engine_layers, f"'dvc repro qdq@{folder.name}' makes it"
    checked: dict[str, EngineLayers] = {}
    for name in engines:
        content = read_json(path, made_by)
        if not isinstance(content, dict) or name not in content:
            raise OctetError(f"{path}: says nothing of {name}; {made_by} anew")
        checked[name] = as_dataclass(EngineLayers, content[name], path, made_by)
        model = read_bytes(folder.engine(name), made_by)
        if hashlib.sha256(model).hexdigest() != checked[name].sha256:
            raise OctetError(
                f"{folder.engine(name)}: changed since the stage qdq made it, by the checksum in {path.name}; {made_by} anew"
            )
    return checked
