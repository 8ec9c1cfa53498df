"""The file of predictions: written, read back, damaged; class names that are told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octet.core import files
from octet.core.errors import OctetError
from octet.evaluate.predictions import Prediction, distinct, predictions_csv, read_predictions

pytestmark = pytest.mark.unit


def test_predictions_file(tmp_path):
    rows = [
        Prediction("x.png", "a,b", ["a,b", "c", "d"], [0.5, 0.3, 0.2]),
        Prediction("17", "d", ["c", "a,b", "d"], [1, 0, 0]),
    ]
    files.write_text(tmp_path / "p.csv", predictions_csv(rows))
    assert (tmp_path / "p.csv").read_text() == (
        "image,actual,predicted,probability,top5,top5_probability\n"
        'x.png,"a,b","a,b",0.500000,"a,b | c | d",0.500000 | 0.300000 | 0.200000\n'
        '17,d,c,1.000000,"c | a,b | d",1.000000 | 0.000000 | 0.000000\n'
    )
    assert read_predictions(tmp_path / "p.csv") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a table with the columns"),
        (b"x\n1\n", "expected a table with the columns"),
        (b"\xff", "expected a table with the columns"),
        (b"image,actual,predicted,probability,top5,top5_probability\n", "expected a table with the columns"),
        (b"image,actual,predicted,probability,top5,top5_probability\n1,a,a,1,a,x\n", "row 1: expected as many prob"),
        (b"image,actual,predicted,probability,top5,top5_probability\n1,a,a,1,a | b,1\n", "row 1: expected as many"),
        (b"image,actual,predicted,probability,top5,top5_probability\n1,a\n", "row 1: expected as many prob"),
    ],
)
def test_damaged_predictions(tmp_path, content, message):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(OctetError, match=f"p.csv: {message}.*run the stage evaluate again"):
        read_predictions(tmp_path / "p.csv")


def test_classes_of_one_name_are_told_apart():
    assert distinct(["crane", "owl", "crane"]) == ["crane (0)", "owl", "crane (2)"]
    assert distinct(["a", "a", "a (0)"]) == ["a (0)", "a (1)", "a (0) (2)"]
    assert distinct(["a | b", "a", "a / b"]) == ["a | b", "a", "a / b"], "what differs stays as it is"


TEXT = st.text(st.characters(codec="utf-8"))


@given(st.lists(TEXT, min_size=1, max_size=9), st.data())
def test_predictions_read_back_as_written(tmp_path_factory, names, data):
    classes = distinct(names)
    assert len(set(classes)) == len(names)
    top = data.draw(st.permutations(classes))[:5]
    rows = [Prediction(data.draw(TEXT), classes[0], top, [round(1 / (k + 1), 6) for k in range(len(top))])]
    path = tmp_path_factory.mktemp("p") / "p.csv"
    files.write_text(path, predictions_csv(rows))
    assert read_predictions(path) == rows
