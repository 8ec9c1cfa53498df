"""The three that are asked: torch with the checkpoint, ncnn in fp32, ncnn in int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Model
from octet.data.preprocess import Preprocess
from octet.evaluate.evaluate import top
from octet.evaluate.predictions import Prediction
from octet.export.export import classifier
from octet.ncnn.engine import Engine
from octet.predict.images import NamedImage
from octet.predict.show import NAMES


class Engines:
    """All three, on the same network input."""

    def __init__(self, folder: ModelFolder, entry: Model, steps: Preprocess, classes: list[str]):
        self.steps, self.classes = steps, classes
        network = classifier(entry.config, entry.checkpoint, entry.trusted)[2]
        self.run: dict[str, Callable[[np.ndarray], np.ndarray]] = {"torch": lambda x: _logits(network, x)}
        for precision in PRECISIONS:
            self.run[f"ncnn {precision}"] = Engine(*folder.ncnn(precision))

    def __call__(self, image: NamedImage) -> dict[str, Prediction]:
        """What each says, by its name, in the order of NAMES."""
        x, found = self.steps(image.pixels), {}
        for name in NAMES:
            order, shares = top(self.run[name](x))
            found[name] = Prediction(image.name, image.label, [self.classes[k] for k in order], shares.tolist())
        return found


def _logits(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(x[None])).numpy()[0]
