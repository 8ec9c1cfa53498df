"""`preprocess` in an entry of params.yaml: a preset, a file or the mapping, and what of it is wrong."""

import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from octet.core import params, settings, yaml
from octet.core.errors import OctetError
from octet.core.preprocessing import PRESETS, Preprocessing
from octet.data.config_split import UNTOLD
from octet.data.geometry import CenterCrop, Resize
from octet.data.image_files import read
from octet.data.preprocess import load, save
from octet.export.library_source import LibrarySource
from octet.export.own_preprocess import own_preprocess
from octet.export.torchvision_library import Torchvision
from octet.predict import images
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


IMAGENET = Preprocessing.model_validate({"size": [4, 4]} | PRESETS["imagenet"])


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("classes", [None, ["owl", "cat"]])
def test_what_a_library_s_entry_says_of_class_folders(tmp_path, library, classes):
    given = IMAGENET.model_copy(update={"classes": classes})
    steps = LibrarySource(library, "net", "net.pth", False, given)._steps(given, 2)
    save(steps, tmp_path / "preprocess.json")
    for split in ("train", "test"):
        said = load(tmp_path / "preprocess.json").splits.get(split, UNTOLD)
        assert (said.by_name, said.timm, said.reads) == (classes is not None, library == "timm", "layout")
    assert own_preprocess(given, (4, 4), ["0", "1"]).splits.keys() == (set() if classes is None else {"train", "test"})


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize(("mode", "order"), [("RGB", "RGB"), ("L", "GREY")])
def test_a_photo_is_turned_no_more_than_by_these_libraries(tmp_path, library, mode, order):
    """Both load it by Image.open(file).convert("RGB"), or "L", which does not look at EXIF's orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((30, 20), 90).convert(mode).save(tmp_path / "1.jpg", exif=exif)
    grey = {"channel_order": order, "mean": [0.0], "std": [1.0]} if order == "GREY" else {}
    given = IMAGENET.model_copy(update=grey)
    steps = LibrarySource(library, "net", "net.pth", False, given)._steps(given, 2)
    wanted = np.asarray(Image.open(tmp_path / "1.jpg").convert(mode))
    assert np.array_equal(read(tmp_path / "1.jpg", steps.color_type), wanted)
    shown = images.load(tmp_path / "1.jpg", steps)
    assert np.array_equal(shown.pixels, wanted), "octet predict"


@pytest.mark.parametrize(
    ("mode", "ending", "most"),
    [
        *(("RGB", ending, 0) for ending in ("jpg", "png", "bmp", "webp", "tif")),
        *(("L", ending, 0) for ending in ("jpg", "png")),
        *(("P", ending, 0) for ending in ("png", "bmp")),
        *(("RGBA", ending, 0) for ending in ("png", "webp")),
        *(("CMYK", ending, 2) for ending in ("jpg", "tif")),
    ],
)
def test_a_file_becomes_the_pixels_that_docs_own_models_says(tmp_path, mode, ending, most):
    path, random = tmp_path / f"1.{ending}", np.random.Generator(np.random.PCG64(0))
    noise = random.integers(0, 256, (12, 16, 4), dtype=np.uint8)[..., : 4 if mode in ("RGBA", "CMYK") else 3]
    kind = mode if mode in ("RGBA", "CMYK") else "RGB"
    Image.frombytes(kind, (16, 12), noise.tobytes()).resize((80, 60)).convert(mode).save(path)
    wanted = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(read(path, "color_ignore_orientation") - wanted).max() <= most


def test_grey_of_16_bits_is_divided_where_pillow_cuts_it_off(tmp_path):
    Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16)).save(tmp_path / "1.png")
    assert np.asarray(Image.open(tmp_path / "1.png").convert("RGB"))[0, :, 0].tolist() == [0, 255, 255, 255]
    assert read(tmp_path / "1.png", "color_ignore_orientation")[0, :, 0].tolist() == [0, 0, 1, 255]


class Weights:
    """What Octet asks of torchvision's weights of its inception_v3."""

    url = "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"

    @staticmethod
    def transforms():
        linear = SimpleNamespace(value="bilinear")
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return SimpleNamespace(crop_size=[299], resize_size=[342], interpolation=linear, mean=mean, std=std)


class All(list):
    DEFAULT = Weights


@pytest.fixture
def torchvision():
    """Octet's view of torchvision, with what of it says how images are brought to its networks."""
    library = object.__new__(Torchvision)
    library.models = SimpleNamespace(get_model_weights=lambda network: All([Weights]))
    return library


@pytest.mark.parametrize("network", ["inception_v3", "googlenet"])
def test_weights_of_one_s_own_do_not_tell_whether_the_network_changes_its_input(torchvision, network):
    """What is then to be written gives what torchvision's networks make of ImageNet's mean and std by transform_input."""
    assert torchvision.unsaid(network, "models/hub/inception_v3_google-0cc3c7bd.pth") == ""
    assert torchvision.unsaid("resnet18", "my.pth") == ""
    what, _, rest = torchvision.unsaid(network, "my.pth").partition(":\n")
    assert "weights do not tell whether the network changes its input (transform_input)" in what
    example, _, other = rest.partition("Of one made without weights=…")
    assert "mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225]" in other
    half = Preprocessing.model_validate(yaml.parse(textwrap.dedent(example), "").values)
    usual = torchvision.preprocessing(network, "my.pth")
    assert half.model_copy(update={"mean": usual.mean, "std": usual.std}) == usual
    steps, plain = (own_preprocess(given, (299, 299), ["a"]) for given in (half, usual))
    image = steps.noise(1)[0]
    x = plain(image)
    for k, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        x[k] = x[k] * (std / 0.5) + (mean - 0.5) / 0.5  # torchvision/models/inception.py and googlenet.py
    assert np.abs(steps(image) - x).max() < 2e-6


def test_an_entry_of_such_weights_without_preprocess_is_refused(torchvision, monkeypatch):
    torchvision.check = lambda network: None
    monkeypatch.setattr("octet.export.library_source.library", lambda name: torchvision)
    with pytest.raises(OctetError, match=r"^my.pth: is none of the files that torchvision publishes for inception_v3"):
        LibrarySource("torchvision", "inception_v3", "my.pth", False, None).preprocessing()
    given = IMAGENET.model_copy(update={"size": None})
    source = LibrarySource("torchvision", "inception_v3", "my.pth", False, given)
    assert (source.preprocessing(), source._steps(given, 2).size) == (given, [299, 299])
