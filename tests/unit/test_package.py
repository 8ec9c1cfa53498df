"""The bundle: the same bytes, an example that pre-processes as the pipeline does, and what MMDeploy's SDK reads."""

import io
import json
import runpy
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from octet.data.geometry import CenterCrop, CropAndResize, Resize
from octet.data.image_files import read
from octet.data.preprocess import Preprocess
from octet.ncnn.net import Net, save_net
from octet.package import sdk
from octet.package.bundle import zipped
from octet.package.examples import cpp, python
from tests import nets

pytestmark = pytest.mark.unit

CASES = {
    "as it is": ("RGB", {}),
    "BGR": ("BGR", {}),
    "exact size": ("BGR", {"geometry": [Resize(8, 8, None, "bilinear", "cv2")]}),
    "short edge": ("RGB", {"geometry": [Resize(9, -1, "short", "bilinear", "cv2"), CenterCrop(8, 8)]}),
    "long edge": ("RGB", {"geometry": [Resize(20, -1, "long", "bilinear", "cv2"), CenterCrop(8, 8)]}),
    "height": ("RGB", {"geometry": [Resize(20, -1, "height", "nearest", "cv2"), CenterCrop(8, 8)]}),
    "width": ("RGB", {"geometry": [Resize(30, -1, "width", "area", "cv2"), CenterCrop(8, 8)]}),
    "cover": ("RGB", {"geometry": [Resize(9, 11, "cover", "bilinear", "cv2"), CenterCrop(8, 8)]}),
    "pillow": ("BGR", {"geometry": [Resize(11, -1, "short", "bicubic", "pillow"), CenterCrop(8, 8)]}),
    "efficientnet": ("RGB", {"geometry": [CropAndResize(8, 3, "bilinear", "cv2")]}),
    "both": ("RGB", {"geometry": [Resize(9, 9, None, "lanczos", "pillow"), CropAndResize(8, 3, "bicubic", "cv2")]}),
    "fp32 and fp16": (
        "RGB",
        {"geometry": [Resize(8, 8, None, "bilinear", "cv2")], "to_float32": True, "to_half": True},
    ),
    "grey": ("GREY", {"geometry": [Resize(8, 8, None, "bilinear", "cv2")]}),
    "unturned": ("RGB", {"geometry": [CenterCrop(8, 8)], "color_type": "color_ignore_orientation"}),
}


def steps_of(name):
    order, more = CASES[name]
    mean, std = ([120.1, 110.2, 100.3], [58.1, 57.2, 56.3]) if order != "GREY" else ([33.3], [78.5])
    return Preprocess(order, mean, std, [8, 8], ["cat", "dog", "owl", "élan"], **more)


def content(steps):
    """preprocess.json's."""
    return vars(steps) | {"geometry": [{"step": type(step).__name__, **vars(step)} for step in steps.geometry]}


def example(folder, steps):
    """Writes the example, a small network for it, and images: of 8x8 pixels, wide, high, and turned by EXIF."""
    net, shape = nets.small(), (3,)
    if steps.channels == 1:
        net, shape = Net([net.layers[0], nets.conv("conv_1", "in0", "1", 1, 8, seed=1), *net.layers[2:]]), ()
    save_net(net, folder / "int8.param", folder / "int8.bin")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in steps.classes), encoding="utf-8")
    (folder / "predict.py").write_text(python(content(steps), ("in0", "out0")))
    random = np.random.Generator(np.random.PCG64(0))
    for name, size in (("small", (8, 8)), ("wide", (31, 50)), ("high", (47, 24)), ("turned", (30, 40))):
        image = Image.fromarray(random.integers(0, 256, (*size, *shape), dtype=np.uint8))
        exif = image.getexif()
        if name == "turned":
            exif[0x0112] = 6
        image.save(folder / f"{name}.png", exif=exif)


def run(folder, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["predict.py", str(folder / name)])
    return runpy.run_path(str(folder / "predict.py"))


@pytest.mark.parametrize("case", CASES)
def test_the_python_example_pre_processes_bit_for_bit(case, tmp_path, monkeypatch, capsys):
    steps = steps_of(case)
    example(tmp_path, steps)
    for name in ("small.png", "wide.png", "high.png", "turned.png") if steps.geometry else ("small.png",):
        result = run(tmp_path, name, monkeypatch)["x"]
        wanted = steps(read(tmp_path / name, steps.color_type if steps.channels == 3 else "grayscale"))
        assert result.dtype == np.float32
        assert np.array_equal(result, wanted), name
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{tmp_path / 'small.png'}: ")
    assert first.endswith(" %")


def test_another_size_ends_the_example(tmp_path, monkeypatch):
    example(tmp_path, steps_of("as it is"))
    with pytest.raises(SystemExit, match="wide.png: 50x31 pixels, expected 8x8"):
        run(tmp_path, "wide.png", monkeypatch)


@pytest.mark.parametrize("file", ["int8.bin", "int8.param"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_model_ends_the_example(tmp_path, monkeypatch, file, share):
    """ncnn says that it cannot load it, and ends the process when it is run all the same."""
    example(tmp_path, steps_of("as it is"))
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data[: int(share * len(data))])
    with pytest.raises(SystemExit, match=r"int8\.param or int8\.bin is damaged: 'sha256sum -c SHA256SUMS' tells which"):
        run(tmp_path, "small.png", monkeypatch)


@pytest.mark.parametrize("name", ["nothing.png", "labels.txt", "."])
def test_what_is_no_image_ends_the_example(tmp_path, monkeypatch, name):
    example(tmp_path, steps_of("as it is"))
    with pytest.raises(SystemExit, match="no image that can be read: "):
        run(tmp_path, name, monkeypatch)


@pytest.mark.parametrize(("case", "more"), [("short edge", ""), ("pillow", ""), ("both", ", OpenCV (cv2)")])
def test_the_example_asks_for_no_more_than_it_needs(case, more):
    first = python(content(steps_of(case)), ("in0", "out0")).splitlines()[0]
    assert first.endswith(f'Needs ncnn, numpy, Pillow{more}."""')


def test_the_zip_is_the_same_bytes_and_sorted():
    data = zipped({"b/x": b"1", "a/y": b"22"})
    assert data == zipped({"a/y": b"22", "b/x": b"1"})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["a/y", "b/x"]
        assert archive.read("a/y") == b"22"
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_sdk_s_pipeline():
    """The transforms are those that MMDeploy 1.3.1 writes for mmcls's ImageNet configs, but for PackInputs' new keys."""
    geometry = [Resize(256, -1, "short", "bilinear", "cv2"), CenterCrop(224, 224)]
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    steps = content(Preprocess("RGB", mean, std, [224, 224], ["a"] * 1000, geometry=geometry))
    tasks = sdk.pipeline("m", steps, ("in0", "out0"))["pipeline"]["tasks"]
    assert [task["input"] for task in tasks] == [["img"], ["prep_output"], ["infer_output"]]
    assert [task["module"] for task in tasks] == ["Transform", "Net", "mmcls"]
    *transforms, collect = tasks[0]["transforms"]
    assert transforms == [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "size": [256, -1], "keep_ratio": False, "interpolation": "bilinear"},
        {"type": "CenterCrop", "crop_size": [224, 224]},
        {"type": "Normalize", "mean": mean, "std": std, "to_rgb": True},
        {"type": "ImageToTensor", "keys": ["img"]},
    ]
    assert collect["type"] == "Collect"
    assert collect["keys"] == ["img"]
    assert "img_norm_cfg" in collect["meta_keys"]
    assert (tasks[1]["input_map"], tasks[1]["output_map"]) == ({"img": "in0"}, {"output": "out0"})
    assert tasks[2]["component"] == "LinearClsHead"
    assert tasks[2]["params"]["topk"] == 5
    assert sdk.exact(steps)
    assert not sdk.exact(content(steps_of("pillow")))
    assert not sdk.exact(content(steps_of("efficientnet")))


def test_the_sdk_s_model():
    model = sdk.deploy("m")["models"][0]
    assert (model["net"], model["weights"], model["backend"], model["precision"]) == (
        "int8.param",
        "int8.bin",
        "ncnn",
        "INT8",
    )
    assert set(model) == {"name", "net", "weights", "backend", "precision", "batch_size", "dynamic_shape"}
    result = sdk.detail("mmcls", "0.25.0", "/home/x/configs/a.py", "/home/x/a.pth", 13, {})
    assert "/home" not in json.dumps(result)
    assert result["codebase"]["pth"] == "a.pth"
    of_onnx = sdk.detail("onnx", "1.17.0", "models/net.onnx", "models/net.onnx", 13, {})["codebase"]
    assert of_onnx == {
        "task": "Classification",
        "codebase": "onnx",
        "version": "1.17.0",
        "pth": "net.onnx",
        "config": "net.onnx",
    }


@pytest.mark.parametrize("case", CASES)
def test_the_cpp_example_says_what_it_cannot_do(case):
    text = cpp(content(steps_of(case)), ("in0", "out0"))
    assert ("which ncnn does not have" in text) == (case in ("height", "width", "pillow", "both", "fp32 and fp16"))
    assert ("PIXEL_GRAY" in text, "PIXEL_RGB2BGR" in text) == (case == "grey", CASES[case][0] == "BGR")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("case", CASES)
def test_the_cpp_example_for_another_engine_says_what_it_cannot_do(case, engine):
    """tests/slow/test_engine_example.py builds it."""
    text = cpp(content(steps_of(case)), ("in0", "out0"), engine)
    assert ("which this program does not have" in text) == (
        case in ("height", "width", "pillow", "both", "fp32 and fp16")
    )
    assert ("+ 2 - channel" in text) == (CASES[case][0] == "BGR")
    assert "ncnn" not in text
