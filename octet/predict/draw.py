"""The answers beside their images as one PNG."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Collection, Sequence

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from octet.core.text import shorten, wrap
from octet.evaluate.predictions import Prediction
from octet.predict.fonts import Fonts
from octet.predict.images import NamedImage
from octet.predict.show import Answers, difference

# Of the engines, in the order of the answers.
COLOURS = "#7a7a7a", "#3b6ea8", "#c8641e", "#4d8a57", "#8a5aa0", "#a08a30"
_DIFFER = "#b00020"
# In inches: a row's height, the room above the rows, the image's column, an engine's column, and the most that class
# names may take of that.
_ROW, _ABOVE, _IMAGE, _ENGINE, _NAMES = 1.85, 0.7, 2.2, 8.8 / 3, 1.5
_CAPTION = 0.7  # inches below an image


def png(images: Sequence[NamedImage], answers: Sequence[Answers], title: str) -> bytes:
    """One row an image: the image, and for each engine a bar for each of the classes that it finds most likely.

    The same bytes from the same images and answers, on a machine with the same fonts. What no font has is written as an
    escape, and said once on standard error. What is too long for its place is wrapped or shortened.
    """
    predictions = [prediction for by_engine in answers for prediction in by_engine.values()]
    texts = [label for prediction in predictions for label in (*prediction.top, prediction.actual)]
    fonts = Fonts.of([*texts, *(image.name for image in images), title])
    if fonts.missing:
        _tell(fonts.missing)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # not that a font has no bold face
    style = {"font.family": fonts.families, "font.size": 8, "text.parse_math": False}
    with matplotlib.style.context(style):
        names = {label for prediction in predictions for label in prediction.top}
        page = _Page(len(images), max(map(len, answers)), fonts, names)
        page.drawn.text(
            0.5, 1 - 0.2 / page.high, page.fit(title, page.wide - 0.4, 11), fontsize=11, ha="center", va="center"
        )
        for k, (image, by_engine) in enumerate(zip(images, answers, strict=True)):
            page.image(k, image, bool(difference(by_engine)))
            for column, (name, prediction) in enumerate(by_engine.items()):
                axes = page.bars(k, column, prediction, COLOURS[column])
                if k == 0:
                    axes.set_title(name, fontsize=10)
        buffer = io.BytesIO()
        page.drawn.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _tell(missing: Collection[str]) -> None:
    letters = shorten("".join(sorted(missing)), 40)
    print(
        f"predict.png: no font on this machine has {letters}, so escapes stand for them; Debian's package fonts-noto-cjk has "
        "Chinese, Japanese and Korean",
        file=sys.stderr,
    )


class _Page:
    """The drawing, on which every text has its room in inches."""

    def __init__(self, rows: int, engines: int, fonts: Fonts, classes: Collection[str]):
        self.fonts, self.wide, self.high = fonts, _IMAGE + engines * _ENGINE, _ABOVE + rows * _ROW
        self.drawn = Figure(figsize=(self.wide, self.high), dpi=110, facecolor="white")
        width = self._width(8, "bold")
        self.names = min(_NAMES, 0.2 + max(width(fonts.drawable(name)) for name in classes))

    def axes(self, left: float, row: int, width: float, height: float) -> Axes:
        """Axes in a row, by inches from the page's left edge."""
        bottom = self.high - _ABOVE - row * _ROW - height
        return self.drawn.add_axes((left / self.wide, bottom / self.high, width / self.wide, height / self.high))

    def image(self, row: int, image: NamedImage, differ: bool) -> None:
        """The image, and below it its name, its label, and whether the engines differ."""
        axes = self.axes(0.1, row, _IMAGE - 0.2, _ROW - _CAPTION)
        small = max(image.pixels.shape[:2]) < 100
        axes.imshow(image.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if small else "antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        notes = [f"label: {image.label}"] * bool(image.label) + ["they differ"] * differ
        lines = self.wrap(image.name.rsplit("/", 1)[-1], 3) + self.wrap(", ".join(notes), 1)
        axes.set_xlabel("\n".join(lines), color=_DIFFER if differ else "black")

    def bars(self, row: int, column: int, prediction: Prediction, colour: str) -> Axes:
        """The most likely classes and their probabilities; the label's class is bold."""
        left, width = _IMAGE + column * _ENGINE + self.names, _ENGINE - self.names - 0.1
        axes = self.axes(left, row, width, _ROW - _CAPTION)
        places, shares = range(len(prediction.top)), [100 * share for share in prediction.probabilities]
        weights = ["bold" if prediction.actual == label else "normal" for label in prediction.top]
        axes.barh(places, shares, color=colour, height=0.7)
        axes.invert_yaxis()
        axes.set_xlim(0, 140)  # room for the number behind a full bar
        axes.set_xticks([])
        names = [
            self.fit(name, self.names - 0.15, 8, weight) for name, weight in zip(prediction.top, weights, strict=True)
        ]
        axes.set_yticks(places, names)
        for tick, weight in zip(axes.get_yticklabels(), weights, strict=True):
            tick.set_fontweight(weight)
        for place, share in zip(places, shares, strict=True):
            axes.text(share + 2, place, f"{share:.2f} %", va="center")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        return axes

    def fit(self, text: str, inches: float, size: float, weight: str = "normal") -> str:
        """The text, shortened where it is wider."""
        return shorten(self.fonts.drawable(text), inches, self._width(size, weight))

    def wrap(self, text: str, lines: int) -> list[str]:
        """The text in lines below an image."""
        return wrap(self.fonts.drawable(text), _IMAGE - 0.2, lines, self._width(8, "normal"))

    def _width(self, size: float, weight: str) -> Callable[[str], float]:
        """How wide a text is, in inches."""

        def width(text: str) -> float:
            drawn = self.drawn.text(0, 0, text, fontsize=size, fontweight=weight)
            pixels = drawn.get_window_extent().width
            drawn.remove()
            return pixels / self.drawn.dpi

        return width
