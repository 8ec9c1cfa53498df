"""ONNX files as the source of a model. The oracle is ONNX Runtime on the file as it is."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import NcnnFiles
from octet.core.logits import spread_difference
from octet.core.preprocessing import PRESETS, Preprocessing
from octet.data import preprocess
from octet.export.export import export
from octet.export.onnx_source import OnnxSource
from octet.export.sources import source_of
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine
from tests.onnx_nets import PREPROCESS, classifier, features

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def given(**more) -> Preprocessing:
    return Preprocessing.model_validate(PREPROCESS | more)


def source(folder: Path, model: onnx.ModelProto, **more) -> OnnxSource:
    onnx.save(model, folder / "net.onnx")
    return OnnxSource(str(folder / "net.onnx"), given(**more))


def exported(folder: Path, source: OnnxSource, opset: int = 13) -> tuple[onnx.ModelProto, preprocess.Preprocess]:
    export(source, opset, folder / "fp32.onnx", folder / "preprocess.json")
    return onnx.load(folder / "fp32.onnx"), preprocess.load(folder / "preprocess.json")


def original(folder: Path, x: np.ndarray, layout: str = "NCHW") -> np.ndarray:
    """What ONNX Runtime computes with the file itself, from a network input of Octet's."""
    batch = x[None].transpose(0, 2, 3, 1) if layout == "NHWC" else x[None]
    model = onnx.load(folder / "net.onnx")
    if (
        model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    ):  # of which ONNX Runtime has no convolution
        model = classifier()  # the same numbers, rounded
    entry = model.graph.input[0]
    feed = {entry.name: batch.astype(onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type))}
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 12, 13, 15, 17, 18, 20, 21])
def test_every_opset_becomes_one_that_all_stages_read_and_gives_the_file_s_own_scores(tmp_path, opset):
    model, steps = exported(tmp_path, source(tmp_path, classifier(opset)))
    assert [entry.version for entry in model.opset_import] == [13]
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 16, 16]
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("input", "output")
    types = {node.op_type for node in model.graph.node}
    assert not {"Softmax", "BatchNormalization"} & types
    assert len({node.name for node in model.graph.node} - {""}) == len(model.graph.node), (
        "PPQ finds nodes by their names"
    )
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert [3, 3] in [list(a.ints) for a in node.attribute if a.name == "kernel_shape"], "PPQ asks for it"
    files = NcnnFiles.named(tmp_path, "fp32")
    images = [steps(image) for image in steps.noise(4)]
    convert(tmp_path / "fp32.onnx", files, images)
    engine = Engine(files.param, files.bin)
    for x in images:
        assert np.abs(softmax(engine(x)) - original(tmp_path, x)[0]).max() < 1e-5


@pytest.mark.parametrize(
    ("model", "more", "layout"),
    [
        (classifier(shape=("n", 3, "h", "w")), {"size": [16, 20]}, "NCHW"),
        (classifier(shape=(1, 3, 16, 16), name="input"), {}, "NCHW"),
        (classifier(shape=("n", 16, 16, 3), nhwc=True), {}, "NHWC"),
        (classifier(shape=(None, None, None, 3), nhwc=True), {"size": [16, 16]}, "NHWC"),
        (classifier(uint8=True), {"mean": 0, "std": 1}, "NCHW"),
        (classifier(uint8=True, nhwc=True, shape=("n", 16, 16, 3)), {"mean": 0, "std": 1}, "NHWC"),
        (classifier(dtype=np.float64), {}, "NCHW"),
        (classifier(end=()), {}, "NCHW"),
        (classifier(end=("LogSoftmax", "Identity")), {}, "NCHW"),
        (classifier(end=("Identity", "Softmax")), {}, "NCHW"),
    ],
)
def test_layouts_sizes_types_and_ends(tmp_path, model, more, layout):
    given_source = source(tmp_path, model, **more)
    result, steps = exported(tmp_path, given_source)
    session = onnxruntime.InferenceSession(result.SerializeToString())
    kind = original(tmp_path, steps(steps.noise(1)[0]), layout)
    for x in map(steps, steps.noise(3)):
        logits, own = session.run(None, {"input": x[None]})[0], original(tmp_path, x, layout)
        assert logits.shape == own.shape == (1, 5)
        assert spread_difference(softmax(logits), softmax(own) if kind.min() < 0 else own) < 1e-5
        assert spread_difference(given_source.run()(x), logits[0]) < 1e-5


def test_half_precision_is_compared_at_its_own_precision(tmp_path):
    result, _ = exported(tmp_path, source(tmp_path, classifier(dtype=np.float16)))
    assert {tensor.data_type for tensor in result.graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


def test_tensors_in_a_file_beside_it(tmp_path):
    onnx.save(classifier(), tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    exported(tmp_path, OnnxSource(str(tmp_path / "net.onnx"), given()))
    (tmp_path / "net.bin").unlink()
    with pytest.raises(OctetError, match="net.bin: no such file; tensors of .*net.onnx lie in it"):
        OnnxSource(str(tmp_path / "net.onnx"), given()).look()


def test_an_entry_s_model_is_one_file(tmp_path):
    """What make quantize ONNX= makes of others; DVC would not see that the second one changes."""
    path = tmp_path / "net.onnx"
    onnx.save(classifier(), path, save_as_external_data=True, location="net.bin", size_threshold=0)
    entry = params.Model.model_construct(onnx=str(path), preprocess=given())
    with pytest.raises(
        OctetError, match="net.onnx: tensors of it lie in net.bin, where DVC does not see that"
    ) as raised:
        source_of(entry)
    command = str(raised.value).partition('python -c "')[2].rstrip('"')
    subprocess.run([sys.executable, "-c", command], check=True)
    (tmp_path / "net.bin").unlink()
    whole = params.Model.model_construct(onnx=str(tmp_path / "net_whole.onnx"), preprocess=given())
    exported(tmp_path, source_of(whole))


def quantized() -> onnx.ModelProto:
    model = classifier()
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "scale"))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["image", "scale"], ["q"]))
    return model


def custom() -> onnx.ModelProto:
    model = classifier(end=())
    model.graph.node[-1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def two_outputs() -> onnx.ModelProto:
    model = classifier()
    model.graph.output.append(helper.make_tensor_value_info("p", onnx.TensorProto.FLOAT, (None,) * 4))
    return model


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        (classifier(inputs=2), {}, "has 2 inputs ('image', 'more1'); Octet quantizes networks with one image as input"),
        (
            two_outputs(),
            {"classes": ["a", "b", "c", "d", "e"]},
            "'classes' in 'preprocess' has 5 names, but its outputs are no class scores: 'end0' of [1, 5], 'p' of [1, 16, 1, 1];",
        ),
        (classifier(end=("Sigmoid",)), {}, "ends in Sigmoid, which gives an image several labels"),
        (classifier(end=("ArgMax",)), {}, "ends in ArgMax: it tells classes and no scores"),
        (quantized(), {}, "is quantized already (QuantizeLinear); Octet quantizes fp32 models"),
        (custom(), {}, "has operators that ONNX does not define: com.microsoft.Add"),
        (
            classifier(),
            {"size": [32, 16]},
            "'size' in 'preprocess' is [32, 16] (height, width), and the input 'image' is 16 x 16",
        ),
        (
            classifier(shape=("n", 3, "h", "w")),
            {},
            "takes images of any size. Write which into 'preprocess', as 'size: [224, 224]'",
        ),
        (classifier(shape=("n", "c", "h", "w")), {}, "which does not tell its layout. Write 'layout: NCHW'"),
        (classifier(shape=("n", 4, 16, 16)), {"layout": "NCHW"}, "as NCHW with 4 channels; expected 3, or 1 (grey)"),
        (classifier(shape=(4, 3, 16, 16)), {}, "takes 4 images at once; expected one, or any number"),
        (classifier(shape=(1, 3, 16)), {}, "has the shape [1, 3, 16]; expected an image"),
        (
            classifier(),
            {"channel_order": "GREY", "mean": 1, "std": 2},
            "has 3 channels, and 'channel_order: GREY' in 'preprocess' means 1",
        ),
        (classifier(), {"classes": ["a", "b"]}, "2 class names in 'preprocess', but the model has 5 outputs"),
        (
            classifier(uint8=True),
            {},
            "takes grey levels (uint8) and normalizes them itself; expected 'preprocess: none'",
        ),
    ],
)
def test_what_is_refused_is_named(tmp_path, model, more, message):
    with pytest.raises(OctetError) as raised:
        exported(tmp_path, source(tmp_path, model, **more))
    assert str(raised.value).startswith(f"{tmp_path / 'net.onnx'}: ")
    assert message in str(raised.value)
    assert not (tmp_path / "fp32.onnx").exists()


@pytest.mark.parametrize("data", [b"", b"no model", classifier().SerializeToString()[:-300], b"\x08\x08"])
def test_a_file_that_is_no_model_or_is_cut_off(tmp_path, data):
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(OctetError, match="net.onnx: (no ONNX model|damaged or cut off).*etch it again"):
        OnnxSource(str(tmp_path / "net.onnx"), given()).look()


@pytest.mark.parametrize("change", [lambda dims: dims.pop(), lambda dims: dims.append(1)])
def test_a_file_on_which_onnx_runtime_ends_its_process(tmp_path, change):
    """A weight of one axis less or more: valid for ONNX's checker, but an assertion of ONNX Runtime's fails, which is C++."""
    model = classifier()
    change(next(tensor for tensor in model.graph.initializer if tensor.name == "w1").dims)
    with pytest.raises(OctetError, match=r"net\.onnx: "):
        source(tmp_path, model).look()


def test_what_to_write_where_nothing_says_what_happens_to_an_image(tmp_path):
    """The example has the model's own size, and is valid as it is."""
    onnx.save(classifier(shape=("n", 3, 16, 24)), tmp_path / "net.onnx")
    with pytest.raises(OctetError) as raised:
        OnnxSource(str(tmp_path / "net.onnx"), None).look()
    text = str(raised.value)
    assert "a preset (imagenet, none), a YAML file, or, as it was trained," in text
    from octet.core import yaml

    example = yaml.parse(text[text.index("preprocess:\n") - 2 :], "example").values["preprocess"]
    assert example == {"size": [16, 24]} | PRESETS["imagenet"]
    Preprocessing.model_validate(example)


def test_neither_torch_nor_mmcls_is_imported(tmp_path):
    onnx.save(classifier(), tmp_path / "net.onnx")
    code = f"""
import sys
from pathlib import Path
from octet.core.preprocessing import Preprocessing
from octet.export.export import export
from octet.export.onnx_source import OnnxSource
given = Preprocessing.model_validate({PREPROCESS!r})
export(OnnxSource("net.onnx", given), 13, Path("fp32.onnx"), Path("preprocess.json"))
assert not {{"torch", "mmcls", "mmcv"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


def test_outputs_that_are_no_class_scores_are_kept_with_their_names_and_order(tmp_path):
    result, steps = exported(tmp_path, source(tmp_path, features()))
    assert [value.name for value in result.graph.output] == ["output_0", "output_1"]
    assert (steps.classes, steps.sizes) == ([], [4 * 256, 8 * 256])
    assert [output.name for output in steps.outputs] == ["scores", "features"]
    files = NcnnFiles.named(tmp_path, "fp32")
    images = [steps(image) for image in steps.noise(2)]
    assert convert(tmp_path / "fp32.onnx", files, images) < 1e-5
    own = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"image": images[0][None]})
    values = np.concatenate([output.reshape(-1) for output in own])
    assert np.abs(Engine(files.param, files.bin)(images[0]) - values).max() < 1e-4


def test_an_entry_may_say_that_what_looks_like_class_scores_is_none(tmp_path):
    model = classifier(end=("Sigmoid",))
    result, steps = exported(tmp_path, source(tmp_path, model, classes=[]))
    assert [node.op_type for node in result.graph.node][-1] == "Sigmoid"
    assert (steps.classes, [(output.name, output.shape) for output in steps.outputs]) == ([], [("end0", [5])])
    with pytest.raises(OctetError, match="make predict: is for class scores, and this model gives other outputs"):
        steps.needs_classes("make predict")


def test_an_output_that_is_the_same_for_every_image_is_refused(tmp_path):
    model = features()
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 3), np.float32), "one"))
    model.graph.node.append(helper.make_node("Add", ["one", "one"], ["two"]))
    model.graph.output.append(helper.make_tensor_value_info("two", onnx.TensorProto.FLOAT, (1, 3)))
    with pytest.raises(OctetError, match="the output 'two' is the same for every image; export it without that one"):
        exported(tmp_path, source(tmp_path, model))
