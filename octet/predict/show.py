"""The answers as text for the terminal, and beside their images as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from octet.evaluate.predictions import Prediction
from octet.predict.images import NamedImage

Answers = dict[str, Prediction]  # by the name of the engine
NAMES = ("torch", "ncnn fp32", "ncnn int8")
COLOURS = dict(zip(NAMES, ("#7a7a7a", "#3b6ea8", "#c8641e"), strict=True))
WIDEST = 24  # characters of a class name


def text(images: Sequence[NamedImage], answers: Sequence[Answers]) -> str:
    """One block an image: the five most likely classes of each engine side by side, and where they differ."""
    blocks = []
    for image, said in zip(images, answers, strict=True):
        wide = max(len(short(name)) for found in said.values() for name in found.top)
        lines = [image.name + (f", label: {image.label}" if image.label else "")]
        lines.append("  " + "   ".join(f"{name:<{wide + 9}}" for name in NAMES).rstrip())
        for k in range(len(said["torch"].top)):
            cells = (f"{short(said[n].top[k]):<{wide}} {100 * said[n].probabilities[k]:6.2f} %" for n in NAMES)
            lines.append("  " + "   ".join(cells))
        lines += [f"  {note}" for note in [verdict(said)] if note]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def verdict(said: Answers) -> str:
    """'' where the three agree on the class, else which of them says what."""
    best = {name: short(said[name].top[0]) for name in NAMES}
    if len(set(best.values())) == 1:
        return ""
    return "differ: " + ", ".join(f"{name} says {label}" for name, label in best.items())


def short(name: str) -> str:
    return name if len(name) <= WIDEST else name[: WIDEST - 1] + "…"


def png(images: Sequence[NamedImage], answers: Sequence[Answers], title: str) -> bytes:
    """One row an image: the image, then a bar for each of the five classes that torch finds most likely or, where
    others do, those of each engine.
    """
    figure = Figure(figsize=(11, 0.7 + 1.75 * len(images)), dpi=110, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(h_pad=0.1)
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(images), 4, squeeze=False, width_ratios=[1.1, 1.5, 1.5, 1.5])
    for row, image, said in zip(axes, images, answers, strict=True):
        _image(row[0], image, said)
        for axis, name in zip(row[1:], NAMES, strict=True):
            _bars(axis, said[name], name, first=image is images[0])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _image(axis, image: NamedImage, said: Answers) -> None:
    small = max(image.pixels.shape[:2]) < 100
    axis.imshow(image.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if small else "antialiased")
    axis.set_xticks([])
    axis.set_yticks([])
    name = image.name.rsplit("/", 1)[-1]
    notes = [f"label: {short(image.label)}"] * bool(image.label) + ["they differ"] * bool(verdict(said))
    axis.set_xlabel(f"{name if len(name) < 32 else '…' + name[-30:]}\n{', '.join(notes)}", fontsize=8)
    if verdict(said):
        axis.xaxis.label.set_color("#b00020")


def _bars(axis, found: Prediction, name: str, first: bool) -> None:
    places = range(len(found.top))
    shares = [100 * share for share in found.probabilities]
    right = [not found.actual or label == found.actual for label in found.top]
    axis.barh(places, shares, color=COLOURS[name], height=0.7)
    axis.invert_yaxis()
    axis.set_xlim(0, 125)  # room for the figure behind a full bar
    axis.set_xticks([])
    axis.set_yticks(places, [short(label) for label in found.top], fontsize=8)
    for tick, is_label in zip(axis.get_yticklabels(), right, strict=True):
        tick.set_fontweight("bold" if found.actual and is_label else "normal")
    for place, share in zip(places, shares, strict=True):
        axis.text(share + 2, place, f"{share:.2f} %", va="center", fontsize=8)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    if first:
        axis.set_title(name, fontsize=10)
