"""`preprocess` in an entry of params.yaml: a preset, a file or the mapping, and what of it is wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octet.core import params, settings
from octet.core.preprocessing import PRESETS, Preprocessing
from octet.data.geometry import CenterCrop, Resize
from octet.export.own_preprocess import own_preprocess
from tests.unit.test_params import VALID, problems

pytestmark = pytest.mark.unit
ENTRY = """\
    onnx: models/net.onnx
    checkpoint: models/net.onnx
    preprocess: {}
"""
CONFIG = "    config: configs/models/net.py\n    checkpoint: models/net.pth\n"
MEAN = "mean: [1, 2, 3], std: [1, 2, 4]"


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/models").mkdir(parents=True)
    return Path("params.yaml")


def text(preprocess: str) -> str:
    assert CONFIG in VALID
    return VALID.replace(CONFIG, ENTRY.format(preprocess))


def loaded(path: Path, preprocess: str) -> Preprocessing:
    path.write_text(text(preprocess))
    return params.load(path).models["net"].preprocess


def test_a_preset_a_file_and_the_mapping_itself(path):
    imagenet = loaded(path, "imagenet")
    assert imagenet == Preprocessing.model_validate(PRESETS["imagenet"])
    Path("configs/models/net.yaml").write_text("channel_order: BGR\nmean: 127.5\nstd: 127.5\nsize: [48, 192]\n")
    of_file = loaded(path, "configs/models/net.yaml")
    assert (of_file.mean, of_file.size) == ((127.5,) * 3, (48, 192))
    assert loaded(path, "{channel_order: BGR, mean: 127.5, std: 127.5, size: [48, 192]}") == of_file


def test_a_changed_file_changes_what_export_depends_on(path):
    Path("configs/models/net.yaml").write_text("channel_order: BGR\nmean: 127.5\nstd: 127.5\n")
    path.write_text(text("configs/models/net.yaml"))
    before = settings.contents("net", params.load(path).models["net"])
    Path("configs/models/net.yaml").write_text("channel_order: RGB\nmean: 127.5\nstd: 127.5\n")
    after = settings.contents("net", params.load(path).models["net"])
    assert [key for key in before if before[key] != after[key]] == ["source"]
    assert after["source"]["onnx"] == "models/net.onnx"


def test_classes_in_a_text_file(path):
    """Its path is from the folder of the file that names it; what export depends on has the names."""
    lines, names = Path("configs/models/labels.txt"), ("cat", "dog, big", "été")
    lines.write_text("cat\ndog, big\nété\n\n", encoding="utf-8")
    assert loaded(path, f"{{channel_order: RGB, {MEAN}, classes: configs/models/labels.txt}}").classes == names
    Path("configs/models/net.yaml").write_text("channel_order: RGB\nmean: 1\nstd: 1\nclasses: labels.txt\n")
    assert loaded(path, "configs/models/net.yaml").classes == names
    assert settings.contents("net", params.load(path).models["net"])["source"]["preprocess"]["classes"] == list(names)


@pytest.mark.parametrize("of_file", [False, True])
@pytest.mark.parametrize(
    ("classes", "content", "message"),
    [
        (
            "configs/models/no.txt",
            None,
            "configs/models/no.txt: no such file; expected the names of the classes, one a line",
        ),
        (
            "configs/models/a.txt",
            b"cat\n\ndog\n",
            "configs/models/a.txt: line 2 is empty; expected the name of a class on",
        ),
        ("configs/models/a.txt", b"\xff\xfe", "configs/models/a.txt: not UTF-8"),
        (
            "a.txt",
            b"cat\ndog\n",
            "a.txt: lies outside configs/models, where DVC sees that a file changes; move it there",
        ),
    ],
)
def test_a_text_file_of_classes_that_is_wrong_is_named(path, classes, content, message, of_file):
    if content is not None:
        Path(classes).write_bytes(content)
    given = f"{{channel_order: RGB, {MEAN}, classes: {classes}}}"
    if of_file:
        beside = Path("..", "..", classes) if classes == "a.txt" else Path(classes).name
        Path("configs/models/net.yaml").write_text(f"channel_order: RGB\nmean: 1\nstd: 1\nclasses: {beside}\n")
        given = "configs/models/net.yaml"
    assert message in "\n".join(problems(path, text(given)))


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ("imagenat", "unknown preset \"imagenat\". Did you mean 'imagenet'? Or name a YAML file"),
        ("5", "expected a preset (imagenet, none), a YAML file in configs/models, or a mapping, found 5"),
        ("{channel_order: RGB}", "mean: missing key"),
        ("{channel_order: RGB, mean: [], std: 1}", "mean: expected a list of numbers, one a channel, found []."),
        ("{channel_order: RGB, mean: 1, std: .nan}", "std: expected a list of numbers, one a channel, found NaN."),
        (
            "{channel_order: RGB, mean: 1, std: [1, .inf, 3]}",
            "std: expected a list of numbers, one a channel, found [1, ",
        ),
        (f"{{channel_order: RGB, {MEAN}, sise: [1, 2]}}", "sise: unknown key. Did you mean 'size'?"),
        (f"{{channel_order: RGB, {MEAN}, size: 224}}", "size: expected [height, width] in pixels, or null, found 224"),
        (f"{{channel_order: RBG, {MEAN}}}", 'channel_order: unknown value "RBG". Did you mean \''),
        (f"{{channel_order: GREY, {MEAN}}}", "mean: has 3 numbers; expected 1, one a channel (GREY)"),
        ("{channel_order: RGB, mean: [0, 0, 0], std: [1, 0, 1]}", "std: [1.0, 0.0, 1.0]: nothing is divided by 0"),
        (
            "{channel_order: RGB, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}",
            "std: mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225] are of values from 0 to 1. Set 'range: 1', or multiply "
            "mean and std by 255",
        ),
        ("{channel_order: RGB, mean: 0.5, std: 0.5}", "std [0.5, 0.5, 0.5] are of values from 0 to 1. Set 'range: 1'"),
        (
            "{channel_order: GREY, mean: 0.1307, std: 0.3081}",
            "mean [0.1307] and std [0.3081] are of values from 0 to 1",
        ),
        ("{channel_order: GREY, mean: 0, std: 0.00392157}", "std [0.00392157] are of values from 0 to 1"),
        ("{channel_order: RGB, mean: 0.5, std: 1}", "are of values from 0 to 1"),
        ("{channel_order: RGB, mean: 127.5, std: 0.5}", "are of values from 0 to 1"),
        (
            "{channel_order: GREY, mean: 123.675, std: 58.395, range: 1}",
            "std: mean [123.675] and std [58.395] are of grey levels, and 'range: 1' means values from 0 to 1. Leave "
            "'range' out, or divide them by 255",
        ),
        ("{channel_order: RGB, mean: 0, std: 255, range: 1}", "std [255.0, 255.0, 255.0] are of grey levels"),
        ("{channel_order: RGB, mean: 127.5, std: 1, range: 1}", "are of grey levels"),
        (
            f"{{channel_order: RGB, {MEAN}, range: 2}}",
            "range: expected one of 1, 255, found 2. For example 255",
        ),
        (f"{{channel_order: RGB, {MEAN}, range: one}}", 'range: unknown value "one". Known: 1, 255'),
        (f"{{channel_order: RGB, {MEAN}, crop: 0.9, resize: 256}}", "crop: is given beside 'resize'. Keep one of them"),
        (f"{{channel_order: RGB, {MEAN}, interpolation: area}}", 'backend: area is a filter of cv2; found "pillow"'),
    ],
)
def test_what_is_wrong_is_named(path, preprocess, message):
    lines = problems(path, text(preprocess))
    assert any(line.startswith("params.yaml: models.net.preprocess") and message in line for line in lines), lines


@pytest.mark.parametrize(
    "unit",
    [
        {"mean": 0.0, "std": 1.0},
        {"mean": 0.0, "std": 1.0, "range": 1},
        {"mean": 0.0, "std": 255.0},
        {"mean": 127.5, "std": 1.0},
        {"mean": [104.0, 117.0, 123.0], "std": 1.0},
        {"mean": 0.5, "std": 0.5, "range": 1},
        {"mean": 1.0, "std": 1.0, "range": 1},
        {"mean": 0.5, "std": 0.0039, "range": 1},
    ],
)
def test_mean_and_std_of_the_right_unit_are_taken(unit):
    Preprocessing.model_validate({"channel_order": "RGB"} | unit)


def test_a_file_s_mistakes_are_the_file_s(path):
    Path("configs/models/net.yaml").write_text("chanel_order: RGB\nmean: 0\nstd: 1\n")
    assert problems(path, text("configs/models/net.yaml"))[0] == (
        "configs/models/net.yaml: chanel_order: unknown key. Did you mean 'channel_order'?"
    )
    assert "configs/models/other.yaml: no such file" in problems(path, text("configs/models/other.yaml"))[0]
    Path("net.yaml").write_text("channel_order: RGB\nmean: 0\nstd: 1\n")
    assert "net.yaml: lies outside configs/models" in problems(path, text("net.yaml"))[0]


def test_an_entry_has_one_source(path):
    both = VALID.replace(CONFIG, CONFIG + "    onnx: models/net.onnx\n")
    assert problems(path, both) == [
        "params.yaml: models.net.onnx: the entry has 'config', too. A model has one source; keep one of them"
    ]
    assert (
        "models.net.preprocess: is for models without a config"
        in problems(path, VALID.replace(CONFIG, CONFIG + "    preprocess: none\n"))[0]
    )
    assert (
        "models.net.config: expected text, found null"
        in problems(path, VALID.replace("config: configs/models/net.py", "config: null"))[0]
    )
    other = text("none").replace("checkpoint: models/net.onnx", "checkpoint: models/net.pth")
    assert "models.net.checkpoint: expected \"models/net.onnx\", as 'onnx' has it" in problems(path, other)[0]


@pytest.mark.parametrize(
    ("more", "steps"),
    [
        ({}, [Resize(32, 48, None, "bilinear", "pillow")]),
        ({"crop": 0.875}, [Resize(36, 54, "cover", "bilinear", "pillow"), CenterCrop(32, 48)]),
        ({"crop": 1.0}, [Resize(32, 48, "cover", "bilinear", "pillow"), CenterCrop(32, 48)]),
        ({"resize": 40}, [Resize(40, 40, "short", "bilinear", "pillow"), CenterCrop(32, 48)]),
        ({"resize": (40, 60)}, [Resize(40, 60, None, "bilinear", "pillow"), CenterCrop(32, 48)]),
    ],
)
def test_resizing_and_cropping(more, steps):
    given = Preprocessing.model_validate(PRESETS["none"] | more)
    assert own_preprocess(given, (32, 48), ["a", "b"]).geometry == steps


@pytest.mark.parametrize(
    ("image", "resized"),
    [
        ((400, 640), (182, 292)),
        ((640, 400), (467, 292)),
        ((182, 292), (182, 292)),
        ((300, 500), (182, 303)),
        ((15, 10), (438, 292)),
    ],
)
def test_crop_of_a_network_that_is_not_square_keeps_the_ratio(image, resized):
    """As timm: ResizeKeepRatio((182, 292)), which is round(edge / min(h / 182, w / 292)), then CenterCrop((160, 256))."""
    given = Preprocessing.model_validate(PRESETS["imagenet"])
    steps = own_preprocess(given, (160, 256), ["a", "b"])
    random = np.random.Generator(np.random.PCG64(0))
    pixels = random.integers(0, 256, (*image, 3), dtype=np.uint8)
    assert steps.geometry[0](pixels).shape[:2] == resized
    whole = np.asarray(Image.fromarray(pixels).resize(resized[::-1], Image.Resampling.BILINEAR))
    top, left = round((resized[0] - 160) / 2), round((resized[1] - 256) / 2)
    cut = whole[top : top + 160, left : left + 256].transpose(2, 0, 1)
    mean, std = (np.array(PRESETS["imagenet"][key]).reshape(3, 1, 1) for key in ("mean", "std"))
    assert np.allclose(steps(pixels), (cut - mean) / std, atol=1e-5)


@pytest.mark.parametrize("share", [0.875, 0.95, 1.0])
def test_crop_of_a_square_network_sets_the_short_edge(share):
    given = Preprocessing.model_validate(PRESETS["imagenet"] | {"crop": share})
    edge = int(224 / share)
    wanted = [Resize(edge, edge, "short", "bilinear", "pillow"), CenterCrop(224, 224)]
    assert own_preprocess(given, (224, 224), ["a", "b"]).geometry == wanted


def test_mean_and_std_of_0_to_1_are_those_of_grey_levels():
    given = {"channel_order": "RGB", "range": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    steps = own_preprocess(Preprocessing.model_validate(given), (8, 8), ["a", "b"])
    assert (steps.mean, steps.std) == (PRESETS["imagenet"]["mean"], PRESETS["imagenet"]["std"])
