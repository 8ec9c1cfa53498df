"""A library of networks by name, timm or torchvision, and what the source of a model needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from octet.core.errors import OctetError, nearest
from octet.core.preprocessing import Preprocessing
from octet.export.checkpoint import Weights

EXTRA = ("timm", "torchvision")  # the libraries, which are also the keys of an entry in params.yaml


@dataclass(frozen=True)
class Published:
    """Weights that a library publishes.

    Args:
        url: Their address.
        file: The name of the file.
        sha256: The checksum's first digits; empty: not published.
    """

    url: str
    file: str
    sha256: str


class Library(Protocol):
    """A library of networks."""

    name: ClassVar[str]

    def check(self, network: str) -> None:
        """Checks that the library has a network.

        Raises:
            OctetError: There is none of that name, with the nearest one.
        """

    def published(self, network: str) -> Published | None:
        """The weights that are published for a network; None: there are none."""

    def preprocessing(self, network: str, checkpoint: str) -> Preprocessing:
        """What happens to an image before a network, by the library itself.

        Args:
            network: Its name.
            checkpoint: The file of its weights, which may be one that is published.

        Raises:
            OctetError: Octet cannot do that.
        """

    def unsaid(self, network: str, checkpoint: str) -> str:
        """What of an image's way neither the library nor the weights tell, so that the entry has to; '': nothing.

        Args:
            network: Its name.
            checkpoint: The file of its weights.
        """

    def classes(self, network: str, weights: Mapping[str, Weights]) -> int | None:
        """How many classes a network of these weights has; None: they lack its classifier."""

    def build(
        self, network: str, weights: Mapping[str, Weights], checkpoint: str, steps: Preprocessing
    ) -> torch.nn.Module:
        """A network with its weights, in evaluation mode: from images of shape (n, C, H, W) to logits.

        Args:
            network: Its name.
            weights: As in the checkpoint.
            checkpoint: The file of the weights.
            steps: What happens to an image.

        Raises:
            OctetError: The weights are another network's.
        """

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        """The same in its form for inference; the network itself may be changed."""


def check_name(name: str, network: str, known: list[str]) -> None:
    """Raises OctetError where a library has no network of that name. name: the library's."""
    if network not in known:
        raise OctetError(f"{network}: no such network in {name}. {nearest(network, known)}")


def count(weights: Mapping[str, Weights], names: list[str]) -> int | None:
    """The first axis of the first of these weights that is there."""
    return next((int(weights[name].shape[0]) for name in names if name in weights and weights[name].shape), None)
