"""What a model predicted for every image: the file that evaluate writes, and its reader."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import csv_text, read_bytes

COLUMNS = ["image", "actual", "predicted", "probability", "top5", "top5_probability"]
_SEPARATOR = " | "
_ESCAPED = re.compile(r"\\([|\\])")


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image.

    Args:
        image: Its name in the data set.
        actual: The name of its label's class; empty where it has no label.
        top: The five most likely classes, best first; fewer where there are fewer.
        probabilities: Theirs.
    """

    image: str
    actual: str
    top: list[str]
    probabilities: list[float]

    @property
    def labelled(self) -> bool:
        """Is its label known?"""
        return self.actual != ""

    @property
    def right(self) -> bool:
        """Is the most likely class the label?"""
        return self.top[0] == self.actual


def distinct(classes: Sequence[str]) -> list[str]:
    """The class names as the files show them, no two alike: those of one name (ImageNet has two cranes) get a number.

    >>> distinct(["crane", "owl", "crane"])
    ['crane (0)', 'owl', 'crane (2)']
    """
    times = Counter(classes)
    told_apart = [f"{name} ({k})" if times[name] > 1 else name for k, name in enumerate(classes)]
    if len(set(told_apart)) < len(classes):  # one is called « crane (0) » itself
        return [f"{name} ({k})" for k, name in enumerate(classes)]
    return told_apart


def predictions_csv(predictions: Iterable[Prediction]) -> str:
    """One line an image: actual and predicted class, its probability, and the same for the five most likely.

    >>> print(predictions_csv([Prediction("1.png", "cat", ["dog", "cat"], [0.75, 0.25])]), end="")
    image,actual,predicted,probability,top5,top5_probability
    1.png,cat,dog,0.750000,dog | cat,0.750000 | 0.250000

    In the column of five a bar or backslash that belongs to a name has a backslash before it.
    """
    rows = []
    for row in predictions:
        texts = [f"{probability:.6f}" for probability in row.probabilities]
        rows.append(
            [
                row.image,
                row.actual,
                row.top[0],
                texts[0],
                _SEPARATOR.join(map(_escaped, row.top)),
                _SEPARATOR.join(texts),
            ]
        )
    return csv_text(COLUMNS, rows)


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("|", "\\|")


def read_predictions(path: Path) -> list[Prediction]:
    """The rows of a predictions file, in its order.

    Raises:
        OctetError: It is missing, or not as predictions_csv writes it.
    """
    data = read_bytes(path, "the stage evaluate makes it")
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    except (UnicodeDecodeError, csv.Error):
        rows = []
    if not rows or set(COLUMNS) - rows[0].keys():
        raise OctetError(
            f"{path}: expected a table with the columns {', '.join(COLUMNS)}; run the stage evaluate again"
        )
    return [_prediction(row, path, number) for number, row in enumerate(rows, 1)]


def _prediction(row: dict[str, str], path: Path, number: int) -> Prediction:
    try:
        top = [_ESCAPED.sub(r"\1", name) for name in row["top5"].split(_SEPARATOR)]
        probabilities = [float(text) for text in row["top5_probability"].split(_SEPARATOR)]
        fits = len(top) == len(probabilities) and None not in (row["image"], row["actual"])
        if fits and all(0 <= probability <= 1 for probability in probabilities):  # NaN is not
            return Prediction(row["image"], row["actual"], top, probabilities)
    except (AttributeError, ValueError):  # a row that is too short; a probability that is no number
        pass
    raise OctetError(
        f"{path}: row {number}: expected as many probabilities in 'top5_probability' as classes in 'top5'; run the stage "
        "evaluate again"
    )
