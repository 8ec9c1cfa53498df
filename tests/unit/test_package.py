"""The bundle: the same bytes, an example that pre-processes as the pipeline does, and what MMDeploy's SDK reads."""

import io
import json
import runpy
import subprocess
import sys
import zipfile
from dataclasses import replace

import cv2
import ncnn
import numpy as np
import pytest
from PIL import Image

from octet.core.errors import Unreadable
from octet.data.geometry import CenterCrop, CropAndResize, Resize
from octet.data.image_files import read
from octet.data.preprocess import Preprocess
from octet.evaluate.accuracy import Accuracy
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, save_net
from octet.package import sdk
from octet.package.bundle import zipped
from octet.package.card import card
from octet.package.examples import cpp, python
from octet.project.provenance import Provenance
from tests import nets
from tests.unit.test_report import SUMMARY

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
    "grey": ("GREY", {"geometry": [Resize(8, 8, None, "bilinear", "cv2")], "color_type": "grayscale"}),
    "grey, unturned": (
        "GREY",
        {"geometry": [Resize(8, 8, None, "area", "cv2")], "color_type": "grayscale_ignore_orientation"},
    ),
    "grey, Pillow": ("GREY", {"geometry": [Resize(8, 8, None, "box", "pillow")], "color_type": "grayscale"}),
    "unturned": ("RGB", {"geometry": [CenterCrop(8, 8)], "color_type": "color_ignore_orientation"}),
}
INEXACT = ("height", "width", "pillow", "both", "fp32 and fp16", "grey, unturned", "grey, Pillow")  # in C++


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
    for name, size in (
        ("small", (8, 8)),
        ("wide", (31, 50)),
        ("high", (47, 24)),
        ("dot", (1, 1)),
        ("line", (1, 31)),
        ("turned", (30, 40)),
    ):
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
    names = ("small.png", "wide.png", "high.png", "turned.png") if steps.geometry else ("small.png",)
    if case == "efficientnet":  # which cuts 8 / 11 of the one pixel out
        names += ("dot.png",)
    for name in names:
        result = run(tmp_path, name, monkeypatch)["x"]
        wanted = steps(read(tmp_path / name, steps.color_type))
        assert result.dtype == np.float32
        assert np.array_equal(result, wanted), name
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{tmp_path / 'small.png'}: ")
    assert first.endswith(" %")


def image_files(folder):
    """Files of every format, mode and turn that are usual, and of 16 bits and CMYK, which are less so."""
    random = np.random.Generator(np.random.PCG64(0))
    colors = random.integers(0, 256, (17, 23, 4), dtype=np.uint8)
    deep = random.integers(0, 65536, (17, 23, 3), dtype=np.uint16)
    rgba, levels = Image.fromarray(colors), Image.fromarray(deep[..., 0])
    rgb, palette = rgba.convert("RGB"), rgba.convert("RGB").quantize(40)
    smooth = rgb.resize((64, 48), Image.Resampling.BICUBIC)
    saved = {
        **{f"{mode}.png": rgba.convert(mode) for mode in ("RGB", "RGBA", "L", "LA", "1")},
        **{f"{mode}.{ending}": rgb.convert(mode) for mode in ("RGB", "L") for ending in ("bmp", "tif", "ppm", "webp")},
        **{f"16.{ending}": levels for ending in ("png", "tif")},
        **{f"{image.mode}.jpg": image for image in (smooth, smooth.convert("L"), smooth.convert("CMYK"))},
        "ink.jpg": Image.merge("CMYK", rgba.split()),
        "P.png": palette,
    }
    for name, image in saved.items():
        image.save(folder / name)
    palette.save(folder / "clear.png", transparency=3)
    (folder / "16.pgm").write_bytes(b"P5 23 17 65535\n" + deep[..., 0].astype(">u2").tobytes())
    cv2.imwrite(str(folder / "16_RGB.png"), deep)
    for quality in (50, 95):
        for sampling in range(3):
            smooth.save(folder / f"{quality}_{sampling}.jpg", quality=quality, subsampling=sampling)
    exif = Image.Exif()
    for turn in range(1, 9):
        exif[0x0112] = turn
        for ending in ("png", "jpg", "tif", "webp"):
            smooth.save(folder / f"turn{turn}.{ending}", exif=exif)
        levels.save(folder / f"turn{turn}_16.png", exif=exif)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("case", ["as it is", "unturned", "grey", "grey, unturned"])
def test_the_python_example_reads_files_as_the_pipeline_does(case, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    steps = steps_of(case)
    example(tmp_path, steps)
    of_example = run(tmp_path, "small.png", monkeypatch)["read"]
    for path in image_files(tmp_path / "images"):
        made, wanted = of_example(str(path)), read(path, steps.color_type)
        assert made.dtype == np.uint8
        assert np.array_equal(made, wanted), path.name


def test_the_python_example_takes_nothing_but_rgb_where_a_file_is_read_as_it_lies(tmp_path, monkeypatch):
    monkeypatch.setitem(CASES, "unchanged", ("RGB", {"color_type": "unchanged"}))
    example(tmp_path, steps_of("unchanged"))
    of_example = run(tmp_path, "small.png", monkeypatch)["read"]
    assert np.array_equal(of_example(tmp_path / "turned.png"), read(tmp_path / "turned.png", "unchanged"))
    Image.new("RGBA", (8, 8)).save(tmp_path / "small.png")
    with pytest.raises(SystemExit, match="small.png: no image that can be read: expected RGB .* found RGBA"):
        run(tmp_path, "small.png", monkeypatch)


IN_PLACE = {
    "ReLU": [Layer("ReLU", "first", ["in0"], ["image"])],
    "BinaryOp": [Layer("BinaryOp", "first", ["in0"], ["image"], {0: "2", 1: "1", 2: "0.5"})],
    "Split": [
        Layer("Split", "first", ["in0"], ["a", "b"]),
        Layer("ReLU", "second", ["a"], ["c"]),
        Layer("BinaryOp", "third", ["c", "b"], ["image"], {0: "0"}),
    ],
}


@pytest.mark.parametrize("first", IN_PLACE)
def test_a_network_that_begins_in_place_runs_in_the_python_example(first, tmp_path):
    """In memory that was not its own, ncnn ended the process. Of 7x5 pixels, a channel of ncnn's is longer than they are."""
    steps = Preprocess("RGB", [128.0] * 3, [50.0] * 3, [7, 5], ["cat", "dog", "owl", "élan"])
    example(tmp_path, steps)
    entry, conv, *rest = nets.small().layers
    save_net(
        Net([entry, *IN_PLACE[first], replace(conv, inputs=["image"]), *rest]),
        tmp_path / "int8.param",
        tmp_path / "int8.bin",
    )
    Image.fromarray(np.random.Generator(np.random.PCG64(0)).integers(0, 256, (7, 5, 3), np.uint8)).save(
        tmp_path / "x.png"
    )
    done = subprocess.run([sys.executable, "predict.py", "x.png"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logits = Engine(tmp_path / "int8.param", tmp_path / "int8.bin")(steps(read(tmp_path / "x.png"))).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum()
    best = np.argsort(-shares)
    assert done.stdout.splitlines() == [f"x.png: {steps.classes[k]} {100 * shares[k]:.2f} %" for k in best]


def test_an_image_of_which_nothing_is_left_ends_the_example(tmp_path, monkeypatch):
    steps = steps_of("efficientnet")
    example(tmp_path, steps)
    with pytest.raises(Unreadable):
        steps(read(tmp_path / "line.png"))
    with pytest.raises(SystemExit, match="line.png: 31x1 pixels, of which cutting leaves nothing to resize"):
        run(tmp_path, "line.png", monkeypatch)


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


@pytest.mark.parametrize("name", ["nothing.png", "labels.txt", ".", "empty.png"])
@pytest.mark.parametrize("case", ["as it is", "grey"])
def test_what_is_no_image_ends_the_example(tmp_path, monkeypatch, name, case):
    example(tmp_path, steps_of(case))
    (tmp_path / "empty.png").touch()
    with pytest.raises(SystemExit, match="no image that can be read: "):
        run(tmp_path, name, monkeypatch)


@pytest.mark.parametrize(
    ("case", "more"),
    [
        ("short edge", ", Pillow"),
        ("pillow", ", Pillow"),
        ("both", ", Pillow, OpenCV (cv2)"),
        ("grey", ", OpenCV (cv2)"),
        ("grey, Pillow", ", Pillow, OpenCV (cv2)"),
    ],
)
def test_the_example_asks_for_no_more_than_it_needs(case, more):
    first = python(content(steps_of(case)), ("in0", "out0")).splitlines()[0]
    assert first.endswith(f'Needs ncnn, numpy{more}."""')


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


@pytest.mark.parametrize("size", [[8, 8], [7, 5], [6, 6], [7, 4], [225, 225], [1, 3]])
@pytest.mark.parametrize("order", ["RGB", "GREY"])
def test_the_sdk_gives_ncnn_channels_without_gaps(size, order):
    """NCNNNet::Forward: ncnn::Mat(shape[3], shape[2], shape[1], tensor.data()); ncnn's Mat says where it looks for a channel."""
    count = 3 if order == "RGB" else 1
    steps = content(Preprocess(order, [0.0] * count, [1.0] * count, size, ["cat", "dog"]))
    shifted = ncnn.Mat(size[1], size[0], count).cstep != size[0] * size[1]
    assert bool(sdk.unfit(steps, nets.small())) == (shifted and count > 1)
    if shifted and count > 1:
        assert f"of {size[0]} x {size[1]} pixels" in sdk.unfit(steps, nets.small())


@pytest.mark.parametrize("first", IN_PLACE)
def test_the_sdk_crashes_where_a_network_begins_in_place(first):
    entry, conv, *rest = nets.small().layers
    net = Net([entry, *IN_PLACE[first], replace(conv, inputs=["image"]), *rest])
    steps = content(steps_of("as it is"))
    assert f"reads the network's input ({first if first != 'Split' else 'ReLU'})." in sdk.unfit(steps, net)


@pytest.mark.parametrize("kind", ["Pooling", "Padding", "Permute", "Interp"])
def test_a_first_layer_that_gives_memory_of_its_own_suits_the_sdk(kind):
    entry, conv, *rest = nets.small().layers
    first = Layer(kind, "first", [entry.outputs[0]], ["image"])
    net = Net([entry, first, replace(conv, inputs=["image"]), *rest])
    assert sdk.unfit(content(steps_of("as it is")), net) == ""


def test_a_resize_that_covers_is_none_of_the_sdk_s():
    steps = content(steps_of("as it is"))
    steps["geometry"] = [{"step": "Resize", "height": 8, "width": 12, "edge": "cover", "interpolation": "bilinear"}]
    assert "no resize" in sdk.unfit(steps, nets.small())


def test_convolutions_behind_a_split_suit_the_sdk():
    layers = [nets.conv("conv_1", "a", "1", 3, 8), nets.conv("conv_2", "b", "2", 3, 8)]
    net = Net([Layer("Input", "in0", [], ["in0"]), Layer("Split", "split", ["in0"], ["a", "b"]), *layers])
    assert sdk.unfit(content(steps_of("as it is")), net) == ""


@pytest.mark.parametrize(
    ("case", "unfit", "words"),
    [
        ("as it is", "", ["`deploy.json`, `pipeline.json` and `detail.json` make this folder"]),
        ("as it is", "ncnn crashes.", ["**MMDeploy SDK.** Its files are left out: ncnn crashes.\n"]),
        ("fp32 and fp16", "", ["or newer.\nIt does not round its input to fp16 (ToHalf), as the pipeline does.\n"]),
        ("fp32 and fp16", "", ["OpenCV's bilinear filter in fp32.\n", ", rounded to fp16.\n"]),
        ("short edge", "", ["or newer.\nIts CenterCrop lies one pixel beside the pipeline's"]),
        ("pillow", "", ["or newer.\nIts resizing differs from the pipeline's"]),
        ("as it is", "", ["Of TIFF and PNM files that holds for 8 bits a channel"]),
        (
            "grey",
            "",
            [
                "`pip install ncnn numpy opencv-python-headless`",
                "It gives the very predictions of\nOctet's pipeline.\n",
            ],
        ),
    ],
)
def test_the_card_says_what_differs(case, unfit, words):
    steps = content(steps_of(case))
    made = Provenance("c.py", "mmcls", [], 13, "dotprod", vars(nets.settings()), "test", 100)
    machine = {"cpu": "Xeon", "cores": 2, "features": ["avx2"], "system": "Linux", "ncnn": ncnn.__version__}
    accuracy = Accuracy(5000, 95.64, 99.12, 95.66, 95.64, 95.64)
    summary = replace(SUMMARY, machine=machine)
    text = card("net", made, steps, ("in0", "out0"), {}, summary, accuracy, {}, [], [], unfit)
    for part in words:
        assert part in text
    assert ("make this folder an SDK model" in text) != bool(unfit)


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
    assert ("which ncnn does not have" in text) == (case in INEXACT)
    assert ("binary PGM (P5)" in text, "+ 2 - channel" in text) == (CASES[case][0] == "GREY", CASES[case][0] == "BGR")
    assert ("half(" in text) == (case == "fp32 and fp16")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("case", CASES)
def test_the_cpp_example_for_another_engine_says_what_it_cannot_do(case, engine):
    """tests/slow/test_engine_example.py builds it."""
    text = cpp(content(steps_of(case)), ("in0", "out0"), engine)
    assert ("which this program does not have" in text) == (case in INEXACT)
    assert ("+ 2 - channel" in text) == (CASES[case][0] == "BGR")
    assert "ncnn" not in text
