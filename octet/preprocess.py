"""What happens to a picture before the network sees it, as export derived it from the config: preprocess.json.

Calibration, evaluation and the shipped model all read this one file, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from octet.errors import OctetError
from octet.files import read_json, write_json


@dataclass(frozen=True)
class Preprocess:
    """channel_order: of the network's input, 'RGB' or 'BGR'; mean and std: grey levels in that order; size: [height,
    width] in pixels; classes: names in the order of the logits."""

    channel_order: str
    mean: list[float]
    std: list[float]
    size: list[int]
    classes: list[str]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A picture, uint8 RGB of shape (H, W, 3), as the network's input: fp32 of shape (3, H, W), contiguous.

        The same arithmetic as mmcv.imnormalize, by the same library: (x - mean) * (1 / std), constants in fp64.
        """
        if list(image.shape[:2]) != self.size:
            raise OctetError(
                f"a picture is {image.shape[1]}x{image.shape[0]} pixels, the network's input {self.size[1]}x{self.size[0]}"
            )
        x = image[..., ::-1] if self.channel_order == "BGR" else image
        x = np.ascontiguousarray(x, np.float32)
        cv2.subtract(x, np.array(self.mean, np.float64).reshape(1, -1), x)
        cv2.multiply(x, 1 / np.array(self.std, np.float64).reshape(1, -1), x)
        return np.ascontiguousarray(x.transpose(2, 0, 1))


def save(preprocess: Preprocess, path: str | Path) -> None:
    write_json(path, asdict(preprocess))


def load(path: str | Path) -> Preprocess:
    content = read_json(path, "the stage export makes it")
    try:
        return Preprocess(**content)
    except TypeError:
        fields = ", ".join(Preprocess.__dataclass_fields__)
        raise OctetError(f"{path}: expected the keys {fields}; run the stage export again") from None
