"""Lines of text and their upside-down twins in many fonts, as class folders: `python -m tests.bench.text_direction data/lines`.

It is the task of the text-direction classifier in PyPI's `rapidocr`; docs/own-models.md has the figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.font_manager
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SPLITS = {"train": 256, "test": 2_000}  # lines; each is drawn once and turned once
HEIGHT, WIDTH = 48, 192
NO_LETTERS = ("cmex", "cmsy", "cmmi", "STIXSiz", "STIXNonUni", "Display", "symbol", "cursor")
LETTERS = "eeeeaaaiiiooouutttnnnrrrssslllddhhhcmmpgfyvbwkxqzj"


def fonts() -> list[str]:
    """The files of this machine's fonts that have letters, matplotlib's own among them."""
    files = {
        entry.fname for entry in matplotlib.font_manager.fontManager.ttflist if entry.fname.lower().endswith(".ttf")
    }
    return sorted(file for file in files if not any(part in Path(file).name for part in NO_LETTERS))


def words(random: np.random.Generator) -> str:
    """A few words and numbers of random letters."""
    kinds = random.choice(["word", "Word", "WORD", "number"], size=random.integers(1, 4), p=[0.45, 0.25, 0.15, 0.15])
    texts = []
    for kind in kinds:
        letters = "0123456789.-" if kind == "number" else LETTERS
        text = "".join(random.choice(list(letters), size=random.integers(3, 9)))
        texts.append(text.title() if kind == "Word" else text.upper() if kind == "WORD" else text)
    return " ".join(texts)


def line(random: np.random.Generator, files: list[str]) -> Image.Image:
    """One line of text in one font, in two colours, a little turned, blurred and noisy; height to width 1 to 4."""
    scale = random.uniform(0.5, 2.0)
    width, height = round(WIDTH * scale), round(HEIGHT * scale)
    back = random.integers(0, 256, 3)
    ink = np.where(back.mean() > 127, random.integers(0, 60, 3), random.integers(195, 256, 3))
    image = Image.new("RGB", (width, height), tuple(map(int, back)))
    text, font = words(random), ImageFont.truetype(str(random.choice(files)), round(height * random.uniform(0.4, 0.75)))
    left, top, right, bottom = font.getbbox(text)
    x = random.uniform(0, max(1, width - (right - left))) - left
    y = (height - (bottom - top)) / 2 - top + random.uniform(-0.08, 0.08) * height
    ImageDraw.Draw(image).text((x, y), text, tuple(map(int, ink)), font)
    image = image.rotate(random.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=tuple(map(int, back)))
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.6) * scale))
    pixels: npt.NDArray[np.float64] = np.asarray(image) + random.normal(0, random.uniform(0, 20), (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def main() -> None:
    """Writes train/0, train/180, test/0 and test/180, the same on machines with the same fonts and versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the class folders go")
    folder, files = parser.parse_args().folder, fonts()
    for number, (split, count) in enumerate(SPLITS.items()):
        random = np.random.Generator(np.random.PCG64(number))
        for turn in ("0", "180"):
            (folder / split / turn).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            image = line(random, files)
            image.save(folder / split / "0" / f"{k:04}.png")
            image.rotate(180).save(folder / split / "180" / f"{k:04}.png")
    print(f"{folder}: {2 * sum(SPLITS.values()):,} images in {len(files)} fonts")


if __name__ == "__main__":
    main()
