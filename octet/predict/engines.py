"""The three that are asked: torch with the checkpoint, ncnn in fp32, ncnn in int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Model
from octet.data.preprocess import Preprocess
from octet.evaluate.evaluate import top
from octet.evaluate.predictions import Prediction
from octet.export.export import classifier
from octet.ncnn.engine import Engine
from octet.predict.images import NamedImage
from octet.predict.show import ENGINES

Array = npt.NDArray[np.float32]


class Engines:
    """All three, on the same network input.

    Args:
        folder: The model's files.
        entry: Its entry in params.yaml.
        steps: What happens to an image before the network sees it.
        classes: The names of all classes, by label, no two alike.
    """

    def __init__(self, folder: ModelFolder, entry: Model, steps: Preprocess, classes: list[str]):
        self.steps, self.classes = steps, classes
        network = classifier(entry.config, entry.checkpoint, entry.trusted)[2]
        self.run: dict[str, Callable[[Array], Array]] = {"torch": lambda x: _logits(network, x)}
        for precision in PRECISIONS:
            files = folder.ncnn(precision)
            self.run[f"ncnn {precision}"] = Engine(files.param, files.bin, shape=steps.shape)

    def __call__(self, image: NamedImage) -> dict[str, Prediction]:
        """What each predicts, by its name, in the order of ENGINES."""
        x, predictions = self.steps(image.pixels), {}
        for name in ENGINES:
            order, shares = top(self.run[name](x))
            predictions[name] = Prediction(image.name, image.label, [self.classes[k] for k in order], shares.tolist())
        return predictions


def _logits(network: torch.nn.Module, x: Array) -> Array:
    with torch.no_grad():
        logits: Array = network(torch.from_numpy(x[None])).numpy()[0]
    return logits
