"""What a user looks at and hands over, made from a finished run of the tiny project."""

import json

import pytest
from PIL import Image

from octet.data.cifar import Cifar
from octet.evaluate import read_predictions

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    return finished.copy(tmp_path_factory.mktemp("hand_over") / "p")


@pytest.fixture
def spoiled(project, tmp_path):
    """A copy for one test to spoil."""
    return project.copy(tmp_path / "p")


def octet(project, *args, ok=True):
    return project.python("-m", "octet", *args, ok=ok)


def fails(project, *args, say):
    found = octet(project, *args, ok=False)
    assert found.returncode == 1 and found.stderr.startswith("error: ") and "Traceback" not in found.stderr
    for words in say:
        assert words in found.stderr, found.stderr


def test_predict_says_what_the_pipeline_said(project, tmp_path):
    """On pictures of the test split as files: the answers of ncnn are those in the predictions files."""
    data = Cifar(project.folder / "data/digits32", "test")
    for k in range(3):
        Image.fromarray(data.image(k)).save(tmp_path / f"{k}.png")
    shown = octet(project, "predict", "--image", str(tmp_path)).stdout
    said = [read_predictions(project.folder / f"metrics/tiny/{p}.predictions.csv") for p in ("fp32", "int8")]
    blocks = shown.split("\n\n")
    for k in range(3):
        first = blocks[k].splitlines()[2].split()
        assert blocks[k].startswith(str(tmp_path / f"{k}.png"))
        assert first[0] == said[0][k].top[0]  # torch
        for engine, precision in ((1, 0), (2, 1)):
            row = said[precision][k]
            assert first[3 * engine : 3 * engine + 2] == [row.top[0], f"{100 * row.probabilities[0]:.2f}"]
    with Image.open(project.folder / "reports/tiny/predict.png") as drawn:
        assert drawn.format == "PNG" and drawn.width > 1000


def test_predict_finds_pictures_of_its_own(project):
    fp32, int8 = (read_predictions(project.folder / f"metrics/tiny/{p}.predictions.csv") for p in ("fp32", "int8"))
    differ = sum(a.top[0] != b.top[0] for a, b in zip(fp32, int8, strict=True))
    shown = octet(project, "predict", "--model", "tiny").stdout
    assert "tiny: 8 pictures" in shown and shown.count("  differ: ") == min(differ, 4) > 0


def test_dump(project):
    octet(project, "dump")
    lines = (project.folder / "reports/tiny/predictions.jsonl").read_text().splitlines()
    rows = read_predictions(project.folder / "metrics/tiny/int8.predictions.csv")
    assert len(lines) == 500
    found = json.loads(lines[7])["int8"]
    assert [entry["class"] for entry in found] == rows[7].top


def test_what_is_not_there_yet(spoiled):
    for path in ("models/tiny/int8.bin", "metrics/tiny/int8.predictions.csv"):
        (spoiled.folder / path).unlink()
        fails(spoiled, "predict", say=[f"{path}: no such file", "'make quantize MODEL=tiny' makes it"])
        (spoiled.folder / path).touch()


def test_pictures_that_are_none(project, tmp_path):
    fails(project, "predict", "--image", str(tmp_path), say=[f"{tmp_path}: no picture in this folder"])
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff")
    fails(project, "predict", "--image", str(tmp_path), say=["x.jpg: cannot be read as a picture (3 bytes)"])
