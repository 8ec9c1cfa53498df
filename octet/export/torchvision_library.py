"""torchvision's classifiers."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from octet.core import yaml
from octet.core.preprocessing import PRESETS, Preprocessing
from octet.export.checkpoint import Weights, load_weights
from octet.export.library import Published, check_name, count
from octet.export.timm_import import torchvision

_IMAGENET_CLASSES = 1000
_WITH_AUXILIARIES = ("googlenet", "inception_v3")  # classifiers beside the last one, for training alone
_HALF = (0.5,) * 3  # mean and std that give what transform_input makes of ImageNet's: from -1 to 1
_AUXILIARY = re.compile(r"aux\d|AuxLogits")


class Torchvision:
    """torchvision as a Library."""

    name: ClassVar[str] = "torchvision"

    def __init__(self) -> None:
        torchvision()
        from torchvision import models

        self.models: Any = models

    def check(self, network: str) -> None:
        """As Library.check."""
        check_name(self.name, network, self.models.list_models(module=self.models))

    def published(self, network: str) -> Published | None:
        """As Library.published: those that torchvision takes by default."""
        best = self.models.get_model_weights(network).DEFAULT
        file = best.url.rpartition("/")[2]
        digits = re.search(r"-([0-9a-f]{8})\.pth$", file)
        return Published(best.url, file, digits[1] if digits else "")

    def preprocessing(self, network: str, checkpoint: str) -> Preprocessing:
        """As Library.preprocessing: that of the published weights of that file's name, or of those by default."""
        steps = (self._of_file(network, checkpoint) or self.models.get_model_weights(network).DEFAULT).transforms()
        values: dict[str, Any] = {
            "size": [steps.crop_size[0]] * 2,
            "resize": steps.resize_size[0],
            "interpolation": steps.interpolation.value,
            "channel_order": "RGB",
            "range": 1,
            "mean": list(steps.mean),
            "std": list(steps.std),
        }
        return Preprocessing.model_validate(values)

    def unsaid(self, network: str, checkpoint: str) -> str:
        """As Library.unsaid: of weights of the user's own, whether the network changes its input (transform_input)."""
        if not self._may_transform(network, checkpoint):
            return ""
        steps = self.preprocessing(network, checkpoint)
        half = steps.model_copy(update={"mean": _HALF, "std": _HALF}).model_dump(mode="json", exclude_defaults=True)
        return (
            f"is none of the files that torchvision publishes for {network}, and weights do not tell whether the network "
            "changes its input (transform_input). Write what happens to an image into a YAML file, and name it as "
            "PREPROCESS=file ('preprocess' in the model's entry). Of a network made with weights=…, as for fine-tuning, and "
            f"trained on images with ImageNet's mean and std:\n{textwrap.indent(yaml.dumps(half), '  ')}"
            f"Of one made without weights=…, where transform_input is False: the same with mean {list(steps.mean)} and std "
            f"{list(steps.std)}"
        )

    def classes(self, network: str, weights: Mapping[str, Weights]) -> int | None:
        """As Library.classes."""
        with torch.device("meta"):
            model = self.create(network)
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        names = [name for name, shape in shapes.items() if len(shape) > 1 and shape[0] == _IMAGENET_CLASSES]
        return count(weights, names[-1:])

    def build(
        self, network: str, weights: Mapping[str, Weights], checkpoint: str, steps: Preprocessing
    ) -> torch.nn.Module:
        """As Library.build. Of weights of the user's own, what happens to an image is all in the steps."""
        options: dict[str, Any] = {"image_size": steps.size[0]} if network.startswith("vit_") and steps.size else {}
        classes = self.classes(network, weights) or _IMAGENET_CLASSES
        model: Any = self.create(network, num_classes=classes, **options)
        if network in _WITH_AUXILIARIES:
            weights = {name: value for name, value in weights.items() if not _AUXILIARY.match(name)}
            model.transform_input = not self._may_transform(network, checkpoint)
            if not model.transform_input and _has_mean_of_imagenet(steps):
                print(
                    f"note: {checkpoint}: {network} is taken as one whose transform_input is False, since 'preprocess' has "
                    "ImageNet's mean. If it was made with weights=…, as fine-tuning has it, write mean 0.5 and std 0.5 (of values "
                    "from 0 to 1) there: docs/own-models.md",
                    file=sys.stderr,
                )
        load_weights(model, weights, checkpoint, f"torchvision's {network}")
        network_: torch.nn.Module = model
        return network_

    def create(self, network: str, **options: Any) -> torch.nn.Module:
        """The network with random weights. options: torchvision.models.get_model's."""
        if network in _WITH_AUXILIARIES:
            options |= {"aux_logits": False, "init_weights": False}
        model: torch.nn.Module = self.models.get_model(network, weights=None, **options)
        return model.eval()

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        """As Library.deployed: it has one form alone."""
        return network

    def _may_transform(self, network: str, checkpoint: str) -> bool:
        """May the network change its input, for all that is known? Of those that can, published weights say that it does."""
        return network in _WITH_AUXILIARIES and self._of_file(network, checkpoint) is None

    def _of_file(self, network: str, checkpoint: str) -> Any:
        """Which published weights have a file of that name; None: none."""
        name = Path(checkpoint).name
        return next((w for w in self.models.get_model_weights(network) if w.url.rpartition("/")[2] == name), None)


def _has_mean_of_imagenet(steps: Preprocessing) -> bool:
    """Is ImageNet's mean subtracted from an image?"""
    white = 255 if steps.range == 1 else 1
    return [round(value * white, 2) for value in steps.mean] == [round(v, 2) for v in PRESETS["imagenet"]["mean"]]
