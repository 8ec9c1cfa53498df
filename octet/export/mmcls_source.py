"""An mmcls config and a checkpoint as the source of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from octet.core.errors import OctetError
from octet.core.params import Model
from octet.data.class_names import check_names
from octet.data.preprocess import Preprocess
from octet.export import checkpoint as checkpoints
from octet.export.heads import check_head
from octet.export.mmcls_model import Config, build, read_config
from octet.export.mmcls_pipeline import derive
from octet.export.mmpretrain.weights import as_mmcls_names
from octet.export.onnx_model import LogitsModel, to_onnx
from octet.export.own_modules import user_code
from octet.export.reads import absolute, check_tracked, recorded, texts
from octet.export.source import Array, Exported


def classifier(config: str, checkpoint: str, trusted: bool) -> tuple[Config, list[str] | None, torch.nn.Module]:
    """The config, the checkpoint's class names or None, and the network, from its input to the logits, in evaluation mode.

    Args:
        config: A file, or a name in mmcls's zoo.
        checkpoint: The file of the weights.
        trusted: May reading the checkpoint run code?

    Raises:
        OctetError: One of them cannot be read, or they do not fit.
    """
    settings = read_config(config)
    model = build(settings, config)
    check_head(model, config)
    content = checkpoints.read(checkpoint, trusted)
    with user_code(f"{config}: the model takes no weights"):
        checkpoints.load_weights(model, as_mmcls_names(content.weights, model.state_dict()), checkpoint)
    return settings, content.classes, LogitsModel(model).eval()


@dataclass(frozen=True)
class MmclsSource:
    """A config and a checkpoint.

    Args:
        config: A file, or a name in mmcls's zoo.
        checkpoint: The file of the weights.
        trusted: May reading the checkpoint run code?
    """

    engine: ClassVar[str] = "torch"
    config: str
    checkpoint: str
    trusted: bool

    @classmethod
    def of(cls, entry: Model) -> MmclsSource:
        """The one of an entry in params.yaml, which has a config."""
        return cls(str(entry.config), entry.checkpoint, entry.trusted)

    def look(self) -> Preprocess:
        """As Source.look: where the class names stand in the checkpoint, numbers stand for them."""
        settings = read_config(self.config)
        steps = derive(settings, self.config)
        head = settings.model.get("head")
        count = head.get("num_classes") if isinstance(head, dict) else None
        if not isinstance(count, int):  # export says what is wrong, if it is
            count = len(steps.classes)
        return steps if len(steps.classes) == count else replace(steps, classes=[str(k) for k in range(count)])

    def export(self, opset: int) -> Exported:
        """As Source.export."""
        with recorded() as reads:
            settings, classes, network = classifier(self.config, self.checkpoint, self.trusted)
            steps = derive(settings, self.config, classes)
        check_tracked(reads - {absolute(self.checkpoint)}, self.config, texts(settings._cfg_dict.to_dict()))
        images = [steps(image) for image in steps.noise(8)]
        reference = np.concatenate(
            [_logits(network, x, self.config) for x in images]
        )  # before to_onnx changes its form
        if not steps.classes:
            steps = replace(steps, classes=[str(k) for k in range(reference.shape[1])])
        if reference.shape[1] != len(steps.classes):
            place = self.checkpoint if classes else self.config
            named = "meta.CLASSES in the checkpoint" if classes else "data.test.classes of the config"
            raise OctetError(
                f"{place}: {len(steps.classes)} class names, but the model of {self.config} has {reference.shape[1]} outputs; "
                f"set {named} to the names of the classes that it was trained on"
            )
        check_names(steps.classes, self.checkpoint if classes else self.config)
        with user_code(f"{self.config}: torch cannot write the model as ONNX of opset {opset}"):
            data = to_onnx(network, images[0].shape, opset, self.config)
        return Exported(data, steps, images, reference, self.config)

    def run(self) -> Callable[[Array], Array]:
        """As Source.run."""
        network = classifier(self.config, self.checkpoint, self.trusted)[2]
        return lambda x: _logits(network, x, self.config)[0]


def _logits(network: torch.nn.Module, x: Array, where: str) -> Array:
    """The network's logits of one image, of shape (1, classes). Raises OctetError where its code fails."""
    what = f"{where}: the network cannot compute an image of {x.shape[1]} x {x.shape[2]} pixels"
    with user_code(what), torch.no_grad():
        logits: Array = network(torch.from_numpy(x[None])).numpy()
    if logits.ndim != 2:
        raise OctetError(
            f"{where}: gives values of shape {logits.shape[1:]} for an image; expected one score for each class"
        )
    return logits
