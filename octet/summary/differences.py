"""Where int8 and fp32 differ: by class, in the confusion of classes, and on which images. Part of the stage summary."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from octet.core.files import csv_text
from octet.core.folder import PRECISIONS
from octet.data.arrays import Pixels
from octet.evaluate.accuracy import by_class
from octet.evaluate.pairs import Pair, Pairs, labelled

SHOWN = 24  # images at most
_CELL, _TEXT, _COLUMNS = 128, 48, 6  # pixels; the image, and the room for two lines below it


def classes_csv(pairs: Pairs, classes: Sequence[str]) -> str:
    """Precision, recall, F1 and support of every class, of fp32 and of int8, in percent.

    Args:
        pairs: What the two predict, by the names in classes.
        classes: The names of all classes, by label.

    Returns:
        A table; of images without labels its head alone.
    """
    columns = ["model", "class", "precision_pct", "recall_pct", "f1_pct", "support"]
    if not labelled(pairs):
        return csv_text(columns, [])
    label = {name: k for k, name in enumerate(classes)}
    labels = np.array([label[fp32.actual] for fp32, _ in pairs])
    rows = []
    for precision, predictions in zip(PRECISIONS, zip(*pairs, strict=True), strict=True):
        predicted = np.array([label[row.top[0]] for row in predictions])
        for c in by_class(labels, predicted, classes):
            percents = [f"{value:.4f}" for value in (c.precision_pct, c.recall_pct, c.f1_pct)]
            rows.append([precision, c.name, *percents, c.support])
    return csv_text(columns, rows)


def confusion_csv(pairs: Pairs, classes: Sequence[str]) -> str:
    """How many images of a class each model took for which, and int8's number less fp32's; no row where both are 0.

    Arguments and result as for classes_csv.
    """
    columns = ["actual", "predicted", "fp32", "int8", "change"]
    if not labelled(pairs):
        return csv_text(columns, [])
    label = {name: k for k, name in enumerate(classes)}
    fp32, int8 = (Counter((row.actual, row.top[0]) for row in rows) for rows in zip(*pairs, strict=True))
    cells = sorted(fp32.keys() | int8.keys(), key=lambda cell: (label[cell[0]], label[cell[1]]))
    rows = [[*cell, fp32[cell], int8[cell], int8[cell] - fp32[cell]] for cell in cells]
    return csv_text(columns, rows)


def differing(pairs: Pairs) -> list[Pair]:
    """The images for which the two predict different classes.

    First those that int8 loses, then those that it wins, then the others, each in the split's order.
    """

    def rank(pair: Pair) -> int:
        fp32, int8 = pair
        return 0 if fp32.right else 1 if int8.right else 2

    return sorted((pair for pair in pairs if pair[0].top[0] != pair[1].top[0]), key=rank)


def captions(pairs: Pairs) -> list[list[str]]:
    """The lines below each image: what the two predict for it."""
    lines = []
    for fp32, int8 in pairs:
        label = [f"label {fp32.actual}"] if fp32.labelled else []
        lines.append([*label, f"fp32 {fp32.top[0]}, int8 {int8.top[0]}"])
    return lines


def sheet(images: Sequence[Pixels], lines: Sequence[Sequence[str]]) -> bytes:
    """A PNG of images with what is to be said of them.

    Args:
        images: Their pixels: uint8 RGB of shape (H, W, 3), or grey of shape (H, W).
        lines: Up to three lines below each.
    """
    rows = max(-(-len(images) // _COLUMNS), 1)
    drawn = Image.new("RGB", (_COLUMNS * (_CELL + 8) + 8, rows * (_CELL + _TEXT) + 8), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(12)
    if not images:
        pen.text((8, 8), "fp32 and int8 agree on every image.", "black", font)
    for k, (pixels, texts) in enumerate(zip(images, lines, strict=True)):
        x, y = 8 + k % _COLUMNS * (_CELL + 8), 8 + k // _COLUMNS * (_CELL + _TEXT)
        drawn.paste(thumbnail(pixels, _CELL), (x, y))
        for n, line in enumerate(_drawable(line, font) for line in texts):
            while pen.textlength(line, font) > _CELL:
                line = line.rstrip("…")[:-1] + "…"
            pen.text((x, y + _CELL + 3 + 15 * n), line, "black", font)
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    return buffer.getvalue()


def _drawable(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text with escapes for what the font, which comes with Pillow, has no more than a box for."""
    box = bytes(font.getmask("\uffff"))
    return "".join(
        letter if letter.isascii() or bytes(font.getmask(letter)) != box else ascii(letter)[1:-1] for letter in text
    )


def thumbnail(pixels: Pixels, size: int) -> Image.Image:
    """The image with its longer edge `size` pixels long, in RGB; small ones keep their pixels visible."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = size / max(image.size)
    kind = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    return image.resize([max(round(edge * scale), 1) for edge in image.size], kind)
