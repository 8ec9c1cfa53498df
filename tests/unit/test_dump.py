"""Predictions as JSON lines."""

import json

import pytest

from octet.core import files
from octet.core.folder import ModelFolder
from octet.evaluate.predictions import Prediction, predictions_csv
from octet.predict.dump import dump

pytestmark = pytest.mark.unit


def test_the_dump_of_predictions(tmp_path):
    folder = ModelFolder("m", tmp_path)
    for name, shares in (("fp32", [[0.75, 0.25], [0.5, 0.5]]), ("int8", [[0.875, 0.125], [1, 0]])):
        rows = [
            Prediction("a.png", "éa, b", ["éa, b", "cat"], shares[0]),
            Prediction("b.png", "éa, b", ["cat", "éa, b"], shares[1]),
        ]
        files.write_text(folder.predictions(name), predictions_csv(rows))
    assert dump(folder, tmp_path / "out" / "p.jsonl") == 2
    lines = (tmp_path / "out" / "p.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "image": "a.png",
        "label": "éa, b",
        "fp32": [{"class": "éa, b", "probability": 0.75}, {"class": "cat", "probability": 0.25}],
        "int8": [{"class": "éa, b", "probability": 0.875}, {"class": "cat", "probability": 0.125}],
    }
    assert json.loads(lines[1])["int8"][0] == {"class": "cat", "probability": 1.0}
