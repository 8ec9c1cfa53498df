"""timm's networks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from octet.core.errors import OctetError
from octet.core.preprocessing import Preprocessing
from octet.export.checkpoint import Weights, as_tensor, load_weights
from octet.export.library import Published, check_name, count
from octet.export.safetensors_file import SUFFIX
from octet.export.timm_import import timm

_HUB = "https://huggingface.co"
_MISFIT = (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError)


class Timm:
    """timm as a Library. A network is an architecture ('resnet18') or that with a tag ('resnet18.a1_in1k')."""

    name: ClassVar[str] = "timm"

    def __init__(self) -> None:
        self.timm: Any = timm()

    def check(self, network: str) -> None:
        """As Library.check."""
        known = self.timm.list_models()
        if network not in known:
            check_name(self.name, network, [*known, *self.timm.list_pretrained()])

    def published(self, network: str) -> Published | None:
        """As Library.published: on the hub that timm itself takes them from, without a checksum."""
        of_hub = self._settings(network).hf_hub_id
        if not of_hub:
            return None
        return Published(
            f"{_HUB}/{of_hub}/resolve/main/model.safetensors", f"{of_hub.rpartition('/')[2]}.safetensors", ""
        )

    def preprocessing(self, network: str, checkpoint: str) -> Preprocessing:
        """As Library.preprocessing: timm's data config, by the tag in the checkpoint's name where the network has none."""
        from timm.data import resolve_data_config

        tagged = Path(checkpoint).name.removesuffix(SUFFIX)
        if tagged.partition(".")[0] == network and tagged in self.timm.list_pretrained():
            network = tagged
        config = resolve_data_config(pretrained_cfg=self._settings(network).to_dict())
        channels, height, width = config["input_size"]
        where = f"{network}: timm's data config has"
        if channels != 3:
            raise _unlike(f"{where} {channels} channels")
        values: dict[str, Any] = {"size": [height, width], "interpolation": config["interpolation"]}
        mode, share = config["crop_mode"] or "center", config["crop_pct"]
        if mode == "squash":
            values["resize"] = [int(edge / share) for edge in (height, width)]
        elif mode == "center":
            values["crop"] = share
            if height != width:  # timm/data/transforms_factory.py: ResizeKeepRatio(scale_size), which is told no filter
                values["interpolation"] = "bilinear"
        else:
            raise _unlike(f"{where} the crop_mode {mode!r} at {height} x {width} pixels")
        values |= {"channel_order": "RGB", "range": 1, "mean": list(config["mean"]), "std": list(config["std"])}
        return Preprocessing.model_validate(values)

    def unsaid(self, network: str, checkpoint: str) -> str:  # noqa: ARG002 its data config says all
        """As Library.unsaid."""
        return ""

    def classes(self, network: str, weights: Mapping[str, Weights]) -> int | None:
        """As Library.classes."""
        of_network = self._settings(network).classifier
        names = [of_network] if isinstance(of_network, str) else list(of_network or ())
        return count(weights, [f"{name}.weight" for name in names])

    def build(
        self, network: str, weights: Mapping[str, Weights], checkpoint: str, steps: Preprocessing
    ) -> torch.nn.Module:
        """As Library.build. Weights in an older form are brought into timm's own as timm does it."""
        settings = self._settings(network)
        options: dict[str, Any] = {"in_chans": 1} if steps.channel_order == "GREY" else {}
        if settings.fixed_input_size and steps.size not in (None, tuple(settings.input_size[1:])):
            options["img_size"] = steps.size
        classes = self.classes(network, weights)
        if classes is None and not settings.num_classes:
            raise OctetError(f"{network}: has no classifier in timm, and {checkpoint} none that timm knows")
        model = self.create(network, num_classes=classes or settings.num_classes, **options)
        load_weights(model, _in_its_form(model, weights, checkpoint), checkpoint, f"timm's {network}")
        return model

    def create(self, network: str, **options: Any) -> torch.nn.Module:
        """The network with random weights, of operators that ONNX has. options: timm.create_model's."""
        self.timm.layers.set_fused_attn(False)
        model: torch.nn.Module = self.timm.create_model(network, pretrained=False, exportable=True, **options)
        return model.eval()

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        """As Library.deployed."""
        from timm.utils.model import reparameterize_model

        model: torch.nn.Module = reparameterize_model(network, inplace=True)
        return model

    def _settings(self, network: str) -> Any:
        return self.timm.get_pretrained_cfg(network)


def _unlike(text: str) -> OctetError:
    return OctetError(f"{text}, which Octet cannot do. Write what happens to an image into the entry, as 'preprocess'")


def _in_its_form(model: torch.nn.Module, weights: Mapping[str, Weights], checkpoint: str) -> Mapping[str, Weights]:
    """The weights by today's names, where timm's own filter gives all of these; otherwise as they are."""
    wanted = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    translate: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if wanted <= weights.keys() <= model.state_dict().keys() or translate is None:
        return weights
    try:
        translated = translate({name: as_tensor(name, value, checkpoint) for name, value in weights.items()}, model)
    except _MISFIT:
        return weights
    return translated if isinstance(translated, dict) and wanted <= translated.keys() else weights
