"""PPQ's scales, against the table that PPQ itself writes, on a small real model."""

import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest
import torch

from octet.calibrate.calibrate import calibrate as calibrate_by_settings
from octet.calibrate.match import match
from octet.calibrate.weights import weight_scales
from octet.core.errors import OctetError
from octet.core.params import Ppq
from octet.core.registry import calibrator_needs
from octet.graph.layers import could_run_winograd, quantizable
from octet.graph.profiles import target
from octet.graph.scales import check_table, weight_scale_count
from octet.ncnn import table
from octet.ncnn.convert import pnnx
from octet.ncnn.net import load_net
from tests import nets

if calibrator_needs("ppq").missing:
    pytest.skip("PPQ cannot be had on this Python", allow_module_level=True)
from octet.calibrate import ppq_graph

pytestmark = pytest.mark.pipeline

COUNT = 16
IMAGES = nets.images(COUNT, size=12)


class Small(torch.nn.Module):
    """All kinds of layers that can be int8: 3x3 of stride 1 and 2, grouped, depthwise, 1x1, linear."""

    def __init__(self, norm=False):
        super().__init__()
        layers = [
            torch.nn.Conv2d(3, 8, 3, padding=1),
            torch.nn.BatchNorm2d(8) if norm else torch.nn.Identity(),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, padding=1, groups=2),
            torch.nn.Conv2d(8, 8, 3, padding=1, groups=8),
            torch.nn.ReLU6(),
            torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 8, 1),
        ]
        self.features, self.pool, self.fc = torch.nn.Sequential(*layers), torch.nn.AdaptiveAvgPool2d(1), None
        self.fc = torch.nn.Linear(8, 5)
        torch.nn.init.zeros_(layers[0].weight[2])
        if norm:
            for tensor in (layers[1].weight, layers[1].bias, layers[1].running_mean):
                torch.nn.init.uniform_(tensor, -2, 2)
            torch.nn.init.uniform_(layers[1].running_var, 0.5, 2)

    def forward(self, x):
        x = self.pool(self.features(x))
        return self.fc(x.view(x.size(0), -1))  # a Reshape to (1, -1) in ONNX


def model(folder, training=torch.onnx.TrainingMode.EVAL, **options):
    """The path of an exported model, and its ncnn model."""
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Small(**options).eval(),
            (torch.zeros(1, 3, 12, 12),),
            folder / "model.onnx",
            opset_version=13,
            dynamo=False,
            input_names=["input"],
            training=training,
        )
    command = [pnnx(), "model.onnx", "inputshape=[1,3,12,12]", "fp16=0"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder / "model.onnx", load_net(folder / "model.ncnn.param", folder / "model.ncnn.bin")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return model(tmp_path_factory.mktemp("small"))


def calibrate(small, algorithm="percentile", batch=1, profile="dotprod", images=IMAGES):
    (path, net), ppq = small, Ppq(algorithm=algorithm, batch=batch)
    return calibrate_by_settings(net, images, nets.settings("ppq", ppq=ppq), target(profile), path)


def exported(graph, folder):
    """The words of each entry of the table that PPQ's exporter writes."""
    from ppq.parser import NCNNExporter

    NCNNExporter().export_quantization_config(str(folder / "ppq.table"), graph)
    return {line.split()[0]: line.split()[1:] for line in (folder / "ppq.table").read_text().splitlines()}


def assert_same(ours, wanted, nodes):
    """The table's numbers, rounded to six decimals as PPQ writes them, are PPQ's; 1 for its 1 / 1e-8."""
    assert set(wanted) == {*nodes.values(), *(f"{node}_param_0" for node in nodes.values())}
    for layer, node in nodes.items():
        for scales, key in ((ours.weights[layer], f"{node}_param_0"), ([ours.inputs[layer]], node)):
            words = ["1.000000" if word == "100000000.000000" else word for word in wanted[key]]
            assert [f"{scale:.6f}" for scale in scales] == words, (layer, key)


def nodes_of(small):
    path, net = small
    return match(net, onnx.load(path), str(path))


@pytest.mark.parametrize("algorithm", ["percentile", "kl", "mse", "minmax"])
def test_the_scales_are_those_of_ppq_s_own_table(small, algorithm, tmp_path):
    """The oracle is PPQ as its manual calls it: quantize_onnx_model and its exporter, with 6 bits for 3x3."""
    from ppq.api import QuantizationSettingFactory, quantize_onnx_model
    from ppq.core import TargetPlatform

    setting = QuantizationSettingFactory.ncnn_setting()
    setting.quantize_activation_setting.calib_algorithm = algorithm
    setting.dispatcher = "allin"
    with ppq_graph._threads(ppq_graph.THREADS), ppq_graph._quiet():
        graph = quantize_onnx_model(
            str(small[0]),
            calib_dataloader=[torch.from_numpy(x[None]) for x in IMAGES],
            calib_steps=COUNT,
            input_shape=[1, 3, 12, 12],
            platform=TargetPlatform.NCNN_INT8,
            setting=setting,
            device="cpu",
        )
    result = calibrate(small, algorithm, profile="ncnn2int8")
    check_table(result, quantizable(small[1].layers), "table")
    assert len(result.inputs) == 6
    assert_same(result, exported(graph, tmp_path), nodes_of(small))


@pytest.mark.parametrize(("profile", "levels"), [("ncnn2int8", 31), ("dotprod", 127)])
def test_the_target_chooses_the_weights_levels(small, profile, levels, tmp_path):
    path, net = small
    nodes, layers = nodes_of(small), quantizable(net.layers)
    wanted = {nodes[layer.name]: target(profile).weight_levels(layer) for layer in layers}
    assert [wanted[nodes[layer.name]] for layer in layers if could_run_winograd(layer)] == [levels]
    graph = ppq_graph.calibrated(path, wanted, IMAGES, ppq_graph.steps(COUNT, 1), "minmax")
    result = calibrate(small, "minmax", profile=profile)
    assert_same(result, exported(graph, tmp_path), nodes)
    for layer in layers:
        assert len(result.weights[layer.name]) == weight_scale_count(layer)
        np.testing.assert_allclose(result.weights[layer.name], weight_scales(layer, target(profile)), rtol=1e-6)


def test_a_dead_channel_and_a_dead_input_have_scale_one(small):
    result = calibrate(small, "minmax", images=[np.zeros((3, 12, 12), np.float32)] * COUNT)
    first = quantizable(small[1].layers)[0].name
    assert result.weights[first][2] == 1
    assert result.inputs[first] == 1
    assert all(np.isfinite(scale) and scale > 0 for scale in result.inputs.values())


@pytest.mark.parametrize("algorithm", ["kl", "percentile"])
def test_the_same_twice_in_other_processes_too(small, algorithm, tmp_path):
    code = f"""
import sys
from pathlib import Path
from octet.calibrate.calibrate import calibrate
from octet.core.params import Ppq
from octet.ncnn.net import load_net
from octet.ncnn import table
from octet.graph.scales import weight_scale_count
from octet.graph.profiles import target
from tests import nets
net = load_net({str(small[0].with_suffix(".ncnn.param"))!r}, {str(small[0].with_suffix(".ncnn.bin"))!r})
images, settings = nets.images({COUNT}, size=12), nets.settings("ppq", ppq=Ppq(algorithm={algorithm!r}, batch=2))
table.save(calibrate(net, images, settings, target("dotprod"), Path({str(small[0])!r})), sys.argv[1])
"""
    table.save(calibrate(small, algorithm, batch=2), tmp_path / "here")
    for seed, threads in (("1", "1"), ("2", "3")):
        environment = {
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": threads,
            "PYTHONPATH": ":".join(filter(None, sys.path)),
        }
        ran = subprocess.run(
            [sys.executable, "-c", code, tmp_path / seed], env=environment, capture_output=True, text=True, check=True
        )
        assert (ran.stdout, ran.stderr) == ("", "")  # in a log, neither PPQ nor Octet says anything
        assert (tmp_path / seed).read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.parametrize("algorithm", ["minmax", "kl", "mse"])
def test_these_do_not_depend_on_the_batch(small, algorithm):
    one, two = calibrate(small, algorithm, batch=1), calibrate(small, algorithm, batch=2)
    for name in one.inputs:
        np.testing.assert_allclose(one.inputs[name], two.inputs[name], rtol=1e-4)


def test_all_images_are_used_once_a_pass_and_in_order(small):
    def seen(algorithm):
        asked = []
        calibrate(small, algorithm, batch=2, images=nets.Computed(COUNT, lambda k: asked.append(k) or IMAGES[k]))
        return asked[asked.index(2) - 2 :]  # the first ones check that the model runs

    assert seen("minmax") == list(range(COUNT))
    assert seen("mse") == 2 * list(range(COUNT))


@pytest.mark.parametrize("batch", [1, 2, 7, 32, 100000])
def test_steps_hold_every_image_within_ppq_s_limits(batch):
    for count in (*range(8, 30), 100, 511, 512, 513, 4095, 4096, 4097, 50000):
        parts = ppq_graph.steps(count, batch)
        assert [k for part in parts for k in part] == list(range(count))
        assert 8 <= len(parts) <= 512
        sizes = {len(part) for part in parts}
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= max(batch, -(-count // 512))


def test_fewer_than_eight_images(small):
    assert calibrator_needs("ppq").least_images == ppq_graph.LEAST_STEPS
    with pytest.raises(OctetError, match="calibrate.images: PPQ needs at least 8 images, found 7"):
        calibrate(small, images=IMAGES[:7])


def test_a_batch_norm_that_pnnx_folds(tmp_path):
    """Exported without folding: pnnx and PPQ each fold the batch norm themselves, to the same weights."""
    path, net = model(tmp_path, torch.onnx.TrainingMode.PRESERVE, norm=True)
    assert "BatchNormalization" in {node.op_type for node in onnx.load(path).graph.node}
    assert not any(layer.type == "BatchNorm" for layer in net.layers)
    result = calibrate((path, net), "minmax")
    for layer in quantizable(net.layers):
        np.testing.assert_allclose(result.weights[layer.name], weight_scales(layer, target("dotprod")), rtol=1e-4)


def edited(small, folder, change):
    """The same model with a change to the ONNX graph."""
    model = onnx.load(small[0])
    change(model.graph)
    onnx.save(model, folder / "edited.onnx")
    return folder / "edited.onnx", small[1]


def test_a_model_that_ppq_cannot_run(small, tmp_path):
    def change(graph):
        next(node for node in graph.node if node.op_type == "Relu").op_type = "Selu2"

    def twice(graph):
        for node in graph.node:
            if node.op_type == "Relu":
                node.name = "twice"

    with pytest.raises(OctetError, match="PPQ cannot read the model: .*twice.*choose another"):
        calibrate(edited(small, tmp_path, twice))
    with pytest.raises(OctetError, match=r"edited.onnx: PPQ cannot run the model: .*Selu2.*choose another"):
        calibrate(edited(small, tmp_path, change))


def test_a_model_that_ppq_cannot_quantize(small, tmp_path):
    """ONNX lets a convolution's weights say its kernel's size, and PPQ does not."""

    def change(graph):
        for node in graph.node:
            for attribute in [item for item in node.attribute if item.name == "kernel_shape"]:
                node.attribute.remove(attribute)

    with pytest.raises(
        OctetError, match=r"edited.onnx: PPQ cannot quantize the model: .*; choose another calibrate.method"
    ):
        calibrate(edited(small, tmp_path, change))


def test_a_model_for_one_image_only(small, tmp_path):
    """Here the size of a Reshape depends on the batch in its second dimension."""

    def change(graph):
        shape = next(node for node in graph.node if node.op_type == "Reshape").input[1]
        constant = next(node for node in graph.node if shape in node.output)
        constant.attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(np.array([-1, 8], np.int64)))
        gemm = next(node for node in graph.node if node.op_type == "Gemm")
        flat = onnx.numpy_helper.from_array(np.array([1, 5], np.int64), "flat")
        graph.initializer.append(flat)
        graph.node.append(onnx.helper.make_node("Reshape", ["gemm", "flat"], [gemm.output[0]], name="last"))
        gemm.output[0] = "gemm"
        graph.node.append(onnx.helper.make_node("Softmax", [graph.output[0].name], ["p"], name="over", axis=0))
        graph.output[0].name = "p"

    model = edited(small, tmp_path, change)
    with pytest.raises(OctetError, match="set calibrate.ppq.batch to 1 and calibrate.images to at most 512"):
        calibrate(model, batch=2)
    assert len(calibrate(model, batch=1).inputs) == 6


def test_nodes_that_ppq_does_not_quantize(small, tmp_path):
    def change(graph):
        gemm = next(node for node in graph.node if node.op_type == "Gemm")
        for tensor in graph.initializer:
            if tensor.name == gemm.input[1]:
                tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).T.copy(), tensor.name))
        new = onnx.helper.make_node("MatMul", gemm.input[:2], gemm.output, name="matmul")
        gemm.CopyFrom(new)

    with pytest.raises(OctetError, match=r"PPQ quantizes Conv and Gemm nodes.*\(MatMul\).*kl, minmax and mse"):
        calibrate(edited(small, tmp_path, change))


def test_files_that_are_not_there_or_no_model(small, tmp_path):
    with pytest.raises(OctetError, match="gone.onnx: no such file; the stage export makes it"):
        calibrate((tmp_path / "gone.onnx", small[1]))
    (tmp_path / "bad.onnx").write_bytes(b"\xff\xff\xff no model")
    with pytest.raises(OctetError, match="bad.onnx: not an ONNX model, or damaged"):
        calibrate((tmp_path / "bad.onnx", small[1]))
