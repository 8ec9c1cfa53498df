"""Checkpoints: the weights and the class names in a file of torch.save, and how they go into a network.

Only weights are read, and nothing in the file runs, unless the user says that it is trusted: see octet.core.pickles.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from octet.core.errors import OctetError
from octet.core.pickle_reader import BadPickle, Opaque
from octet.core.text import printable
from octet.export import safetensors_file, torch_file
from octet.export.stored_tensors import StoredTensor, UnreadTensor
from octet.export.torch_file import TorchFile

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
_AVERAGES = ("state_dict_ema", "model_ema")
_COUNT = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, as torchvision's training saves one under 'model_ema'
_PREFIXES = ("module.", "model.", "net.", "_orig_mod.")

Weights = torch.Tensor | StoredTensor


@dataclass(frozen=True)
class Checkpoint:
    """What of a checkpoint is used: its weights by name, and the class names in the order of the outputs, or None."""

    weights: dict[str, Weights]
    classes: list[str] | None


def read(path: str | Path, trusted: bool = False, averages: bool = False) -> Checkpoint:
    """Reads a checkpoint.

    The weights may be the whole file or lie under another key that is in use, and all names may begin with what a
    wrapper put before them, such as 'module.'. Objects of other classes than tensors, arrays and plain values are stepped
    over, and named on standard error.

    Args:
        path: A file of torch.save, or of safetensors, by its ending.
        trusted: Whether torch may read it and run what is in it: for weights that lie in objects of other classes.
        averages: Whether the averaged weights (EMA) are taken where it has both, as timm does.

    Raises:
        OctetError: It is no checkpoint, is cut off or damaged, or its weights can only be read by running its code.
    """
    path = Path(path)
    if not path.is_file():
        raise OctetError(f"{path}: no such file; expected the model's checkpoint (.pth)")
    file = _file(path, trusted)
    content = file.value
    if isinstance(content, Opaque):
        raise OctetError(_opaque(path, content))
    if not isinstance(content, dict):
        raise OctetError(f"{path}: expected a dictionary with 'state_dict', found {type(content).__name__}")
    keys = (*_AVERAGES, *_KEYS) if averages else _KEYS
    state = next((weights for key in keys if (weights := _weights(content.get(key), path))), None) or _weights(
        content, path
    )
    state = _unwrapped(state)
    if not state:
        opaque = next((value for key in _KEYS if isinstance(value := content.get(key), Opaque)), None)
        if opaque:
            raise OctetError(_opaque(path, opaque))
        raise OctetError(f"{path}: holds no weights; expected a dictionary with 'state_dict' as mmcls writes it")
    checkpoint = Checkpoint(state, _classes(content.get("meta"), path))
    if file.opaque:
        names = ", ".join(printable(name, 80) for name in file.opaque[:5])
        more = f" and {len(file.opaque) - 5} more" if len(file.opaque) > 5 else ""
        print(f"note: {path}: stepped over what is no weight, without running it: {names}{more}", file=sys.stderr)
    return checkpoint


def load_weights(
    model: torch.nn.Module, weights: Mapping[str, Weights], path: str | Path, what: str = "this config's model"
) -> None:
    """Loads the weights. Missing, unexpected and wrongly shaped keys are an error that lists them all.

    mmcv's EMAHook writes each parameter twice, the second time as ema_ and its name with _ for dots. It swaps the two
    before a checkpoint is saved: the averages have the plain names, and the copies are left out. Where the plain ones
    are missing, the copies are taken.

    Args:
        model: The network; it keeps its dtypes.
        weights: As `read` gives them. Their numbers are only read where their shape is the network's.
        path: The checkpoint, for errors.
        what: The network, for errors.

    Raises:
        OctetError: Keys or shapes differ from the network's, numbers are damaged, or one is not finite.
    """
    wanted = model.state_dict()
    copies = {f"ema_{key.replace('.', '_')}": key for key in wanted}
    averages = {copies[key]: value for key, value in weights.items() if key in copies}
    weights = averages | {key: value for key, value in weights.items() if key not in copies}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    lines = [f"  missing: {k} {tuple(v.shape)}" for k, v in wanted.items() if k not in weights and k not in optional]
    lines += [f"  unexpected: {printable(key)} {tuple(v.shape)}" for key, v in weights.items() if key not in wanted]
    lines += [
        f"  wrong shape: {key} is {tuple(weights[key].shape)}, the model's is {tuple(v.shape)}"
        for key, v in wanted.items()
        if key in weights and tuple(weights[key].shape) != tuple(v.shape)
    ]
    if lines and (of_quantization := next((key for key in weights if _of_fake_quantization(key)), None)):
        raise OctetError(
            f"{path}: trained with fake quantization (it has {printable(of_quantization)}). A checkpoint does not say which tensor "
            "a scale is of. Export the model to ONNX with what trained it, and give that as ONNX=file (docs/own-models.md)"
        )
    if lines:
        shown = lines[:30] + ([f"  … and {len(lines) - 30} more"] if len(lines) > 30 else [])
        raise OctetError(
            f"{path}: the checkpoint does not belong to {what} ({len(lines)} keys differ):\n" + "\n".join(shown)
        )
    state = {key: as_tensor(key, value, path) for key, value in weights.items()}
    bad = [_not_finite(key, value) for key, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise OctetError(
            f"{path}: numbers that are not finite in {'; '.join(bad[:5])}{more}. Train the model again, or take an earlier "
            "checkpoint; fp16 holds numbers up to 65,504 only"
        )
    model.load_state_dict(state, strict=False)


def as_tensor(key: str, value: Weights, path: str | Path) -> torch.Tensor:
    """The numbers of a weight, fp32 where they have a point. key and path: of the weight, for OctetError."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    try:
        return torch.from_numpy(value.values())
    except BadPickle as error:
        raise OctetError(f"{path}: {key}: damaged or cut off ({error}); fetch the file again") from None


def _of_fake_quantization(key: str) -> bool:
    """Is it the name of what torch's or MMRazor's fake quantization keeps?"""
    return any(
        part in ("weight_fake_quant", "fake_quant_enabled") or part.startswith("activation_post_process")
        for part in key.split(".")
    )


def _not_finite(key: str, value: torch.Tensor) -> str:
    nan, infinite = int(value.isnan().sum()), int(value.isinf().sum())
    kinds = [f"{count:,} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"{key} {tuple(value.shape)}: {' and '.join(kinds)}"


def _file(path: Path, trusted: bool) -> TorchFile:
    if path.suffix == safetensors_file.SUFFIX:
        return TorchFile(safetensors_file.read(path), ())
    return TorchFile(_run(path), ()) if trusted else torch_file.read(path)


def _run(path: Path) -> object:
    """What is in the file, by its own code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        raise OctetError(
            f"{path}: read with 'trusted: true', it needs the module {error.name!r}, which is not installed. With "
            "'trusted: false' in the model's entry in params.yaml its weights are read without it"
        ) from None
    except (
        *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError),
        *(KeyError, AttributeError, ImportError, IndexError),
    ) as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0].rstrip("."))
        raise OctetError(f"{path}: not a PyTorch checkpoint, or damaged ({reason}); fetch it again") from None


def _opaque(path: Path, what: Opaque) -> str:
    return (
        f"{path}: the file holds more than weights: they lie in an object that {printable(what.what, 80)} makes, whose code could "
        "do anything. If you trust where the file is from, set 'trusted: true' in the model's entry in params.yaml"
    )


def _unwrapped(state: dict[str, Weights]) -> dict[str, Weights]:
    """The weights without what wrappers put before all names, and without what torch's AveragedModel counts beside them."""
    names = [key for key in state if key != _COUNT]
    prefix = next((p for p in _PREFIXES if names and all(key.startswith(p) for key in names)), None)
    return _unwrapped({key.removeprefix(prefix): state[key] for key in names}) if prefix else state


def _weights(state: object, path: Path) -> dict[str, Weights]:
    """What of it are tensors with names. Raises OctetError for a tensor that is no plain one."""
    weights: dict[str, Weights] = {}
    for key, value in state.items() if isinstance(state, dict) else ():
        if isinstance(value, UnreadTensor):
            raise OctetError(
                f"{path}: {printable(str(key))} is {printable(value.what)}; expected a plain tensor. Save the model's plain weights"
            )
        if isinstance(key, str) and isinstance(value, torch.Tensor | StoredTensor):
            weights[key] = value
    return weights


def _classes(meta: object, path: Path) -> list[str] | None:
    """The class names in a checkpoint's meta, as mmcls (CLASSES) and mmpretrain (dataset_meta.classes) write them."""
    if not isinstance(meta, dict):
        return None
    of_data = meta.get("dataset_meta")
    of_data = of_data if isinstance(of_data, dict) else {}
    places = (meta.get("CLASSES"), of_data.get("classes"), of_data.get("CLASSES"))
    names = next((names for names in places if names is not None), ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str | int | np.integer) for name in names):
        raise OctetError(f"{path}: expected the names of the classes as meta.CLASSES, found {type(names).__name__}")
    return [str(name) for name in names] or None
