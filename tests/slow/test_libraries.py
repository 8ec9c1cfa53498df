"""Networks of timm and torchvision by name: their own pre-processing and logits, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.core.folder import NcnnFiles
from octet.core.logits import spread_difference
from octet.data import preprocess
from octet.data.images import split_images
from octet.export.export import export
from octet.export.libraries import library
from octet.export.library_source import LibrarySource
from octet.export.own_preprocess import own_preprocess
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine
from octet.project import entries
from octet.project.splits import check_splits

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def installed():
    try:
        library("timm")
    except OctetError as error:
        pytest.skip(f"needs .venv/timm: {error}")


def checkpoint(folder: Path, name: str, network: str, classes: int = 10) -> Path:
    torch.manual_seed(0)
    model = library(name).create(network, num_classes=classes)
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, folder / "net.pth"
    )
    return folder / "net.pth"


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("timm", "mobilenetv3_small_050"),
        ("timm", "vit_tiny_patch16_224"),
        ("timm", "repvgg_a0"),
        ("torchvision", "mobilenet_v3_small"),
        ("torchvision", "googlenet"),
        ("torchvision", "vit_b_16"),
    ],
)
def test_a_network_by_name_gives_its_library_s_logits_in_ncnn(tmp_path, name, network):
    path = checkpoint(tmp_path, name, network)
    given = library(name).preprocessing(network, str(path)) if network == "googlenet" else None
    source = LibrarySource(name, network, str(path), False, given)
    assert source.look().classes == [str(k) for k in range(10)]
    onnx, steps_file = tmp_path / "fp32.onnx", tmp_path / "preprocess.json"
    export(source, 13, onnx, steps_file)
    steps, files = preprocess.load(steps_file), NcnnFiles.named(tmp_path, "fp32")
    inputs = [steps(image) for image in steps.noise(2)]
    convert(onnx, files, inputs)
    engine, run = Engine(files.param, files.bin), source.run()
    assert spread_difference(np.stack([engine(x) for x in inputs]), np.stack([run(x) for x in inputs])) < 1e-3


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("timm", "resnet18"),
        ("timm", "vit_tiny_patch16_224"),
        ("timm", "mobilevit_xxs"),
        ("timm", "tf_efficientnetv2_b0"),
        ("timm", "convnext_tiny.dinov3_lvd1689m"),
        ("torchvision", "resnet50"),
        ("torchvision", "inception_v3"),
    ],
)
def test_an_image_goes_through_what_the_library_does(tmp_path, name, network):
    random = np.random.Generator(np.random.PCG64(3))
    image = Image.fromarray(random.integers(0, 256, (300, 417, 3), dtype=np.uint8)).resize((517, 391))
    if name == "timm":
        from timm.data import create_transform, resolve_data_config

        settings = library(name).timm.get_pretrained_cfg(network).to_dict()
        transform = create_transform(**resolve_data_config(pretrained_cfg=settings))
    else:
        transform = library(name).models.get_model_weights(network).DEFAULT.transforms()
    wanted = transform(image).numpy()
    known = library(name).preprocessing(network, "")
    assert np.abs(own_preprocess(known, known.size, ["a"])(np.asarray(image)) - wanted).max() < 2e-5


def test_wrong_weights_and_names_are_named(tmp_path):
    path = checkpoint(tmp_path, "timm", "resnet18")
    with pytest.raises(
        OctetError, match=r"does not belong to timm's resnet34 \(\d+ keys differ\):\n  missing: layer1.2"
    ):
        LibrarySource("timm", "resnet34", str(path), False, None).export(13)
    with pytest.raises(OctetError, match="resnet19: no such network in timm. Did you mean 'resnet18'?"):
        LibrarySource("timm", "resnet19", str(path), False, None).look()
    with pytest.raises(OctetError, match="resnet_18: no such network in torchvision. Did you mean 'resnet18'?"):
        LibrarySource("torchvision", "resnet_18", str(path), False, None).look()


def data(folder: Path, classes: list[str]) -> Path:
    for split in ("train", "test"):
        for label, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for k in range(2):
                Image.new("RGB", (40, 30), (20 * label, 100, 50 * k)).save(folder / split / name / f"{k}.png")
    return folder


def test_an_entry_has_the_library_s_steps_and_the_folders_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    Path("configs/models").mkdir(parents=True)
    path, images = checkpoint(tmp_path, "timm", "resnet18", 3), data(tmp_path / "images", ["ant", "bee", "cat"])
    given = {"timm": "resnet18", "checkpoint": str(path), "data": str(images)}
    assert entries.add("net", given) == entries.add("net", given) == "net"
    steps = yaml.load("configs/models/net.yaml", "")
    assert steps["classes"] == ["ant", "bee", "cat"]
    assert (steps["size"], steps["crop"], steps["interpolation"]) == ([224, 224], 0.95, "bicubic")
    monkeypatch.setenv("OCTET_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("octet.project.download.ATTEMPTS", 1)
    with pytest.raises(OctetError, match=r"models/hub/resnet18.a1_in1k.safetensors"):
        entries.add("other", {"timm": "resnet18", "data": str(images)})
    with pytest.raises(OctetError, match="lacks the key data"):
        entries.add("other", {"timm": "resnet18", "checkpoint": str(path)})


@pytest.mark.parametrize("order", ["timm's own", "the sorted one, of torchvision's ImageFolder"])
def test_class_folders_that_timm_has_in_another_order(tmp_path, monkeypatch, order):
    """The labels are those of the reader that trained the network: timm's, or torchvision's."""
    from timm.data.readers.reader_image_folder import ReaderImageFolder
    from torchvision.datasets import ImageFolder

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    Path("configs/models").mkdir(parents=True)
    path, images = checkpoint(tmp_path, "timm", "resnet18", 12), data(tmp_path / "images", [str(k) for k in range(12)])
    entries.add("net", {"timm": "resnet18", "checkpoint": str(path), "data": str(images)})
    with pytest.raises(
        OctetError, match="label 2 is '2', since timm's own order is '0', '1', '2', …; .* it is '10', since"
    ):
        check_splits("net", params.load().models["net"], "test")
    file = Path("configs/models/net.yaml")
    file.write_text(file.read_text().replace(f"# {order}:\n# classes", f"# {order}:\nclasses"))
    entry = params.load().models["net"]
    check_splits("net", entry, "test")
    read = split_images(images, "test", LibrarySource.of(entry).look(), None, "")
    if order == "timm's own":
        reader = ReaderImageFolder(str(images / "test"))
        wanted = {reader.filename(k): reader.samples[k][1] for k in range(len(reader))}
    else:
        wanted = {str(Path(name).relative_to(images / "test")): k for name, k in ImageFolder(images / "test").samples}
    assert dict(zip(read.names, read.labels.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("network", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("transform_input", [True, False])
def test_torchvision_s_networks_that_change_their_input(tmp_path, network, transform_input, capsys):
    """torchvision's own network, as it was fine-tuned; the file does not tell how, the entry does."""
    torch.manual_seed(0)
    own = library("torchvision").create(network, num_classes=10, transform_input=transform_input)
    path = tmp_path / "net.pth"
    torch.save(own.state_dict(), path)
    with pytest.raises(OctetError, match="net.pth: is none of the files that torchvision publishes"):
        LibrarySource("torchvision", network, str(path), False, None).look()
    usual = library("torchvision").preprocessing(network, str(path))
    given = usual.model_copy(update={"mean": (0.5,) * 3, "std": (0.5,) * 3}) if transform_input else usual
    run = LibrarySource("torchvision", network, str(path), False, given).run()
    assert ("taken as one whose transform_input is False" in capsys.readouterr().err) == (not transform_input)
    steps, plain = (own_preprocess(each, each.size, ["?"] * 10) for each in (given, usual))
    image = plain.noise(1)[0]
    with torch.no_grad():
        wanted = own(torch.from_numpy(plain(image)[None])).numpy()[0]
    assert spread_difference(run(steps(image))[None], wanted[None]) < 1e-4


@pytest.mark.parametrize("first", ["mmcls", "timm"])
def test_mmcls_and_timm_are_imported_in_either_order(first):
    steps = [
        "import octet.export.mmcls_model",
        "from octet.export.timm_import import timm; timm().create_model('resnet18')",
    ]
    program = "\n".join(steps if first == "mmcls" else steps[::-1])
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
