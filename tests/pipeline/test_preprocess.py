"""Pre-processing equals mmcls's own bit for bit, for the same images as arrays and as files."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from octet.core.errors import OctetError
from octet.data import preprocess
from octet.data.image_files import read
from octet.export.mmcls_model import ZOO, Config, read_config
from octet.export.mmcls_pipeline import ARRAYS, derive
from tests.pipeline.project import ROOT

pytestmark = pytest.mark.pipeline

# One config of the zoo for each kind of test pipeline in it; test_every_config_of_the_zoo (slow) takes all of them.
ZOO_KINDS = [
    "resnet/resnet18_8xb16_cifar10.py",
    "densenet/densenet121_4xb256_in1k.py",  # short edge, cv2
    "regnet/regnetx-1.6gf_8xb128_in1k.py",  # the same in BGR
    "hrnet/hrnet-w18_4xb32_in1k.py",  # pillow
    "conformer/conformer-base-p16_8xb128_in1k.py",  # pillow, bicubic
    "mlp_mixer/mlp-mixer-base-p16_64xb64_in1k.py",  # cv2, bicubic
    "efficientnet/efficientnet-b0_8xb32_in1k.py",  # EfficientNet's crop
    "resnest/resnest50_32xb64_in1k.py",  # the same, pillow
    "repmlp/repmlp-base_8xb64_in1k.py",  # exact, and a crop
    "deit/deit-base-distilled_ft-16xb32_in1k-384px.py",  # exact, no crop
    "swin_transformer/swin-large_8xb8_cub_384px.py",
    "vision_transformer/vit-base-p16_ft-4xb544-ipu_in1k.py",  # fp16
]
LOAD = dict(type="LoadImageFromFile")
END = [dict(type="ImageToTensor", keys=["img"]), dict(type="Collect", keys=["img"])]
NORMALIZE = dict(type="Normalize", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
CROP = dict(type="CenterCrop", crop_size=64)
GREY = [dict(type="Normalize", mean=[33.46], std=[78.87], to_rgb=False), *END]


def config(kind: str, pipeline: list) -> Config:
    return Config(dict(data=dict(test=dict(type=kind, pipeline=pipeline, classes=["a", "b"]))))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Files of many kinds, none smaller than the zoo's largest crop."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.Generator(np.random.PCG64(0))
    blobs = cv2.resize(random.integers(0, 256, (40, 60, 3), dtype=np.uint8), (750, 701), interpolation=cv2.INTER_CUBIC)
    image = Image.fromarray(blobs)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    image.save(folder / "plain.jpg", quality=92)
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "upright.png")
    image.save(folder / "turned.jpg", exif=turned)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("L").save(folder / "grey.jpg")
    image.convert("P").save(folder / "palette.png")
    image.convert("RGBA").save(folder / "alpha.png")
    cv2.imwrite(str(folder / "16bit.png"), blobs.astype(np.uint16) * 257 - 100)
    cv2.imwrite(str(folder / "16bit.tif"), blobs[..., 0].astype(np.uint16) * 256)
    image.resize((32, 32)).save(folder / "small.png")
    image.convert("L").resize((28, 28)).save(folder / "digit.png")
    return folder


def mmcls_says(settings: Config, results: dict) -> np.ndarray:
    from mmcls.datasets.pipelines import Compose  # after octet.mmcls_model: mmcv needs its stand-in for torchvision

    result = Compose(list(settings.data.test.pipeline))(results)["img"]
    assert isinstance(result, torch.Tensor)
    return result.float().numpy()


def check(settings: Config, folder, tmp_path, *only: str) -> None:
    """The images (default: all) as files and as arrays, through mmcls and through preprocess.json."""
    preprocess.save(derive(settings, "config"), tmp_path / "preprocess.json")
    steps = preprocess.load(tmp_path / "preprocess.json")
    array, pipeline = ARRAYS.get(settings.data.test.type), settings.data.test.pipeline
    sized = {(32, 32, 3): ["small.png"], (28, 28): ["digit.png"], None: sorted(p.name for p in folder.iterdir())}
    names = [name for name in sized[array] if array or name not in ("small.png", "digit.png")]
    for name in only or names:
        image = read(folder / name, "grayscale" if array == (28, 28) else steps.color_type)
        result = steps(image)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        assert list(result.shape) == [steps.channels, *steps.size]
        if array:
            wanted = mmcls_says(settings, {"img": image})
        else:
            wanted = mmcls_says(settings, {"img_prefix": str(folder), "img_info": {"filename": name}})
            bgr = np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image
            rest = Config(dict(data=dict(test=dict(pipeline=pipeline[1:]))))
            start = bgr.astype(np.float32) if pipeline[0].get("to_float32") else bgr
            assert np.array_equal(result, mmcls_says(rest, {"img": start})), name
        assert np.array_equal(result, wanted), name


@pytest.mark.parametrize("name", ZOO_KINDS)
def test_zoo(name, images, tmp_path):
    settings = read_config(name)
    check(settings, images, tmp_path, *([] if settings.data.test.type in ARRAYS else ["plain.jpg", "upright.png"]))


def test_every_kind_of_file(images, tmp_path):
    check(read_config("hrnet/hrnet-w18_4xb32_in1k.py"), images, tmp_path)


@pytest.mark.slow
def test_every_config_of_the_zoo(images, tmp_path):
    count = 0
    for path in sorted(ZOO.rglob("*.py")):
        if "_base_" in path.parts or "cifar" in path.name or "mnist" in path.name:
            continue
        settings = read_config(str(path))
        if settings.data.test.type == "VOC":
            with pytest.raises(OctetError, match="gives an image several labels"):
                derive(settings, "config")
            continue
        check(settings, images, tmp_path, "plain.jpg")
        count += 1
    assert count > 250


@pytest.mark.parametrize("edge", ["short", "long", "height", "width"])
@pytest.mark.parametrize("name", ["plain.jpg", "upright.png"])
def test_edges(edge, name, images, tmp_path):
    for size in (90, 701):
        resize = dict(type="Resize", size=(size, -1), adaptive_side=edge)
        check(config("ImageNet", [LOAD, resize, CROP, NORMALIZE, *END]), images, tmp_path, name)


@pytest.mark.parametrize(
    ("backend", "interpolation"),
    [("cv2", name) for name in ("nearest", "bilinear", "bicubic", "area", "lanczos")]
    + [("pillow", name) for name in ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")],
)
def test_interpolation(backend, interpolation, images, tmp_path):
    how = dict(backend=backend, interpolation=interpolation)
    resize = dict(type="Resize", size=(70, -1), **how)
    check(config("ImageNet", [LOAD, resize, CROP, NORMALIZE, *END]), images, tmp_path, "plain.jpg")
    exact = dict(type="Resize", size=(64, 48), **how)
    check(config("CIFAR10", [exact, NORMALIZE, *END]), images, tmp_path)
    if interpolation not in ("box", "hamming"):
        crop = dict(type="CenterCrop", crop_size=75, efficientnet_style=True, crop_padding=20, **how)
        check(config("ImageNet", [LOAD, crop, NORMALIZE, *END]), images, tmp_path, "upright.png")


@pytest.mark.parametrize("color_type", ["color", "color_ignore_orientation", "unchanged"])
@pytest.mark.parametrize("to_float32", [False, True])
def test_loading_in_colour(color_type, to_float32, images, tmp_path):
    load = dict(type="LoadImageFromFile", color_type=color_type, to_float32=to_float32)
    settings = config("ImageNet", [load, dict(type="Resize", size=80), CROP, NORMALIZE, *END])
    for name in ("plain.jpg", "turned.jpg", "16bit.png"):
        check(settings, images, tmp_path, name)


@pytest.mark.parametrize("color_type", ["grayscale", "grayscale_ignore_orientation"])
def test_loading_in_grey(color_type, images, tmp_path):
    load = dict(type="LoadImageFromFile", color_type=color_type)
    check(config("ImageNet", [load, dict(type="Resize", size=80), CROP, *GREY]), images, tmp_path)


def test_grey_arrays(images, tmp_path):
    check(config("MNIST", [dict(type="Resize", size=32), *GREY]), images, tmp_path)
    lenet = derive(read_config("lenet/lenet5_mnist.py"), "lenet")
    assert (lenet.channel_order, lenet.size, lenet.mean) == ("GREY", [32, 32], [33.46])


def test_a_image_in_the_loaders_order_gives_the_same_as_the_array(images):
    """to_rgb means the opposite for arrays and files; what the network sees must not."""
    swapped = dict(NORMALIZE, to_rgb=False)
    files = derive(config("ImageNet", [LOAD, dict(type="Resize", size=32), NORMALIZE, *END]), "files")
    arrays = derive(config("CIFAR10", [swapped, *END]), "arrays")
    image = read(images / "small.png")
    assert files.channel_order == arrays.channel_order == "RGB"
    assert np.array_equal(files(image), arrays(image))


@pytest.mark.parametrize(
    ("kind", "pipeline", "message"),
    [
        ("ImageNet", [LOAD, dict(type="Resize", size=(256, -1)), NORMALIZE], "another size for every image"),
        ("ImageNet", [LOAD, NORMALIZE, dict(type="Resize", size=256)], "Resize after Normalize"),
        ("ImageNet", [dict(type="Resize", size=256), NORMALIZE], "'ImageNet', whose pipeline has to begin with LoadIm"),
        ("CIFAR10", [LOAD, NORMALIZE], "'CIFAR10', whose pipeline has images in memory"),
        (
            "CIFAR10",
            [dict(type="Pad", size=(40, 40))],
            "does not know the step 'Pad'; it knows LoadImageFromFile, Resize",
        ),
        ("CIFAR10", [dict(type="Resize", size=0), NORMALIZE], "mmcls cannot build it"),
        ("CIFAR10", [dict(type="Resize", size=64, backend="pil")], "mmcls cannot build it: .*pil is not supported"),
        ("CIFAR10", [dict(NORMALIZE, mean=[1.0])], "Normalize has mean .1.0.; expected 3, one a channel"),
        (
            "ImageNet",
            [dict(LOAD, color_type="colour"), CROP],
            "color_type is 'colour'; expected one of color, grayscale",
        ),
        (
            "ImageNet",
            [dict(LOAD, to_float32=True), dict(type="Resize", size=64, backend="pillow")],
            "pillow resizes no fp32",
        ),
    ],
)
def test_what_cannot_be_read(kind, pipeline, message):
    with pytest.raises(OctetError, match=f"^my.py: data.test.pipeline: .*{message}"):
        derive(config(kind, pipeline), "my.py")


@pytest.mark.parametrize("module", ["mmcls_data", "mmcls_pipeline", "mmcls_model"])
def test_any_module_that_needs_mmcls_can_be_the_first(module):
    """mmcv needs a stand-in for torchvision, whoever imports it, and its warnings are no user's."""
    command = [sys.executable, "-c", f"import octet.export.{module}"]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_images_that_do_not_fit():
    steps = derive(config("ImageNet", [LOAD, CROP, NORMALIZE, *END]), "my.py")
    with pytest.raises(OctetError, match="an image of 100x40 pixels becomes 64x40; the network's input is 64x64"):
        steps(np.zeros((40, 100, 3), np.uint8))
    with pytest.raises(OctetError, match="an image has 1 channels, the network's input 3"):
        steps(np.zeros((90, 100), np.uint8))
