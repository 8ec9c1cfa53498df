"""mmcls configs that an entry names: copies in this project of those from elsewhere, and the data that they name."""

from __future__ import annotations

import ast
import pprint
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.places import CONFIGS, is_outside
from octet.data.config_split import common_folder


def local_config(name: str, config: str) -> tuple[str, str | None]:
    """The config that an entry names and, where it has to be written, its text.

    DVC sees changes only in configs/models; mmcls's own do not change. So another one is copied, what it inherits
    included.

    Args:
        name: The model's.
        config: A file, or a name in mmcls's zoo.

    Raises:
        OctetError: The config cannot be read, is not of plain values, or its place is taken.
    """
    from octet.export.mmcls_model import read_config  # imports torch

    whole, path = read_config(config), CONFIGS / f"{name}.py"
    if not is_outside(config):
        return config, None
    values = whole._cfg_dict.to_dict()
    lines = [f"{key} = {pprint.pformat(value, width=118, sort_dicts=False)}\n" for key, value in values.items()]
    try:
        ast.literal_eval(repr(values))
    except (ValueError, SyntaxError):
        raise OctetError(
            f"{config}: holds more than plain values; move it to {path} yourself, and name it so"
        ) from None
    text = f"# All of {Path(config).name}, and of what it inherits.\n" + "".join(lines)
    if not path.exists():
        return str(path), text
    if path.read_text() != text:
        raise OctetError(
            f"{path}: is there already, and is not what {config} gives. Name this one, or give another MODEL=name"
        )
    return str(path), None


def data_folder(config: str) -> str:
    """The folder in which all lies that an mmcls config's data section names, for training and for test.

    Raises:
        OctetError: It names none.
    """
    from octet.export.mmcls_model import read_config  # imports torch

    data = read_config(config).get("data", {})
    parts = [data.get(split, {}) for split in ("train", "test")]
    parts = [part.get("dataset", part) for part in parts]  # of a wrapper such as RepeatDataset
    places = [part[key] for part in parts for key in ("data_prefix", "ann_file") if isinstance(part.get(key), str)]
    if not places:
        raise OctetError(
            f"{config}: its data section names no folder; give the model's entry in params.yaml a key 'data'"
        )
    try:
        return common_folder(places)
    except OctetError as error:
        raise OctetError(f"{config}: {error}; give the model's entry in params.yaml a key 'data'") from None
