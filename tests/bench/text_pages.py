"""Pages with lines of text, as images without labels: `python -m tests.bench.text_pages data/pages`.

They are for the text detector in PyPI's `rapidocr`, which gives a map and no classes; docs/own-models.md has the figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bench.text_direction import fonts, line

SPLITS = {"train": 64, "test": 200}
EDGE = 640


def page(random: np.random.Generator, files: list[str]) -> Image.Image:
    """A page of one colour with three to twelve lines of text on it, wherever they fall."""
    sheet = Image.new("RGB", (EDGE, EDGE), tuple(map(int, random.integers(0, 256, 3))))
    for _ in range(random.integers(3, 13)):
        text = line(random, files)
        sheet.paste(text, tuple(int(random.uniform(-40, EDGE - 100)) for _ in range(2)))
    return sheet


def main() -> None:
    """Writes train and test, the same on machines with the same fonts and versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where train and test go")
    folder, files = parser.parse_args().folder, fonts()
    for number, (split, count) in enumerate(SPLITS.items()):
        random = np.random.Generator(np.random.PCG64(number))
        (folder / split).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            page(random, files).save(folder / split / f"{k:03}.png")
    print(f"{folder}: {sum(SPLITS.values())} pages in {len(files)} fonts")


if __name__ == "__main__":
    main()
