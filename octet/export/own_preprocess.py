"""From what an entry says happens to an image, where no config does, to a Preprocess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from octet.core.outputs import Output
from octet.core.preprocessing import Preprocessing
from octet.data.config_split import UNTOLD
from octet.data.geometry import CenterCrop, Resize, Step
from octet.data.preprocess import Preprocess


def own_preprocess(
    given: Preprocessing,
    size: tuple[int, int],
    classes: Sequence[str],
    outputs: Sequence[Output] = (),
    timm: bool = False,
) -> Preprocess:
    """The Preprocess of an entry.

    >>> from octet.core.preprocessing import PRESETS
    >>> own_preprocess(Preprocessing.model_validate(PRESETS["imagenet"]), (224, 224), ["cat", "dog"]).geometry[0]
    Resize(height=256, width=256, edge='short', interpolation='bilinear', backend='pillow')

    Args:
        given: What the entry says.
        size: (height, width) of the network's input.
        classes: The class names.
        outputs: What the network gives where it has no classes.
        timm: Is the network timm's?
    """
    split = replace(UNTOLD, by_name=bool(given.classes), timm=timm)
    grey = given.channel_order == "GREY"
    mean, std = (
        [_shortest(value * (255 if given.range == 1 else 1)) for value in of] for of in (given.mean, given.std)
    )
    return Preprocess(
        given.channel_order,
        mean,
        std,
        list(size),
        list(classes),
        "grayscale" if grey else "color",
        _geometry(given, size),
        splits={} if split == UNTOLD else {"train": split, "test": split},
        outputs=list(outputs),
    )


def _geometry(given: Preprocessing, size: tuple[int, int]) -> list[Step]:
    """Resizing, and cropping where it leaves more than the input's size, or might."""
    filters = given.interpolation, given.backend
    if given.crop is not None:
        edges = [int(edge / given.crop) for edge in size]
        resize = (
            Resize(edges[0], edges[0], "short", *filters)
            if size[0] == size[1]
            else Resize(edges[0], edges[1], "cover", *filters)
        )
    elif isinstance(given.resize, int):
        resize = Resize(given.resize, given.resize, "short", *filters)
    else:
        height, width = given.resize or size
        resize = Resize(height, width, None, *filters)
    if resize.edge is None and (resize.height, resize.width) == size:
        return [resize]
    return [resize, CenterCrop(*size)]


def _shortest(value: float) -> float:
    """Without the digits that multiplying by 255 adds: 123.675, not 123.67499999999998."""
    return float(f"{value:.12g}")
