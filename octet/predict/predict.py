"""From a model's name and pictures to the text and the PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from octet import preprocess
from octet.data.dataset import indices_of, open_split
from octet.evaluate import distinct
from octet.files import write_bytes
from octet.params import Model
from octet.predict.pictures import Picture, files, load, telling
from octet.predict.show import png, text, verdict
from octet.preprocess import Preprocess
from octet.progress import progress
from octet.summary import read_pairs

COUNT = 8  # pictures of the split
DRAWN = 24  # at most, in the PNG


def predict(name: str, entry: Model, split: str, paths: Sequence[str], out: Path) -> str:
    """Asks all three on the pictures in paths, or on a few of the split, and writes the PNG; returns the text.

    Raises OctetError for a picture that cannot be read and a folder without one, before anything is computed.
    """
    models = Path("models") / name
    steps = preprocess.load(models / "preprocess.json")
    classes = distinct(steps.classes)
    pictures = [load(path, steps) for path in files(paths)] if paths else few(name, entry, split, steps)
    from octet.predict.engines import Engines  # imports torch

    engines = Engines(models, entry, steps, classes)
    answers = [engines(picture) for picture in progress(pictures, "predict")]
    differ = sum(bool(verdict(said)) for said in answers)
    write_bytes(out, png(pictures[:DRAWN], answers[:DRAWN], f"{name}: the five most likely classes"))
    first = f" (the first {DRAWN})" if len(pictures) > DRAWN else ""
    return (
        f"{text(pictures, answers)}\n\n"
        f"{name}: {len(pictures)} picture{'s' * (len(pictures) > 1)}; the three differ on {differ}. Drawn{first}: {out}"
    )


def few(name: str, entry: Model, split: str, steps: Preprocess) -> list[Picture]:
    """A few pictures of the split that was evaluated, among them some on which int8 and fp32 differ."""
    pairs = read_pairs(Path("metrics") / name)
    data = open_split(entry.data, split, steps.classes, steps.color_type)
    rows = [pairs[row][0] for row in telling(pairs, COUNT)]
    places = indices_of(data, [row.picture for row in rows])
    return [Picture(row.picture, data.image(k), row.actual) for row, k in zip(rows, places, strict=True)]
