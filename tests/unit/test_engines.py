"""The engines beside ncnn: what they compute, and what they say where they cannot."""

import hashlib
import importlib.util
import json
from dataclasses import asdict

import numpy as np
import onnx
import pytest

from octet.core.engines import open_vino
from octet.core.engines.engine import load
from octet.core.engines.files import EngineLayers, check_models
from octet.core.errors import OctetError
from octet.core.files import write_bytes, write_json
from octet.core.folder import ModelFolder
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
    path.write_text(json.dumps(engines.engines_json(figures)))
    assert engines.load(path, ["openvino"], "net") == figures
    assert engines.load(tmp_path / "none.json", [], "net") == {}
    path.write_text('{"openvino": 1}')
    with pytest.raises(OctetError, match="expected the keys agreement_pct"):
        engines.load(path, ["openvino"], "net")


FIGURES = {"agreement_pct": 99.5, "kl_top5_nats": 1e-5, "bytes": 10, "top1_pct": 90.0, "top1_drop_pt": 0.5}


@pytest.mark.parametrize(
    "content",
    [
        *(None, [], {}, 5, "x", {"onnxruntime": FIGURES}, {"openvino": FIGURES}),
        {"onnxruntime": FIGURES, "openvino": FIGURES | {"agreement_pct": "99"}},
        {"onnxruntime": FIGURES, "openvino": FIGURES | {"top1_drop_pt": None}},
        {"onnxruntime": FIGURES, "openvino": FIGURES | {"more": 1}},
        {"onnxruntime": FIGURES, "openvino": {"agreement_pct": 99.5, "kl_top5_nats": 1e-5, "bytes": 10}},
    ],
)
def test_figures_that_lack_an_engine_or_are_none_are_refused(tmp_path, content):
    path = tmp_path / "engines.json"
    path.write_text(json.dumps(content))
    with pytest.raises(OctetError, match=r"engines\.json: (expected|lacks) .*'make quantize MODEL=net' makes it"):
        engines.load(path, ["onnxruntime", "openvino"], "net")


def test_no_figures_of_an_engine_that_is_named(tmp_path):
    """Or the check would pass without a word of it."""
    with pytest.raises(OctetError, match="engines.json: no such file; 'make quantize MODEL=net' makes it"):
        engines.load(tmp_path / "engines.json", ["onnxruntime"], "net")


@pytest.fixture
def folder(tmp_path):
    """A model's folder with one engine's model."""
    result = ModelFolder("net", tmp_path)
    model = classifier(end=(), shape=(1, 3, 16, 16)).SerializeToString()
    write_bytes(result.engine("onnxruntime"), model)
    layers = EngineLayers(["conv"], {"fc": "named"}, hashlib.sha256(model).hexdigest(), {"conv": 0.1})
    write_json(result.engine_layers, {"onnxruntime": asdict(layers)})
    return result


def test_models_are_those_that_were_made(folder):
    check_models(folder, ["onnxruntime"])
    path = folder.engine("onnxruntime")
    model = bytearray(path.read_bytes())
    load("onnxruntime", path)(IMAGE)
    at = model.index(onnx.load(path).graph.initializer[0].raw_data)
    model[at] ^= 1  # of a weight: ONNX Runtime would run it
    path.write_bytes(model)
    load("onnxruntime", path)(IMAGE)
    with pytest.raises(OctetError, match=r"onnxruntime\.onnx: changed since the stage qdq made it"):
        check_models(folder, ["onnxruntime"])


@pytest.mark.parametrize("content", [None, [], {}, {"onnxruntime": 1}, {"onnxruntime": {"int8": [], "float": {}}}])
def test_layers_that_say_nothing_of_a_model(folder, content):
    write_json(folder.engine_layers, content)
    with pytest.raises(OctetError, match=r"layers\.json: .*'dvc repro qdq@net' makes it"):
        check_models(folder, ["onnxruntime"])


def test_a_model_that_is_no_classifier(tmp_path):
    for inputs, outputs, problem in (
        (["x", "y"], ["z"], "expected a model of one fp32 input"),
        (["x"], ["z", "w"], "expected a model of one fp32 input"),
        (["x"], ["z"], "ONNX Runtime cannot run it"),
    ):
        nodes = [onnx.helper.make_node("Relu", [inputs[-1]], [name]) for name in outputs]
        values = [
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in names]
            for names in (inputs, outputs)
        ]
        graph = onnx.helper.make_graph(nodes, "net", *values)
        path = tmp_path / "net.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
        with pytest.raises(OctetError, match=f"net.onnx: {problem}"):
            load("onnxruntime", path)(IMAGE)


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
