"""Where int8 and fp32 differ, on literal predictions."""

import io

import numpy as np
import pytest
from PIL import Image

from octet.evaluate.predictions import Prediction
from octet.summary.differences import captions, classes_csv, confusion_csv, differing, sheet

pytestmark = pytest.mark.unit


def pairs(actual, fp32, int8):
    def prediction(label, top, k):
        return Prediction(f"{k}.png", label, [top, "?"], [0.75, 0.25])

    rows = zip(actual, fp32, int8, strict=True)
    return [(prediction(label, a, k), prediction(label, b, k)) for k, (label, a, b) in enumerate(rows)]


def test_classes_of_both_models():
    assert classes_csv(pairs("aab", "aab", "abb"), ["a", "b", "c"]).splitlines() == [
        "model,class,precision_pct,recall_pct,f1_pct,support",
        "fp32,a,100.0000,100.0000,100.0000,2",
        "fp32,b,100.0000,100.0000,100.0000,1",
        "fp32,c,0.0000,0.0000,0.0000,0",
        "int8,a,100.0000,50.0000,66.6667,2",
        "int8,b,50.0000,100.0000,66.6667,1",
        "int8,c,0.0000,0.0000,0.0000,0",
    ]


def test_confusions_and_their_change():
    assert confusion_csv(pairs("aab", "aab", "abb"), ["b", "a"]).splitlines() == [
        "actual,predicted,fp32,int8,change",
        "b,b,1,1,0",
        "a,b,0,1,1",
        "a,a,2,1,-1",
    ]


def test_the_images_on_which_the_two_differ():
    """First what int8 loses, then what it wins, then what both get wrong."""
    result = differing(pairs("aaaaaa", "abbaab", "aacbac"))
    assert [fp32.image for fp32, _ in result] == ["3.png", "1.png", "2.png", "5.png"]


def test_the_sheet_holds_the_images():
    grey, red = np.full((16, 16), 128, np.uint8), np.zeros((300, 200, 3), np.uint8)
    red[..., 0] = 255
    both = pairs(["a very long name that does not fit below it", "b"], "ab", "ba")
    data = sheet([red, grey], captions(both))
    drawn = np.asarray(Image.open(io.BytesIO(data)))
    assert (drawn == [255, 0, 0]).all(axis=2).sum() == 128 * 85
    assert (drawn == 128).all(axis=2).sum() >= 128 * 128
    assert data == sheet([red, grey], captions(both))
    assert sheet([], [])[:4] == b"\x89PNG"


def test_what_the_sheet_s_font_has_not_is_escaped():
    """No boxes stand for it, and the bytes do not depend on the fonts of the machine."""
    grey = np.full((16, 16), 128, np.uint8)
    chinese, escaped = (sheet([grey], captions(pairs([name], ["é"], [name]))) for name in ("虎x", "\\u864ex"))
    assert chinese == escaped
    assert chinese != sheet([grey], captions(pairs(["\\u6591x"], ["é"], ["\\u6591x"])))
