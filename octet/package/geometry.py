"""What happens to an image's size before the network sees it: the functions that the examples need, and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Steps = dict[str, Any]  # what preprocess.json holds
_FLAGS = {"nearest": "NEAREST", "bilinear": "LINEAR", "bicubic": "CUBIC", "area": "AREA", "lanczos": "LANCZOS4"}


@dataclass(frozen=True)
class Resize:
    """A way to resize.

    Args:
        backend: 'cv2' or 'pillow'.
        interpolation: The filter, as mmcls calls it.
        plain: Can numpy alone do what OpenCV does?
    """

    backend: str
    interpolation: str
    plain: bool

    @property
    def name(self) -> str:
        """The function's name in the examples."""
        return f"resize_{self.backend}_{self.interpolation}"

    @property
    def flag(self) -> str:
        """OpenCV's name for the filter."""
        return f"INTER_{_FLAGS[self.interpolation]}"

    @property
    def words(self) -> str:
        """In words."""
        return f"{'Pillow' if self.backend == 'pillow' else 'OpenCV'}'s {self.interpolation} filter"


def resize(step: dict[str, Any], steps: Steps) -> Resize | None:
    """How a step of the geometry resizes; None for one that does not."""
    if "interpolation" not in step:
        return None
    backend, interpolation = step["backend"], step["interpolation"]
    return Resize(backend, interpolation, (backend, interpolation) == ("cv2", "bilinear") and not steps["to_float32"])


def resizes(steps: Steps) -> list[Resize]:
    """The ways to resize that the steps need, each once."""
    return list(dict.fromkeys(way for step in steps["geometry"] if (way := resize(step, steps))))


def is_grey(steps: Steps) -> bool:
    """Does the network take one channel?"""
    return bool(steps["channel_order"] == "GREY")


def needs(steps: Steps, engine: str = "ncnn") -> list[str]:
    """The packages that the Python example needs, that of the engine first."""
    without_cv2 = all(way.plain or way.backend == "pillow" for way in resizes(steps))
    return [engine, "numpy", "Pillow"] + ([] if without_cv2 else ["OpenCV (cv2)"])


def sentence(step: dict[str, Any], steps: Steps) -> str:
    """A step of the geometry in words.

    >>> sentence({"step": "CenterCrop", "height": 32, "width": 32}, {"to_float32": False})
    'Cut to the middle 32 x 32 pixels.'
    """
    way = resize(step, steps)
    if way is None:
        return f"Cut to the middle {step['height']} x {step['width']} pixels."
    if step["step"] == "CropAndResize":
        share = f"{step['size']} / {step['size'] + step['padding']} of its short edge"
        return f"The middle square of {share}, resized to {step['size']} x {step['size']} pixels by {way.words}."
    if step["edge"] == "cover":
        size = f"{step['height']} x {step['width']} pixels (height, width)"
        return f"Resized to the least size of the image's own ratio that covers {size}, by {way.words}."
    if step["edge"]:
        edge = f"{step['edge']} edge" if step["edge"] in ("short", "long") else step["edge"]
        return f"Resized so that the {edge} has {step['height']} pixels, by {way.words}."
    return f"Resized to {step['height']} x {step['width']} pixels (height, width) by {way.words}."
