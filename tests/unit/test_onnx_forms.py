"""ONNX files in forms that other programs write: newer versions, linear layers of every kind, what is left out or wrong."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from octet.core.errors import OctetError
from octet.core.folder import NcnnFiles
from octet.core.logits import spread_difference
from octet.core.preprocessing import Preprocessing
from octet.data import preprocess
from octet.export.export import export
from octet.export.onnx_source import OnnxSource
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine
from tests.onnx_nets import PREPROCESS

pytestmark = pytest.mark.unit


def array(*size: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(len(size))).normal(0, 0.4, size).astype(np.float32)


def value(name: str, kind: int = TensorProto.FLOAT, shape=(1, 5)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def network(last=None, weights=None, output=None, opset=13, more=(), shape=(1, 3, 16, 16)) -> onnx.ModelProto:
    """A convolution, and behind it linear layers to five classes, or other operators."""
    weights = {"w": array(8, 3, 3, 3)} | ({"v": array(5, 8), "b": array(5)} if weights is None else weights)
    last = [helper.make_node("Gemm", ["f", "v", "b"], ["l"], transB=1)] if last is None else last
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        *last,
        *more,
    ]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", [value("image", shape=shape)], output or [value("l")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def source(folder, model: onnx.ModelProto, **more) -> OnnxSource:
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return OnnxSource(str(folder / "net.onnx"), Preprocessing.model_validate(PREPROCESS | more))


def as_ncnn(folder, model: onnx.ModelProto, reference: onnx.ModelProto | None = None) -> onnx.ModelProto:
    """What export makes of a model, whose logits ncnn computes as ONNX Runtime does of the reference, or of the model itself."""
    export(source(folder, model), 13, folder / "fp32.onnx", folder / "preprocess.json")
    steps, files = preprocess.load(folder / "preprocess.json"), NcnnFiles.named(folder, "fp32")
    inputs = [steps(image) for image in steps.noise(3)]
    convert(folder / "fp32.onnx", files, inputs)
    session, engine = (
        onnxruntime.InferenceSession((reference or model).SerializeToString()),
        Engine(files.param, files.bin),
    )
    wanted = np.stack([session.run(None, {"image": x[None]})[0].reshape(-1) for x in inputs])
    assert spread_difference(np.stack([engine(x) for x in inputs]), wanted) < 1e-5
    return onnx.load(folder / "fp32.onnx")


@pytest.mark.parametrize(
    ("attributes", "bias"),
    [
        ({}, None),
        ({"transB": 1}, None),
        ({}, (5,)),
        ({"alpha": 0.5}, None),
        ({"alpha": 0.5, "beta": 2.0, "transB": 1}, (1, 5)),
        ({"beta": 2.0}, (1,)),
    ],
)
def test_linear_layers_of_every_kind(tmp_path, attributes, bias):
    weights = {"v": array(5, 8) if attributes.get("transB") else array(8, 5)}
    weights |= {} if bias is None else {"b": array(*bias)}
    as_ncnn(tmp_path, network([helper.make_node("Gemm", ["f", *weights], ["l"], **attributes)], weights))


def test_two_linear_layers_may_have_the_same_weights(tmp_path):
    last = [
        helper.make_node("Gemm", ["f", "v"], ["h"]),
        helper.make_node("Relu", ["h"], ["s"]),
        helper.make_node("Gemm", ["s", "v"], ["l"]),
    ]
    as_ncnn(tmp_path, network(last, {"v": array(8, 8)}, [value("l", shape=(1, 8))]))


@pytest.mark.parametrize("opset", [17, 21, 22, 23, 25])
def test_an_opset_is_lowered_where_no_operator_needs_it(tmp_path, opset):
    """Without a softmax that was cut off the file names the scores alone, of which no shape is known."""
    model = network(opset=opset)
    model.ir_version = max(model.ir_version, min(opset, 23) - 12)
    exported = as_ncnn(tmp_path, model, network())
    assert exported.opset_import[0].version == 13


def test_a_form_of_the_file_that_onnx_runtime_here_does_not_know(tmp_path):
    model = network()
    model.ir_version = 13
    model.opset_import[0].domain = "ai.onnx"
    as_ncnn(tmp_path, model, network())


@pytest.mark.parametrize("lacks", ["type", "shape"])
def test_an_output_s_shape_is_inferred(tmp_path, lacks):
    model = network()
    if lacks == "type":
        model.graph.output[0].ClearField("type")
    else:
        model.graph.output[0].type.tensor_type.ClearField("shape")
    as_ncnn(tmp_path, model)


def test_a_shape_that_onnx_runtime_does_not_infer(tmp_path):
    more = [helper.make_node("Einsum", ["l", "e"], ["s"], equation="ij,jk->ik")]
    weights = {"v": array(5, 8), "b": array(5), "e": array(5, 4)}
    as_ncnn(tmp_path, network(weights=weights, more=more, output=[value("s", shape=(1, 4))]))


def test_a_shape_that_onnx_does_not_infer(tmp_path):
    """A squeeze of all axes of one leaves their number open where the batch is."""
    more = [helper.make_node("Squeeze", ["l"], ["o"])]
    model = network(more=more, output=[value("o", shape=None)], shape=("n", 3, 16, 16))
    assert not onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.HasField("shape")
    as_ncnn(tmp_path, model)


def without(field: str) -> onnx.ModelProto:
    model = network()
    if field == "input":
        model.graph.input[0].type.tensor_type.ClearField("shape")
    elif field == "outputs":
        del model.graph.output[:]
    else:
        del model.opset_import[:]
    return model


def training(**inputs: np.ndarray) -> onnx.ModelProto:
    more = [helper.make_node("Dropout", ["l", *inputs], ["s"])]
    return network(weights={"v": array(5, 8), "b": array(5)} | inputs, more=more, output=[value("s")])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network(opset=6), "is of opset 6; expected 7 to 21. Export it with a newer one"),
        (network(opset=26), "is of opset 26; expected 7 to 21, or up to 25 where all operators are as in 21. Export"),
        (
            network(more=[helper.make_node("Swish", ["l"], ["s"])], output=[value("s")], opset=24),
            "expected 7 to 21, or up to 25 where all operators are as in 21, as Swish is not. Export it with an older opset",
        ),
        (without("input"), "the input 'image' has no shape; expected an image: [1, channels, height, width]"),
        (without("outputs"), "has no outputs; expected one"),
        (without("opset"), "no ONNX model: it does not say its opset"),
        (
            network(
                more=[helper.make_node("SequenceConstruct", ["l"], ["s"])],
                output=[helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)],
            ),
            "the output 's' is no tensor but sequence",
        ),
        (
            network(
                more=[helper.make_node("Cast", ["l"], ["s"], to=TensorProto.INT64)],
                output=[value("s", TensorProto.INT64)],
            ),
            "the output 's' has the type int64 and the shape [1, 5]; expected numbers (float)",
        ),
        (
            training(ratio=np.float32(0.5), mode=np.array(True)),
            "computes with random numbers, or as in training (Dropout)",
        ),
        (
            network(weights={"v": array(5, 8), "b": np.array([np.nan] * 5, np.float32)}),
            "its outputs are not finite (NaN or infinite), as are numbers in b",
        ),
        (
            network(shape=(1, 3, 16, 100_000)),
            "the input 'image' is 16 x 100000; expected at most 10,000 pixels an edge",
        ),
    ],
)
def test_what_is_refused_is_named(tmp_path, model, message):
    with pytest.raises(OctetError) as raised:
        source(tmp_path, model).export(13)
    assert str(raised.value).startswith(f"{tmp_path / 'net.onnx'}: ")
    assert message in str(raised.value)


def test_a_dropout_that_is_off_is_taken(tmp_path):
    as_ncnn(tmp_path, training(ratio=np.float32(0.5), mode=np.array(False)))


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("length", "99999999999", r"net\.bin: cut off \([\d,]+ bytes\): .*net\.onnx has the tensor 'w' in it up to"),
        ("location", "", "its tensors lie in ''; expected a file beside it"),
        ("offset", "some", "damaged or cut off"),
    ],
)
def test_places_of_tensors_that_cannot_be(tmp_path, key, text, message):
    onnx.save(network(), tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = text if entry.key == key else entry.value
    with pytest.raises(OctetError, match=message):
        source(tmp_path, model).look()
