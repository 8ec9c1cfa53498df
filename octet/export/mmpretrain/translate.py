"""An mmpretrain config in the form of mmcls 0.x: `model`, and `data` with `train` and `test`."""

from __future__ import annotations

from typing import Any

from octet.core.errors import OctetError
from octet.export.mmcls_package import Config
from octet.export.mmpretrain.datasets import data_set
from octet.export.mmpretrain.model import model_of
from octet.export.mmpretrain.pipeline import pipeline_of
from octet.export.mmpretrain.scopes import without_scopes

_OWN_KEYS = (
    "test_dataloader",
    "val_dataloader",
    "train_dataloader",
    "data_preprocessor",
    "default_scope",
    "optim_wrapper",
)


def is_mmpretrain(config: Config) -> bool:
    """Is it a config of mmpretrain (or mmcls 1.x), and not of mmcls 0.x?"""
    return any(key in config for key in _OWN_KEYS)


def drop_imports_of_mmpretrain(config: Config) -> None:
    """Takes mmpretrain's own modules, which are not needed, out of a config's custom_imports."""
    custom = config.get("custom_imports")
    names = custom.get("imports") if isinstance(custom, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple):  # which import_all refuses
        return
    kept = [name for name in names if not (isinstance(name, str) and name.split(".")[0] == "mmpretrain")]
    if names and not kept:
        config.pop("custom_imports")
    elif len(kept) < len(names):
        custom.imports = kept


def translate(config: Config, name: str) -> Config:
    """The config as mmcls 0.x would have it.

    Args:
        config: Of mmpretrain.
        name: Its file, for errors.

    Raises:
        OctetError: It is of no classifier, or has what mmcls or Octet has not.
    """
    plain: dict[str, Any] = without_scopes(config._cfg_dict.to_dict(), name)
    if not isinstance(plain.get("model"), dict):
        raise OctetError(f"{name}: has no 'model'; expected an mmpretrain config of an ImageClassifier")
    test = next((key for key in ("test_dataloader", "val_dataloader") if plain.get(key)), None)
    if test is None:
        raise OctetError(
            f"{name}: has neither test_dataloader nor val_dataloader, whose pipeline says what happens to an image; add one"
        )
    where = f"{name}: {test}.dataset"
    data, steps = data_set(plain[test], where)
    preprocessor = plain["model"].get("data_preprocessor") or plain.get("data_preprocessor") or {}
    data["pipeline"] = pipeline_of(steps, preprocessor, where, f"{name}: data_preprocessor")
    values: dict[str, Any] = {"model": model_of(plain["model"], name), "data": {"test": data}}
    if plain.get("train_dataloader"):
        values["data"]["train"], _ = data_set(plain["train_dataloader"], f"{name}: train_dataloader.dataset")
    values["pipeline_key"] = f"{test}.dataset.pipeline"
    if plain.get("custom_imports"):
        values["custom_imports"] = plain["custom_imports"]
    return Config(values, filename=config.filename)
