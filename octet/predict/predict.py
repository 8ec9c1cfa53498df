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
from octet.evaluate.predictions import distinct
from octet.predict.images import NamedImage, files, load, telling
from octet.predict.show import png, text, verdict
from octet.summary.pairs import read_pairs

COUNT = 8  # images of the split
DRAWN = 24  # at most, in the PNG


def predict(name: str, entry: Model, split: str, paths: Sequence[str], out: Path) -> str:
    """Asks all three on the images in paths, or on a few of the split, and writes the PNG; returns the text.

    Raises OctetError for an image that cannot be read and a folder without one, before anything is computed.
    """
    folder = ModelFolder(name)
    steps = preprocess.load(folder.preprocess)
    classes = distinct(steps.classes)
    images = [load(path, steps) for path in files(paths)] if paths else few(name, entry, split, steps)
    from octet.predict.engines import Engines  # imports torch

    engines = Engines(folder, entry, steps, classes)
    answers = [engines(image) for image in progress(images, "predict")]
    differ = sum(bool(verdict(said)) for said in answers)
    write_bytes(out, png(images[:DRAWN], answers[:DRAWN], f"{name}: the five most likely classes"))
    first = f" (the first {DRAWN})" if len(images) > DRAWN else ""
    return (
        f"{text(images, answers)}\n\n"
        f"{name}: {len(images)} image{'s' * (len(images) > 1)}; the three differ on {differ}. Drawn{first}: {out}"
    )


def few(name: str, entry: Model, split: str, steps: Preprocess) -> list[NamedImage]:
    """A few images of the split that was evaluated, among them some on which int8 and fp32 differ."""
    pairs = read_pairs(ModelFolder(name))
    rows = [pairs[row][0] for row in telling(pairs, COUNT)]
    images = named_images(entry.data, split, steps, [row.image for row in rows])
    return [NamedImage(row.image, images.pixels(k), row.actual) for k, row in enumerate(rows)]
