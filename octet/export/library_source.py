"""A network of timm's or torchvision's, by its name, with weights in a file, as the source of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from octet.core.errors import OctetError
from octet.core.params import Model
from octet.core.preprocessing import Preprocessing
from octet.data.class_names import check_names
from octet.data.preprocess import Preprocess
from octet.export import checkpoint as checkpoints
from octet.export.checkpoint import Checkpoint
from octet.export.libraries import library
from octet.export.library import EXTRA
from octet.export.onnx_model import to_onnx
from octet.export.own_preprocess import own_preprocess
from octet.export.source import Array, Exported


@dataclass(frozen=True)
class LibrarySource:
    """A network by name, and a checkpoint.

    Args:
        library: Of which library it is, one of EXTRA.
        network: Its name there.
        checkpoint: The file of the weights.
        trusted: May reading the checkpoint run code?
        given: What happens to an image; None: what the library says.
    """

    engine: ClassVar[str] = "torch"
    library: str
    network: str
    checkpoint: str
    trusted: bool
    given: Preprocessing | None

    @classmethod
    def of(cls, entry: Model) -> LibrarySource:
        """The one of an entry in params.yaml, which has 'timm' or 'torchvision'."""
        name = next(name for name in EXTRA if getattr(entry, name) is not None)
        return cls(name, getattr(entry, name), entry.checkpoint, entry.trusted, entry.preprocess)

    def preprocessing(self) -> Preprocessing:
        """What happens to an image: as it was given, or by the library.

        Raises:
            OctetError: The library has no such network, does not say all, or says what Octet cannot do.
        """
        known = library(self.library)
        known.check(self.network)
        if self.given is None and (unsaid := known.unsaid(self.network, self.checkpoint)):
            raise OctetError(f"{self.checkpoint}: {unsaid}")
        return self.given or known.preprocessing(self.network, self.checkpoint)

    def classes(self) -> int | None:
        """How many classes the checkpoint's classifier has; None: it has none that the library knows.

        Raises:
            OctetError: The checkpoint cannot be read.
        """
        return library(self.library).classes(self.network, self._read().weights)

    def look(self) -> Preprocess:
        """As Source.look."""
        steps, classes = self.preprocessing(), self.classes()
        return self._steps(steps, len(steps.classes or ()) if classes is None else classes)

    def export(self, opset: int) -> Exported:
        """As Source.export."""
        network = self._network()
        given = self.preprocessing()
        shape = (1, 1 if given.channel_order == "GREY" else 3, *self._size(given))
        steps = self._steps(given, _logits(network, np.zeros(shape, np.float32)[0], self.network).shape[1])
        images = [steps(image) for image in steps.noise(8)]
        reference = np.concatenate([_logits(network, x, self.network) for x in images])
        data = to_onnx(library(self.library).deployed(network), images[0].shape, opset, self.network)
        return Exported(data, steps, images, reference, f"{self.library}: {self.network}")

    def run(self) -> Callable[[Array], Array]:
        """As Source.run."""
        network = self._network()
        return lambda x: _logits(network, x, self.network)[0]

    def _network(self) -> torch.nn.Module:
        steps, known = self.preprocessing(), library(self.library)
        return known.build(self.network, self._read().weights, self.checkpoint, steps)

    def _read(self) -> Checkpoint:
        return checkpoints.read(self.checkpoint, self.trusted, averages=True)

    def _size(self, given: Preprocessing) -> tuple[int, int]:
        size = given.size or library(self.library).preprocessing(self.network, self.checkpoint).size
        if size is None:
            raise OctetError(f"{self.network}: lacks 'size' in 'preprocess', [height, width] of the network's input")
        return size

    def _steps(self, given: Preprocessing, classes: int) -> Preprocess:
        names = list(given.classes or map(str, range(classes)))
        if len(names) != classes:
            raise OctetError(
                f"{self.checkpoint}: {len(names)} class names in 'preprocess', but the model has {classes} outputs"
            )
        check_names(names, "preprocess")
        steps = own_preprocess(given, self._size(given), names, timm=self.library == "timm")
        return replace(steps, color_type=f"{steps.color_type}_ignore_orientation")  # as the library loads an image


def _logits(network: torch.nn.Module, x: Array, where: str) -> Array:
    """The network's logits of one image, of shape (1, classes).

    Raises:
        OctetError: It gives something else, or does not take images of that size.
    """
    try:
        with torch.no_grad():
            logits: object = network(torch.from_numpy(x[None]))
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OctetError(
            f"{where}: does not take images of {x.shape[1]} x {x.shape[2]} pixels ({reason}); change 'size' in 'preprocess'"
        ) from None
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
        raise OctetError(f"{where}: gives no class scores; expected a classifier with one score for each class")
    scores: Array = logits.numpy()
    return scores
