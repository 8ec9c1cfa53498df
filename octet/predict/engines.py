"""Those that are asked: the source itself (torch with the checkpoint, say), ncnn in fp32 and in int8, and other engines in int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from octet.core.engines.engine import load
from octet.core.engines.files import check_models
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Model
from octet.data.preprocess import Preprocess
from octet.evaluate.evaluate import top
from octet.evaluate.predictions import Prediction
from octet.export.sources import source_of
from octet.ncnn.engine import Engine
from octet.predict.images import NamedImage

Array = npt.NDArray[np.float32]


class Engines:
    """All of them, on the same network input.

    Args:
        folder: The model's files.
        entry: Its entry in params.yaml.
        steps: What happens to an image before the network sees it.
        classes: The names of all classes, by label, no two alike.
    """

    def __init__(self, folder: ModelFolder, entry: Model, steps: Preprocess, classes: list[str]):
        self.steps, self.classes = steps, classes
        source = source_of(entry)
        self.run: dict[str, Callable[[Array], Array]] = {source.engine: source.run()}
        for precision in PRECISIONS:
            files = folder.ncnn(precision)
            self.run[f"ncnn {precision}"] = Engine(files.param, files.bin, shape=steps.shape)
        check_models(folder, entry.onnx_engines)
        for name in entry.onnx_engines:
            self.run[f"{name} int8"] = load(name, folder.engine(name))

    def __call__(self, image: NamedImage) -> dict[str, Prediction]:
        """What each predicts, by its name, the source's own first."""
        x, predictions = self.steps(image.pixels), {}
        for name, run in self.run.items():
            order, shares = top(run(x))
            predictions[name] = Prediction(image.name, image.label, [self.classes[k] for k in order], shares.tolist())
        return predictions
