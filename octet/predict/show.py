"""The answers as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from octet.core.text import shorten, table
from octet.evaluate.predictions import Prediction
from octet.predict.images import NamedImage

Answers = dict[str, Prediction]  # by the name of the engine: what the model is from, ncnn fp32, ncnn int8, others
WIDEST = 24  # columns of a class name


def text(images: Sequence[NamedImage], answers: Sequence[Answers]) -> str:
    """One block an image: the five most likely classes of each engine side by side, and where they differ."""
    blocks = []
    for image, by_engine in zip(images, answers, strict=True):
        rows = [[cell for name in by_engine for cell in (name, "")]]
        for k in range(len(next(iter(by_engine.values())).top)):
            rows.append([cell for prediction in by_engine.values() for cell in _cells(prediction, k)])
        lines = [image.name + (f", label: {image.label}" if image.label else "")]
        lines += [f"  {line}" for line in table(rows, align="lr" * len(by_engine)).splitlines()]
        lines += [f"  {note}" for note in [difference(by_engine)] if note]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def difference(answers: Answers) -> str:
    """Which engine predicts which class, where they do not all predict the same; else nothing."""
    best = {name: answers[name].top[0] for name in answers}
    if len(set(best.values())) == 1:
        return ""
    return "differ: " + ", ".join(f"{name} says {shorten(label, WIDEST)}" for name, label in best.items())


def _cells(prediction: Prediction, k: int) -> tuple[str, str]:
    """The k-th most likely class and its probability."""
    return shorten(prediction.top[k], WIDEST), f"{100 * prediction.probabilities[k]:.2f} %"
