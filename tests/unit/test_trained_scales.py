"""Models that were trained with fake quantization: their scales become ncnn's. ONNX Runtime on the file itself is the oracle."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from octet.calibrate.calibrate import remarks, table
from octet.calibrate.job import Job
from octet.calibrate.trained import trained_scales
from octet.core.errors import OctetError
from octet.core.folder import NcnnFiles
from octet.core.logits import decibels
from octet.core.preprocessing import Preprocessing
from octet.core.trained_scales import Grid, read, weights_sha256
from octet.export import onnx_file
from octet.export.export import export
from octet.export.onnx_quantized import underneath
from octet.export.onnx_source import OnnxSource
from octet.graph.equalize import equalize
from octet.graph.targets import Target
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine, logits
from octet.ncnn.net import Net, load_net
from octet.qdq.network import Network
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import Int8
from octet.qdq.quantize import quantize as quantize_onnx
from octet.qdq.ranges import runner
from octet.quantize.quantize import quantize
from tests import damage, nets
from tests.onnx_nets import PREPROCESS, classifier
from tests.unit.test_qdq import IMAGES, SETTINGS, residual

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("exact_onnx_runtime")]

PLAIN = Target("t", winograd=False, asymmetric=False)
SHIFTED = Target("t", winograd=False, asymmetric=True)


def source(folder: Path, model: onnx.ModelProto) -> OnnxSource:
    onnx.save(model, folder / "net.onnx")
    return OnnxSource(str(folder / "net.onnx"), Preprocessing.model_validate(PREPROCESS))


def handed_over(folder: Path, model: onnx.ModelProto) -> Net:
    """The fp32 network of a model with fake quantization, through export and convert."""
    export(source(folder, model), 13, folder / "fp32.onnx", folder / "preprocess.json")
    files = NcnnFiles.named(folder, "fp32")
    convert(folder / "fp32.onnx", files, IMAGES)
    return load_net(*files)


def job(folder: Path, net: Net, target: Target, method: str = "kl") -> Job:
    return Job(net, IMAGES, nets.settings(method), target, folder / "fp32.onnx")


def trained(engine: str, model: onnx.ModelProto) -> Int8:
    (int8,) = quantize_onnx(Network(model, "net.onnx"), [PROFILES[engine]], IMAGES, SETTINGS)
    return int8


def answers(model: onnx.ModelProto) -> np.ndarray:
    run = runner(model, "model")
    return np.concatenate([run(image)[0] for image in IMAGES])


def noise_db(values: np.ndarray, wanted: np.ndarray) -> float:
    return decibels(float((wanted**2).mean()), float(((values - wanted) ** 2).mean()))


@pytest.mark.parametrize("make", [residual, lambda: classifier(end=(), shape=(1, 3, 16, 16))], ids=["sum", "plain"])
def test_ncnn_computes_what_the_model_computes(tmp_path, make):
    """int8 around 0, as TensorRT has it, is ncnn's own form: to the last bits, and the integers of the weights are the file's."""
    int8 = trained("tensorrt", make())
    net = handed_over(tmp_path, int8.model)
    work = job(tmp_path, net, PLAIN)
    scales = table(work)
    count = len(int8.placement.layers)
    assert f"scales that the model was trained with: of what {count} of {count} layers read" in remarks(work, scales)
    ours = quantize(net, scales, PLAIN, [], "t")
    integers = [sorted(one.integers.ravel().tolist()) for one in int8.weights.values()]
    assert [
        sorted(layer.weights["weight"].data.tolist()) for layer in ours.layers if "weight_scales" in layer.weights
    ] == integers
    wanted = answers(int8.model)
    assert noise_db(logits(Engine.of(ours), IMAGES, "t"), wanted) > 120
    assert 30 < noise_db(logits(Engine.of(net), IMAGES, "t"), wanted) < 60, "fp32 is the network underneath"


@pytest.mark.parametrize("make", [residual, lambda: classifier(end=(), shape=(1, 3, 16, 16))], ids=["sum", "plain"])
def test_uint8_from_0_takes_a_zero_point_with_the_same_steps(tmp_path, make):
    """ONNX Runtime's form, without the ReLUs that its quantizers take out: the network underneath has them again."""
    int8 = trained("onnxruntime", make())
    assert int8.placement.absorbed
    net = handed_over(tmp_path, int8.model)
    fp32 = answers(make())
    assert noise_db(logits(Engine.of(net), IMAGES, "t"), fp32) > 40, "weights are rounded, and no more"
    ours = quantize(net, table(job(tmp_path, net, SHIFTED)), SHIFTED, [], "t")
    assert noise_db(logits(Engine.of(ours), IMAGES, "t"), answers(int8.model)) > 40
    steps = {1 / float(layer.weights["input_scale"].data[0]) for layer in ours.layers if "input_scale" in layer.weights}
    from_zero = [float(grid.scale) for grid in int8.grids.values() if grid.zero_point == 0]
    assert any(step == pytest.approx(other, rel=1e-6) for step in steps for other in from_zero)


def test_winograd_s_weights_stay_as_calibrated_and_so_does_what_has_no_scale(tmp_path):
    int8 = trained("openvino", classifier(end=(), shape=(1, 3, 16, 16)))
    net, winograd = handed_over(tmp_path, int8.model), Target("t", winograd=True, asymmetric=True)
    work = job(tmp_path, net, winograd, "kl")
    scales, calibrated = table(work), table(Job(net, IMAGES, nets.settings("kl"), winograd))
    assert "calibrated: " in remarks(work, scales)[-1], "the first layer reads the image in float"
    first, second, _ = (layer.name for layer in net.layers if "weight" in layer.weights)
    assert scales.inputs[first] == calibrated.inputs[first]
    assert any(scales.inputs[second] == pytest.approx(127 / (254 * float(grid.scale))) for grid in int8.grids.values())
    assert np.array_equal(scales.weights[second], calibrated.weights[second])
    quantize(net, scales, winograd, [], "t")


def test_steps_that_ncnn_cannot_have_are_calibrated(tmp_path):
    """256 steps on one side of 0 become 127 without a zero point: a calibrator does better than the same range."""
    int8 = trained("openvino", classifier(end=(), shape=(1, 3, 16, 16)))
    net = handed_over(tmp_path, int8.model)
    scales, calibrated = table(job(tmp_path, net, PLAIN)), table(Job(net, IMAGES, nets.settings("kl"), PLAIN))
    assert scales.inputs == calibrated.inputs
    _, second, _ = (layer.name for layer in net.layers if "weight" in layer.weights)
    assert scales.weights[second] == pytest.approx(1 / int8.weights[next(iter(int8.weights))].scales)


def test_a_table_of_the_user_s_own_is_taken_as_it_is(tmp_path):
    net = handed_over(tmp_path, trained("tensorrt", residual()).model)
    assert trained_scales(job(tmp_path, net, PLAIN))
    assert not trained_scales(job(tmp_path, net, PLAIN, "file"))
    assert not trained_scales(Job(equalize(uneven(net)), IMAGES, SETTINGS, PLAIN, tmp_path / "fp32.onnx"))


def uneven(net: Net) -> Net:
    """The same network with other weights: of another training, say."""
    for layer in net.layers:
        if "weight" in layer.weights:
            layer.weights["weight"].data = layer.weights["weight"].data * np.float32(1.5)
    return net


def test_weights_behind_a_pair_as_torch_writes_them(tmp_path):
    """fp32 weights, a QuantizeLinear with an axis, integers clipped to -127, and a Transpose before a MatMul."""
    random = np.random.Generator(np.random.PCG64(5))
    weight = random.normal(size=(4, 27)).astype(np.float32)
    steps = (np.abs(weight).max(axis=1) / 100).astype(np.float32)  # so that the clip to -100…100 is what counts
    tensors = {"w": weight, "steps": steps, "zeros": np.zeros(4, np.int8), "low": np.int8(-90), "high": np.int8(90)}
    tensors |= {"step": np.float32(0.02), "zero": np.int8(0)}
    make = helper.make_node
    nodes = [
        make("Flatten", ["image"], ["flat"]),
        make("QuantizeLinear", ["flat", "step", "zero"], ["q"]),
        make("DequantizeLinear", ["q", "step", "zero"], ["d"]),
        make("QuantizeLinear", ["w", "steps", "zeros"], ["wq"], axis=0),
        make("Clip", ["wq", "low", "high"], ["wc"]),
        make("DequantizeLinear", ["wc", "steps", "zeros"], ["wd"], axis=0),
        make("Transpose", ["wd"], ["wt"], perm=[1, 0]),
        make("MatMul", ["d", "wt"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("image", onnx.TensorProto.FLOAT, (1, 3, 3, 3))],
        [value("logits", onnx.TensorProto.FLOAT, (1, 4))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    network, (scales,) = underneath(model, "net.onnx")
    assert {node.op_type for node in network.graph.node} == {"Flatten", "MatMul"}
    (rows,) = (numpy_helper.to_array(one).T for one in network.graph.initializer)
    np.testing.assert_allclose(rows, np.rint(weight / steps[:, None]).clip(-90, 90) * steps[:, None], rtol=1e-6)
    assert scales.weights_sha256 == weights_sha256(rows)
    assert (scales.weights, scales.largest) == ([float(step) for step in steps], 90)
    assert scales.input == Grid(float(np.float32(0.02)), 0, -128, 127)


def test_what_cannot_be_taken_over_is_named(tmp_path):
    model = trained("tensorrt", residual()).model
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    pool = helper.make_node("MaxPool", [node.output[0]], ["pooled"], "pool", kernel_shape=[1, 1])
    model.graph.node.insert(1, pool)
    for other in model.graph.node:
        if other.op_type == "DequantizeLinear" and other.input[0] == node.output[0]:
            other.input[0] = "pooled"
    with pytest.raises(
        OctetError, match=r"net\.onnx: MaxPool 'pool' computes with integers .*Give it the fp32 model instead"
    ):
        source(tmp_path, model).look()


def test_scales_that_do_not_fit_their_tensor_are_named():
    model = trained("tensorrt", residual()).model
    for tensor in model.graph.initializer:
        if tensor.name == "first/weight/scale":
            tensor.CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), tensor.name))
    with pytest.raises(
        OctetError, match=r"net\.onnx: a QuantizeLinear or .* axis that does not fit its tensor; export"
    ):
        underneath(model, "net.onnx")


@pytest.mark.parametrize("damage", ['"scale": "', '"scale": -1.0, "x": ', "["])
def test_damaged_scales_are_named(tmp_path, damage):
    model = trained("tensorrt", residual()).model
    export(source(tmp_path, model), 13, tmp_path / "fp32.onnx", tmp_path / "preprocess.json")
    data = (tmp_path / "fp32.onnx").read_bytes()
    whole = read(data, "fp32.onnx")
    assert len(whole) == 4
    damaged = onnx.load_from_string(data)
    entry = next(entry for entry in damaged.metadata_props if "trained" in entry.key)
    entry.value = entry.value.replace('"scale": ', damage, 1) if damage != "[" else "["
    with pytest.raises(OctetError, match=r"fp32\.onnx: the scales .* are damaged; run the stage export again"):
        read(damaged.SerializeToString(), "fp32.onnx")


@pytest.mark.filterwarnings("error")
def test_damaged_bytes_give_a_model_or_one_error(tmp_path, monkeypatch):
    """ONNX's checker lets tensors through whose values do not fit their shape or type."""
    monkeypatch.setattr(onnx_file, "_check_in_a_child", lambda model, path: None)  # a process each
    random, path = np.random.Generator(np.random.PCG64(5)), tmp_path / "net.onnx"
    whole = trained("tensorrt", classifier(end=(), shape=(1, 3, 16, 16))).model.SerializeToString()
    left = 0
    for _ in range(500):
        data = bytearray(whole)
        for at in random.integers(len(data), size=random.integers(1, 3)):
            data[at] = random.integers(256)
        path.write_bytes(data)
        model = damage.result_or_octet_error(lambda: onnx_file.read(str(path)))
        if model is not None:
            left += damage.result_or_octet_error(lambda model=model: underneath(model, str(path))) is not None
    assert left > 30, "most of its bytes are weights"
    model = onnx.load_from_string(whole)
    model.graph.initializer[0].raw_data += b"\0"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(OctetError, match=r"net.onnx: damaged"):
        onnx_file.read(str(path))
