"""The engines beside ncnn: what they compute, and what they say where they cannot."""

import importlib.util

import numpy as np
import onnx
import pytest

from octet.core.engines import open_vino
from octet.core.engines.engine import load
from octet.core.errors import OctetError
from octet.evaluate import engines
from octet.evaluate.engines import EngineFigures
from octet.evaluate.predictions import Prediction
from octet.summary.engines import Column, picks
from tests.onnx_nets import classifier

pytestmark = pytest.mark.unit

IMAGE = np.random.Generator(np.random.PCG64(0)).standard_normal((3, 16, 16)).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(classifier(end=(), shape=(1, 3, 16, 16)), path)
    return path


def test_an_engine_gives_the_logits_of_an_image(model):
    logits = load("onnxruntime", model)(IMAGE)
    assert logits.shape == (5,)
    np.testing.assert_array_equal(logits, load("tensorrt", model)(IMAGE))


def test_openvino_gives_the_same(model):
    try:
        open_vino.require()
    except OctetError as error:
        pytest.skip(str(error))
    np.testing.assert_allclose(load("openvino", model)(IMAGE), load("onnxruntime", model)(IMAGE), atol=1e-4)


def test_an_openvino_that_is_not_installed_is_an_error_that_says_what_to_do(model, monkeypatch):
    monkeypatch.setattr(open_vino, "FOLDER", model.parent / "nowhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OctetError, match="'make openvino' installs it"):
        load("openvino", model)


def test_a_damaged_file_is_named(model):
    model.write_bytes(b"not a model")
    with pytest.raises(OctetError, match=r"net\.onnx: ONNX Runtime cannot read it"):
        load("onnxruntime", model)
    with pytest.raises(OctetError, match=r"other\.onnx: no such file"):
        load("onnxruntime", model.with_name("other.onnx"))


def test_figures_are_read_as_they_were_written(tmp_path):
    rows = [Prediction("1", "cat", [name], [1.0]) for name in ("cat", "dog")]
    figures = {"openvino": EngineFigures.of([(rows[0], rows[0]), (rows[0], rows[1])], 10)}
    path = tmp_path / "engines.json"
    path.write_text(__import__("json").dumps(engines.engines_json(figures)))
    assert engines.load(path) == figures
    assert engines.load(tmp_path / "none.json") == {}
    path.write_text('{"openvino": 1}')
    with pytest.raises(OctetError, match="expected the figures of each engine"):
        engines.load(path)


def test_the_fastest_is_the_fastest_of_those_that_lose_little():
    def column(name, drop, kl, fps):
        return Column(name, EngineFigures(99.0, kl, 1, 90.0, drop, 0.1), {1: fps} if fps else {})

    shown = [
        column("ncnn", 0.1, 2e-5, 100.0),
        column("openvino", 0.2, 1e-5, 150.0),
        column("onnxruntime", 0.5, 5e-5, 200.0),
        column("tensorrt", 0.0, 9e-5, 0),
    ]
    assert picks(shown, 0.3) == [
        "Fastest on this machine with one thread, within 0.3 points: openvino.",
        "Closest to fp32: openvino.",
    ]
    assert picks(shown, 0.05)[1] == "None that is timed here loses 0.05 points or less."
