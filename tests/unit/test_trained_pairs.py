"""Pairs of QuantizeLinear and DequantizeLinear in rare forms. ONNX Runtime on the file itself is the oracle."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from octet.core.errors import OctetError
from octet.export.onnx_input import only_input
from octet.export.onnx_quantized import underneath
from octet.export.onnx_underneath import compare
from octet.qdq.ranges import runner
from tests.unit.test_qdq import IMAGES, residual
from tests.unit.test_trained_forms import with_fake_quantize
from tests.unit.test_trained_scales import answers, noise_db, source, trained

pytestmark = pytest.mark.unit

STEP = np.float32(0.03)
LOWEST = np.full(8, -128, np.int8)
STEPS = np.linspace(0.03, 0.05, 8, dtype=np.float32)


def network(first: dict[str, np.ndarray], second: dict[str, np.ndarray], **attributes: object) -> onnx.ModelProto:
    """A convolution, a pair, an average, and a linear layer whose weights are int8.

    Args:
        first: The scale, and the zero point, of the pair's first.
        second: Those of its second.
        attributes: The first's; an axis is the second's, too.
    """
    random = np.random.Generator(np.random.PCG64(3))
    tensors = {f"first/{key}": value for key, value in first.items()}
    tensors |= {f"second/{key}": value for key, value in second.items()}
    tensors |= {
        "w": random.standard_normal((8, 3, 3, 3)).astype(np.float32) * np.float32(0.2),
        "step": np.float32(0.02),
    }
    tensors["q"] = random.integers(-127, 128, (5, 8)).astype(np.int8)
    axis = {key: value for key, value in attributes.items() if key == "axis"}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", *(f"first/{key}" for key in first)], ["i"], "Q", **attributes),
        helper.make_node("DequantizeLinear", ["i", *(f"second/{key}" for key in second)], ["d"], "D", **axis),
        helper.make_node("GlobalAveragePool", ["d"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("DequantizeLinear", ["q", "step"], ["v"]),
        helper.make_node("Gemm", ["f", "v"], ["logits"], transB=1),
    ]
    value = helper.make_tensor_value_info
    ends = [value("image", 1, IMAGES[:1].shape)], [value("logits", 1, [1, 5])]
    weights = [numpy_helper.from_array(np.asarray(array), key) for key, array in tensors.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "net", *ends, weights), opset_imports=[helper.make_opsetid("", 21)]
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def pair(step: np.ndarray, zero: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both of a pair the same."""
    both = {"scale": step} | ({} if zero is None else {"zero": zero})
    return both, both


@pytest.mark.parametrize(
    ("of_pair", "attributes", "kinds"),
    [
        (pair(STEP), {"output_dtype": TensorProto.INT8}, []),
        (pair(STEP), {"output_dtype": TensorProto.UINT8}, ["Clip"]),
        (pair(STEP), {}, ["Clip"]),
        (({"scale": STEP, "zero": np.int8(0)}, {"scale": STEP}), {}, []),
        (pair(STEPS, LOWEST), {"axis": 1}, ["Relu"]),
        (pair(STEPS, np.zeros(8, np.uint8)), {"axis": 1}, ["Relu"]),
        (pair(STEPS, np.zeros(8, np.int8)), {"axis": 1}, []),
        (pair(np.full(8, 6 / 255, np.float32), LOWEST), {"axis": 1}, ["Clip"]),
    ],
    ids=["int8", "uint8", "nothing said", "said once", "lowest", "uint8's", "around 0", "6"],
)
def test_the_network_underneath_computes_what_the_file_does(of_pair, attributes, kinds):
    """Without a zero point the type decides whether what is negative is cut off; one scale a channel may cut it off, too."""
    model = network(*of_pair, **attributes)
    fp32, scales = underneath(model, "net.onnx")
    assert [node.op_type for node in fp32.graph.node if node.op_type in ("Relu", "Clip")] == kinds
    assert noise_db(answers(fp32), answers(model)) > 30
    assert scales[-1].weights == pytest.approx([0.02]), "int8 by the integers' own type"


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ({"scale": STEP * 2, "zero": np.int8(0)}, "scale"),
        ({"scale": STEP, "zero": np.int8(20)}, "zero point"),
    ],
)
def test_a_pair_that_does_more_than_to_round_is_named(tmp_path, second, what):
    model = network({"scale": STEP, "zero": np.int8(0)}, second)
    with pytest.raises(
        OctetError, match=rf"net\.onnx: DequantizeLinear 'D' has another {what} than .* Export the model again"
    ):
        source(Path(tmp_path), model).look()


def test_a_pair_of_two_axes_is_named():
    model = network(*pair(STEPS, LOWEST), axis=1)
    next(node for node in model.graph.node if node.name == "D").attribute[0].i = 2
    with pytest.raises(OctetError, match="another axis"):
        underneath(model, "net.onnx")


def test_a_relu_of_some_channels_is_named():
    model = network(*pair(STEPS, np.where(np.arange(8) < 4, -128, 0).astype(np.int8)), axis=1)
    with pytest.raises(OctetError, match="'c' cuts off what is negative in some channels and not in others"):
        underneath(model, "net.onnx")


def without_relu(network: onnx.ModelProto) -> None:
    """As where a pair that stood for a ReLU is read as one that does not."""
    for node in network.graph.node:
        if node.op_type in ("Relu", "Clip"):
            node.op_type = "Identity"
            del node.input[1:]


def with_relu(network: onnx.ModelProto) -> None:
    """The opposite."""
    first = next(node for node in network.graph.node if node.op_type == "Conv")
    after = helper.make_node("Relu", ["before"], [first.output[0]])
    first.output[0] = "before"
    network.graph.node.insert(list(network.graph.node).index(first) + 1, after)


def with_other_scale(network: onnx.ModelProto) -> None:
    first = next(node for node in network.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in network.graph.initializer if tensor.name == first.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(2), weight.name))


WARNING = r"warning: .*net\.onnx: its outputs are -?\d\.\d dB above .* trained model\n"


def compared(folder: Path, model: onnx.ModelProto, change: Callable[[onnx.ModelProto], None]) -> None:
    """Compares a model with the network underneath, changed."""
    fp32, _ = underneath(model, "net.onnx")
    change(fp32)
    run = runner(fp32, "changed")
    steps = source(folder, model).look()
    compare(model, fp32, only_input(model, "net.onnx"), steps, lambda x: run(x)[0].reshape(-1), "net.onnx")


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: network(*pair(STEP, np.int8(0))), with_relu),
        (lambda: network(*pair(STEP, np.uint8(0))), without_relu),
        (lambda: network(*pair(STEP, np.uint8(0))), with_other_scale),
        (lambda: network(*pair(STEPS, LOWEST), axis=1), without_relu),
        (lambda: trained("onnxruntime", residual()).model, without_relu),
        (lambda: with_fake_quantize(trained("tensorrt", residual()).model), without_relu),
    ],
    ids=["more", "less", "scale", "channels", "residual", "openvino"],
)
def test_a_network_that_is_not_the_file_s_is_told(tmp_path, capsys, make, change):
    compared(tmp_path, make(), change)
    assert re.fullmatch(WARNING, capsys.readouterr().err)


@pytest.mark.parametrize("engine", ["tensorrt", "onnxruntime", "openvino", "FakeQuantize"])
def test_rounding_alone_says_nothing(tmp_path, capsys, engine):
    model = trained("tensorrt" if engine == "FakeQuantize" else engine, residual()).model
    source(tmp_path, with_fake_quantize(model) if engine == "FakeQuantize" else model).export(13)
    assert capsys.readouterr().err == ""


def test_few_bits_round_so_coarsely_that_it_is_told(tmp_path, capsys):
    """Integers of 2 bits: most of what the layers read becomes 0."""
    model = with_fake_quantize(trained("tensorrt", residual()).model)
    weights = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "FakeQuantize" and node.input[0] not in weights:
            node.attribute[0].i = 3
    source(tmp_path, model).export(13)
    assert re.fullmatch(WARNING, capsys.readouterr().err)


def test_four_bits_that_are_read_as_eight_are_seen(tmp_path, capsys):
    """A ReLU by integers of 4 bits, whose type numpy does not have: the check alone sees it."""
    model = network(*pair(np.float32(0.48), np.int8(0)))
    for tensor in model.graph.initializer:
        if tensor.name.endswith("/zero"):
            tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.INT4, [], [-8]))
    source(tmp_path, model).export(13)
    assert re.fullmatch(WARNING, capsys.readouterr().err)
