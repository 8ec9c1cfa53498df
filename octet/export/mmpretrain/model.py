"""mmpretrain's models as mmcls 0.25 has them: scopes, renamed options, and what mmcls lacks, by name."""

from __future__ import annotations

import inspect
from typing import Any

from octet.core.errors import OctetError
from octet.export.mmcls_package import BACKBONES, HEADS, NECKS, VisionTransformer, registered

_PARTS = {"backbone": BACKBONES, "neck": NECKS, "head": HEADS}
_ONLY_TRAINING = ("init_cfg", "loss", "topk", "cal_acc", "frozen_stages", "pretrained")
_SEE = "export it by mmpretrain as ONNX, and give ONNX=file"


def model_of(model: dict[str, Any], name: str) -> dict[str, Any]:
    """The config's model as mmcls 0.25 has it, without what only training needs.

    Args:
        model: mmpretrain's, of types without scopes.
        name: The config's file, for errors.

    Raises:
        OctetError: It is no ImageClassifier, or mmcls has not such a network or option.
    """
    kind = model.get("type")
    if kind != "ImageClassifier":
        raise OctetError(
            f"{name}: model.type is {kind!r}; Octet takes mmpretrain's ImageClassifier. Of another one, {_SEE}"
        )
    parts: dict[str, Any] = {"type": kind}
    for part, registry in _PARTS.items():
        settings = model.get(part)
        if settings is not None:
            several = isinstance(settings, list | tuple)
            done = [_part(one, registry, f"{name}: model.{part}") for one in (settings if several else [settings])]
            parts[part] = done if several else done[0]
    head = parts.get("head", {})
    if head.get("type") == "LinearClsHead" and issubclass(BACKBONES.get(parts["backbone"]["type"]), VisionTransformer):
        head["type"] = "VisionTransformerClsHead"  # mmcls's ViT gives patches and token; this head takes the token
    return parts


def _part(settings: Any, registry: Any, where: str) -> dict[str, Any]:
    kind = settings.get("type") if isinstance(settings, dict) else None
    network = registered(registry, kind)
    if network is None:
        raise OctetError(f"{where}: mmcls 0.25, which Octet builds networks with, has no {kind!r}; {_SEE}")
    options = {key: value for key, value in settings.items() if key not in _ONLY_TRAINING}
    if options.get("out_type") == "cls_token" and issubclass(network, VisionTransformer):
        del options["out_type"]  # what mmcls's gives
    sizes = getattr(network, "arch_settings", None) or getattr(network, "arch_zoo", None)
    arch = options.get("arch")
    if isinstance(arch, str) and isinstance(sizes, dict) and not {arch, arch.lower()} & sizes.keys():
        raise OctetError(
            f"{where}: mmcls 0.25's {kind} has no arch {arch!r}; it has {', '.join(sizes)}. Of this one, {_SEE}"
        )
    known = _options(network)
    unknown = [key for key in options if key != "type" and key not in known]
    if unknown:
        raise OctetError(f"{where}: mmcls 0.25's {kind} has no option {unknown[0]!r}; take it away, or {_SEE}")
    return options


def _options(network: type) -> set[str]:
    """The names of what a class can be made with, those that it hands on to the class it inherits from included."""
    names: set[str] = set()
    for kind in network.__mro__:
        if "__init__" not in vars(kind) or kind is object:
            continue
        parameters = inspect.signature(kind).parameters.values()
        names |= {parameter.name for parameter in parameters}
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names
