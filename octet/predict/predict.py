"""From a model's name and images to the text and the PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from octet.core.files import write_bytes
from octet.core.folder import ModelFolder
from octet.core.params import Model
from octet.core.progress import progress
from octet.data import preprocess
from octet.data.images import named_images
from octet.data.preprocess import Preprocess
from octet.evaluate.pairs import read_pairs
from octet.evaluate.predictions import distinct
from octet.predict.draw import png
from octet.predict.images import NamedImage, files, load, telling
from octet.predict.show import difference, text

COUNT = 8  # images of the split
DRAWN = 24  # at most, in the PNG


def predict(name: str, entry: Model, split: str, paths: Sequence[str], out: Path, count: int = COUNT) -> str:
    """Asks all engines on some images, and writes the PNG; returns the text.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.
        split: Which split was evaluated.
        paths: Images, or folders with images; none: a few of the split.
        out: The PNG.
        count: How many of the split.

    Raises:
        OctetError: An image cannot be read or a folder has none; before anything is computed.
    """
    folder = ModelFolder(name)
    steps = preprocess.load(folder.preprocess)
    steps.needs_classes("make predict")
    classes = distinct(steps.classes)
    images = [load(path, steps) for path in files(paths)] if paths else few(name, entry, split, steps, count)
    from octet.predict.engines import Engines  # imports torch

    engines = Engines(folder, entry, steps, classes)
    answers = [engines(image) for image in progress(images, "predict")]
    differ = sum(bool(difference(by_engine)) for by_engine in answers)
    write_bytes(out, png(images[:DRAWN], answers[:DRAWN], f"{name}: the five most likely classes"))
    first = f" (the first {DRAWN})" if len(images) > DRAWN else ""
    return (
        f"{text(images, answers)}\n\n"
        f"{name}: {len(images)} image{'s' * (len(images) > 1)}; they differ on {differ}. Drawn{first}: {out}"
    )


def few(name: str, entry: Model, split: str, steps: Preprocess, count: int) -> list[NamedImage]:
    """A few images of the split that was evaluated, among them some on which int8 and fp32 differ."""
    pairs = read_pairs(ModelFolder(name))
    rows = [pairs[row][0] for row in telling(pairs, count)]
    images = named_images(entry.data, split, steps, [row.image for row in rows])
    return [NamedImage(row.image, images.pixels(k), row.actual) for k, row in enumerate(rows)]
