"""mmcls configs that an entry names: copies in this project of those from elsewhere, and the data that they name."""

from __future__ import annotations

from typing import Any

from octet.core.errors import OctetError
from octet.core.places import is_outside
from octet.data.config_split import common_folder
from octet.project.copies import Copies, Sources, copies


def local_config(name: str, config: str) -> tuple[str, Copies | None]:
    """The config that an entry names and, where it has to be written, its copy with what belongs to it.

    DVC sees changes only in configs/models; mmcls's own do not change. So another one is copied, what it inherits
    included.

    Args:
        name: The model's.
        config: A file, or a name in mmcls's zoo.

    Raises:
        OctetError: The config cannot be read, is not of plain values, or its place is taken.
    """
    if not is_outside(config):
        from octet.export.mmcls_model import read_config  # imports torch

        read_config(config)
        return config, None
    wanted, former = copies(name, config), Sources.load(name)
    path = next(iter(wanted.files))
    if wanted.are_there():
        return str(path), None
    is_former = former is not None and former.config == config and not former.edited()
    taken = [file for file in wanted.files if file.exists() and not is_former]
    if taken:
        raise OctetError(
            f"{taken[0]}: is there already, and is not what {config} gives. Name this one, or give another MODEL=name"
        )
    return str(path), wanted


def data_folder(config: str) -> str:
    """The folder in which all lies that an mmcls config's data section names, for training and for test.

    Raises:
        OctetError: It names none.
    """
    from octet.export.mmcls_model import read_config  # imports torch
    from octet.export.wrappers import unwrapped

    data = _mapping(read_config(config).get("data"))
    parts = [unwrapped(data.get(split), f"{config}: data.{split}")[0] for split in ("train", "test")]
    places = [part[key] for part in parts for key in ("data_prefix", "ann_file") if isinstance(part.get(key), str)]
    if not places:
        raise OctetError(
            f"{config}: its data section names no folder; give the model's entry in params.yaml a key 'data'"
        )
    try:
        return common_folder(places)
    except OctetError as error:
        raise OctetError(f"{config}: {error}; give the model's entry in params.yaml a key 'data'") from None


def _mapping(value: Any) -> dict[str, Any]:
    """The value where it is a mapping; otherwise an empty one."""
    return value if isinstance(value, dict) else {}
