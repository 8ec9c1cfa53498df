"""mmcls configs, and the networks that they describe. A config is Python code and runs when it is read."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from octet.core.errors import OctetError, nearest
from octet.core.text import printable
from octet.export import own_modules
from octet.export.mmcls_package import (
    CIFAR10,
    DATASETS,
    MNIST,
    PIPELINES,
    Config,
    CustomDataset,
    MultiLabelDataset,
    build_classifier,
    build_from_cfg,
    mmcls,
)
from octet.export.mmpretrain.text_config import read_if_mmengine
from octet.export.mmpretrain.translate import drop_imports_of_mmpretrain, is_mmpretrain, translate

__all__ = [
    "CIFAR10",
    "DATASETS",
    "MNIST",
    "ZOO",
    "Config",
    "CustomDataset",
    "MultiLabelDataset",
    "build",
    "mmcls",
    "read_config",
    "transforms",
]
ZOO = Path(mmcls.__file__).parent / ".mim" / "configs"


def read_config(name: str) -> Config:
    """Reads a config, which is Python code and runs, and imports what its custom_imports names.

    What comes back has the form of mmcls 0.x, also where the config is mmpretrain's. Modules may lie beside the config,
    or in a folder beside it that is called as it is, without its .py.

    Args:
        name: A file of yours, or one of mmcls's zoo, as 'resnet/resnet18_8xb16_cifar10.py'.

    Raises:
        OctetError: There is none of that name, or it cannot be read, or has no model; or a module is missing; or mmcls has
            not what mmpretrain's names.
    """
    path = Path(name)
    if not path.is_file():
        path = ZOO / name
    if not path.is_file():
        known = [str(p.relative_to(ZOO)) for p in ZOO.rglob("*.py") if "_base_" not in p.parts]
        raise OctetError(
            f"{name}: no such config, neither a file here nor in mmcls's model zoo. {nearest(name, known)}"
        )
    # Where reading fails, mmcv leaves a temporary file object behind, which complains when it is collected.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    problem = None
    try:
        with warnings.catch_warnings(), own_modules.beside(path):
            warnings.simplefilter("ignore")
            config = read_if_mmengine(path) or Config.fromfile(str(path), import_custom_modules=False)
            drop_imports_of_mmpretrain(config)
            if config.get("custom_imports"):
                own_modules.import_all(config.custom_imports, path, name)
    except RecursionError:
        problem = "it inherits from itself, or is nested too deeply"
    except own_modules.NOT_ITS_OWN:
        raise
    except BaseException as error:  # a user's code may raise anything
        problem = str(error) if isinstance(error, SyntaxError) else own_modules.failure(error)
    finally:
        sys.unraisablehook = hook
    if problem is not None:
        raise OctetError(f"{name}: cannot be read as an mmcls config: {problem}")
    if not isinstance(config.get("model"), dict):
        raise OctetError(f"{name}: has no 'model'; expected an mmcls or mmpretrain config of an ImageClassifier")
    with own_modules.user_code(f"{name}: has a value of a wrong kind"):
        return translate(config, name) if is_mmpretrain(config) else config


def build(config: Config, name: str) -> torch.nn.Module:
    """The config's classifier with random weights, in evaluation mode.

    Args:
        config: As read_config gives it.
        name: The config's, for the error.

    Raises:
        OctetError: mmcls cannot build it.
    """
    model = config.model.copy()
    model.pop("pretrained", None)
    with warnings.catch_warnings(), own_modules.user_code(f"{name}: mmcls cannot build the model"):
        warnings.simplefilter("ignore")
        try:
            built: torch.nn.Module = build_classifier(model).eval()
        except KeyError as error:
            if "is not in the" not in str(error):
                raise
            reason = str(error.args[0]).replace("'", "")
            raise OctetError(
                f"{name}: mmcls cannot build the model: {printable(reason, 200)}. Is the type's name right, and the module that "
                "registers it in the config's custom_imports?"
            ) from None
    logging.getLogger("mmcv").setLevel(logging.WARNING)  # init_weights has two lines to say of each weight
    return built


def transforms(pipeline: list[Any], where: str) -> list[Any]:
    """A config's pipeline as mmcls's own transforms.

    Args:
        pipeline: The config's.
        where: What it is called in the error.

    Raises:
        OctetError: mmcls cannot build it.
    """
    try:
        return [build_from_cfg(step, PIPELINES) for step in pipeline]
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
        step, _, words = str(error).rpartition(": ")
        why = str(error) if words else f"{step}{': ' if step else ''}a value is not allowed"
        raise OctetError(f"{where}: mmcls cannot build it: {why}") from None
