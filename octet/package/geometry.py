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
        fp32: Does it compute in fp32, not in 8 bits?
    """

    backend: str
    interpolation: str
    fp32: bool

    @property
    def plain(self) -> bool:
        """Can numpy alone do what OpenCV does?"""
        return (self.backend, self.interpolation) == ("cv2", "bilinear") and not self.fp32

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
        library = "Pillow" if self.backend == "pillow" else "OpenCV"
        return f"{library}'s {self.interpolation} filter{' in fp32' if self.fp32 else ''}"


def resize(step: dict[str, Any], steps: Steps) -> Resize | None:
    """How a step of the geometry resizes; None for one that does not."""
    if "interpolation" not in step:
        return None
    return Resize(step["backend"], step["interpolation"], steps["to_float32"])


def resizes(steps: Steps) -> list[Resize]:
    """The ways to resize that the steps need, each once."""
    return list(dict.fromkeys(way for step in steps["geometry"] if (way := resize(step, steps))))


def is_grey(steps: Steps) -> bool:
    """Does the network take one channel?"""
    return bool(steps["channel_order"] == "GREY")


def needs(steps: Steps, engine: str = "ncnn") -> list[str]:
    """The packages that the Python example needs, that of the engine first."""
    ways, grey = resizes(steps), is_grey(steps)
    pillow = not grey or any(way.backend == "pillow" for way in ways)
    opencv = grey or any(way.backend == "cv2" and not way.plain for way in ways)
    return [engine, "numpy"] + ["Pillow"] * pillow + ["OpenCV (cv2)"] * opencv


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
