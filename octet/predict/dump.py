"""make dump: what fp32 and int8 say of every test image, as JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

from octet.core.files import write_text
from octet.core.folder import ModelFolder
from octet.evaluate.pairs import read_pairs
from octet.evaluate.predictions import Prediction


def dump(folder: ModelFolder, out: Path) -> int:
    """Writes one line an image: its number in the split or its file, its label (null: none), and either model's five most
    likely classes with their probabilities. Returns the number of lines.
    """
    pairs = read_pairs(folder)
    lines = [
        {"image": fp32.image, "label": fp32.actual or None, "fp32": _top(fp32), "int8": _top(int8)}
        for fp32, int8 in pairs
    ]
    write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return len(lines)


def _top(prediction: Prediction) -> list[dict[str, str | float]]:
    pairs = zip(prediction.top, prediction.probabilities, strict=True)
    return [{"class": name, "probability": probability} for name, probability in pairs]
