"""mmcls configs and checkpoints: the one place that imports mmcls.

An mmcls config is Python code and runs when it is read. A checkpoint is a pickle; only its weights are read, unless
the user says that the file is trusted.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch

from octet.core.errors import OctetError, nearest
from octet.core.files import read_bytes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    if importlib.util.find_spec("torchvision") is None:
        # mmcv imports torchvision only to resolve torchvision:// addresses, which Octet does not use.
        sys.modules["torchvision"] = types.ModuleType("torchvision")
    import mmcls
    from mmcls.models import build_classifier
    from mmcv import Config

_KEYS = (
    "state_dict",
    "model",
    "model_state_dict",
    "state_dict_ema",
    "model_ema",
    "net",
    "network",
    "module",
    "weights",
)
_PREFIXES = ("module.", "model.", "net.", "_orig_mod.")
ZOO = Path(mmcls.__file__).parent / ".mim" / "configs"


def read_config(name: str) -> Config:
    """Reads an mmcls config: a file of yours, or one of mmcls's zoo, as 'resnet/resnet18_8xb16_cifar10.py'."""
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = Config.fromfile(str(path))
    except (SyntaxError, NameError, ImportError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        problem = str(error)
    finally:
        sys.unraisablehook = hook
    if problem is not None:
        raise OctetError(f"{name}: cannot be read as an mmcls config: {problem}")
    if "model" not in config:
        raise OctetError(f"{name}: has no 'model'; expected an mmcls config of an ImageClassifier")
    return config


def build(config: Config, name: str) -> torch.nn.Module:
    """Builds the config's classifier with random weights, in evaluation mode."""
    model = config.model.copy()
    model.pop("pretrained", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = build_classifier(model).eval()
    except (KeyError, TypeError, ValueError, AssertionError, ImportError, AttributeError) as error:
        raise OctetError(f"{name}: mmcls cannot build the model: {error}") from None
    logging.getLogger("mmcv").setLevel(logging.WARNING)  # init_weights has two lines to say of each weight
    return built


def read_checkpoint(path: str | Path, trusted: bool = False) -> dict[str, Any]:
    """Reads a checkpoint: {'state_dict': fp32 tensors by name, 'meta': {...}}.

    The weights may be the whole file or lie under another key that is in use, and all names may begin with what a
    wrapper put before them, such as 'module.'. Only tensors and plain values are unpickled. A checkpoint whose pickle
    holds anything else is refused, unless trusted is true, when its code runs.
    """
    path = Path(path)
    if not path.is_file():
        raise OctetError(f"{path}: no such file; expected the model's checkpoint (.pth)")
    import pickle

    import numpy as np
    from numpy.core.multiarray import scalar

    allowed = [scalar, np.dtype, np.ndarray, *(type(np.dtype(t)) for t in ("f4", "f8", "i4", "i8", "u1", "?"))]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error) or "global" in str(error):
            raise OctetError(
                f"{path}: the file holds more than weights, and reading the rest could run code: "
                f"{_reason(error)}. If you trust where the file is from, set 'trusted: true' in the model's entry in params.yaml"
            ) from None
        raise OctetError(f"{path}: not a PyTorch checkpoint, or damaged ({_reason(error)}); fetch it again") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, ImportError, IndexError) as error:
        raise OctetError(f"{path}: not a PyTorch checkpoint, or cut off ({_reason(error)}); fetch it again") from None
    if not isinstance(content, dict):
        raise OctetError(f"{path}: expected a dictionary with 'state_dict', found {type(content).__name__}")
    state = _tensors(next((content[key] for key in _KEYS if _tensors(content.get(key))), content))
    while prefix := next((p for p in _PREFIXES if state and all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    if not state:
        raise OctetError(f"{path}: holds no weights; expected a dictionary with 'state_dict' as mmcls writes it")
    meta = content.get("meta")
    state = {key: v.float() if v.is_floating_point() else v for key, v in state.items()}
    return {"state_dict": state, "meta": meta if isinstance(meta, dict) else {}}


def _tensors(state: Any) -> dict[str, torch.Tensor]:
    """What of it are tensors with names."""
    pairs = state.items() if isinstance(state, dict) else ()
    return {key: value for key, value in pairs if isinstance(key, str) and isinstance(value, torch.Tensor)}


def _reason(error: Exception) -> str:
    text = str(error).strip()
    for line in text.splitlines():
        if "nsupported" in line or "GLOBAL" in line:
            return line.strip().rstrip(".")
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], path: str | Path) -> None:
    """Loads the weights. Missing, unexpected and wrongly shaped keys are an error that lists them all.

    mmcv's EMAHook writes each parameter twice, the second time as ema_ and its name with _ for dots. It swaps the two
    before a checkpoint is saved: the averages have the plain names, and the copies are left out. Where the plain ones
    are missing, the copies are taken.
    """
    wanted = model.state_dict()
    copies = {f"ema_{key.replace('.', '_')}": key for key in wanted}
    averages = {copies[key]: value for key, value in state.items() if key in copies}
    state = averages | {key: value for key, value in state.items() if key not in copies}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    lines = [f"  missing: {k} {tuple(v.shape)}" for k, v in wanted.items() if k not in state and k not in optional]
    lines += [f"  unexpected: {key} {tuple(v.shape)}" for key, v in state.items() if key not in wanted]
    lines += [
        f"  wrong shape: {key} is {tuple(state[key].shape)}, the model's is {tuple(v.shape)}"
        for key, v in wanted.items()
        if key in state and state[key].shape != v.shape
    ]
    if lines:
        shown = lines[:30] + ([f"  … and {len(lines) - 30} more"] if len(lines) > 30 else [])
        raise OctetError(
            f"{path}: the checkpoint does not belong to this config's model ({len(lines)} keys differ):\n"
            + "\n".join(shown)
        )
    model.load_state_dict(state, strict=False)


def transforms(pipeline: list, where: str) -> list:
    """A config's pipeline as mmcls's own transforms. `where` begins the error."""
    from mmcls.datasets import PIPELINES
    from mmcv.utils import build_from_cfg

    try:
        return [build_from_cfg(step, PIPELINES) for step in pipeline]
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
        raise OctetError(f"{where}: mmcls cannot build it: {str(error) or 'a value is not allowed'}") from None


def dataset_classes(data: Config) -> list[str]:
    """The class names of a config's data set: its own `classes` (names, or a file with one a line), or those that
    mmcls's data set of this type has.
    """
    from mmcls.datasets import DATASETS

    own = data.get("classes")
    if isinstance(own, str):
        lines = read_bytes(own, "the config's data.test.classes names it").decode().splitlines()
        return [line.strip() for line in lines if line.strip()]
    return list(own or getattr(DATASETS.get(data.type), "CLASSES", None) or [])
