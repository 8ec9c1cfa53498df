"""calibrate.method: file takes a table of ncnn's, PPQ's or Octet's as it is, from where DVC sees it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from octet.calibrate.calibrate import calibrate, remarks, table
from octet.calibrate.job import Job
from octet.core.errors import OctetError
from octet.graph.layers import quantizable
from octet.graph.profiles import target
from octet.ncnn.table import load, save
from tests import nets

pytestmark = pytest.mark.unit


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/tables").mkdir(parents=True)
    return Job(nets.small(), nets.images(4), nets.settings("file"), target("dotprod"), model="m")


def written(job, path="configs/tables/m.table"):
    """The table of another calibrator, written to a file."""
    scales = calibrate(job.net, job.images, nets.settings("mse"), job.target)
    save(scales, path)
    return scales


def test_a_table_is_taken_as_it_is(job, tmp_path):
    scales = written(job)
    read = table(job)
    save(read, tmp_path / "out.table")
    assert (tmp_path / "out.table").read_bytes() == (tmp_path / "configs/tables/m.table").read_bytes()
    assert read.inputs == scales.inputs
    assert remarks(job, read) == []


def test_as_ppq_writes_it(job):
    """Six decimals, a blank at the end of each line, scales of weights first."""
    scales = written(job)
    lines = [f"{key} {''.join(f'{value:f} ' for value in values)}" for key, values in scales.entries().items()]
    with Path("configs/tables/m.table").open("w") as file:
        file.write("".join(f"{line}\n" for line in lines))
    read = table(job)
    assert all(np.allclose(read.weights[name], scales.weights[name], atol=1e-6, rtol=1e-6) for name in scales.weights)


def test_calibrate_file_names_another(job):
    written(job, "configs/tables/shared.table")
    settings = nets.settings("file", file="configs/tables/shared.table")
    assert calibrate(job.net, job.images, settings, job.target).inputs == load("configs/tables/shared.table").inputs
    written(job, "elsewhere.table")
    for name in ("elsewhere.table", "configs/tables/../../elsewhere.table"):
        with pytest.raises(OctetError, match="calibrate.file: .*elsewhere.table: lies outside configs/tables"):
            calibrate(job.net, job.images, nets.settings("file", file=name), job.target)


def test_a_table_that_is_missing_or_does_not_fit(job):
    with pytest.raises(OctetError, match=r"configs/tables/m\.table: no such file; calibrate\.method is file"):
        table(job)
    scales = written(job)
    scales.inputs["conv_9"] = scales.inputs.pop("conv_2")
    save(scales, "configs/tables/m.table")
    with pytest.raises(
        OctetError, match=r"m\.table: the table does not fit the model:\n.*conv_9.*\n.*no entry 'conv_2'"
    ):
        table(job)


def test_ppq_s_names_are_those_of_the_onnx_nodes(job, tmp_path):
    """Which layer a node became is told by its weights; a table of neither's names is named."""
    scales = written(job)
    kinds = {"Convolution": "Conv", "ConvolutionDepthWise": "Conv", "InnerProduct": "Gemm"}
    nodes, tensors = [], []
    for layer in reversed(quantizable(job.net.layers)):
        shape = weight_shape(layer)
        tensor = numpy_helper.from_array(
            layer.weights["weight"].data.astype(np.float32).reshape(shape), f"{layer.name}.w"
        )
        more = {"transB": 1} if layer.type == "InnerProduct" else {}
        nodes.append(
            helper.make_node(kinds[layer.type], ["x", tensor.name], ["y"], name=f"/net/{layer.name}/op", **more)
        )
        tensors.append(tensor)
    (tmp_path / "fp32.onnx").write_bytes(
        helper.make_model(helper.make_graph(nodes, "g", [], [], initializer=tensors)).SerializeToString()
    )
    text = (tmp_path / "configs/tables/m.table").read_text()
    for name in scales.inputs:
        text = re.sub(rf"^{name}(?= |_param)", f"/net/{name}/op", text, flags=re.MULTILINE)
    (tmp_path / "configs/tables/m.table").write_text(text)
    with pytest.raises(OctetError, match="'/net/conv_1/op' is no layer of the model"):
        table(job)
    with_onnx = replace(job, onnx=tmp_path / "fp32.onnx")
    assert table(with_onnx).inputs == scales.inputs
    assert table(with_onnx).weights.keys() == scales.weights.keys()
    (tmp_path / "fp32.onnx").write_bytes(b"no model")
    with pytest.raises(OctetError, match="fp32.onnx: not an ONNX model, or damaged"):
        table(with_onnx)


def weight_shape(layer):
    """As ONNX has it: outputs first."""
    outputs = layer.int(0)
    if layer.type == "InnerProduct":
        return outputs, -1
    return outputs, -1, layer.int(1), layer.int(1)
