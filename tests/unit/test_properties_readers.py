"""Every reader of a file that a user, a stage or a disk may have spoiled: for any content a result or an OctetError."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from octet.core import params
from octet.core.errors import OctetError, Unreadable
from octet.core.files import read_json
from octet.data import preprocess
from octet.data.cifar import Cifar
from octet.data.cifar_layouts import LAYOUTS
from octet.data.dataset import open_split
from octet.data.geometry import CenterCrop, CropAndResize, Resize
from octet.data.image_files import FLAGS, read
from octet.data.preprocess import Preprocess
from octet.evaluate.predictions import Prediction, predictions_csv, read_predictions
from octet.graph import profiles
from octet.quantize import gptq_weights
from octet.quantize.gptq_weights import GptqWeights
from tests import damage

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
CLASSES = ["cat", "dog", "owl"]


def finite(value):
    """Is every number in nested lists, tuples and mappings finite?"""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


# --- parameters, profiles, JSON


@given(damage.contents((ROOT / "params.yaml").read_bytes()))
@damage.examples(100)
def test_params_yaml(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content)
    loaded = damage.result_or_octet_error(lambda: params.load(tmp_path / "params.yaml"))
    if loaded is not None:
        assert loaded.models
        assert loaded.calibrate.images >= 1
        assert 50 <= loaded.calibrate.percentile <= 100
        assert math.isfinite(loaded.mixed_precision.budget)


PROFILE = b"""# measured
base: dotprod
layers:
  conv_1: {int8: true, requantize: false}
  conv_2: {winograd: true}
  'fc': {int8: false}
fp32_costs_us:
  conv_1: 41.5
  fc: -3
"""


@given(damage.contents(PROFILE))
@example(PROFILE.replace(b"  fc: -3", b"  2: -3"))
@damage.examples(120)
def test_a_target_s_profile(tmp_path, content):
    (tmp_path / "board.yaml").write_bytes(content)
    result = damage.result_or_octet_error(lambda: profiles.load(tmp_path / "board.yaml"))
    if result is not None:
        assert all(isinstance(name, str) for name in [*result.layers, *result.fp32_costs_us])
        assert finite(list(result.fp32_costs_us.values()))


@example(b"NaN").via("not JSON, though Python reads it")
@example(b"[1e400]").via("overflows")
@example(b"[" * 10_000).via("nested too deep")
@given(damage.contents(b'{"keep_fp32": ["conv_1"], "budget": 1e-3, "layers": [{"kl_alone": 1.5}]}'))
@damage.examples(120)
def test_any_json(tmp_path, content):
    """plan.json, analyze.json and all figures: what is not a number never comes out of one."""
    (tmp_path / "x.json").write_bytes(content)
    assert finite(damage.result_or_octet_error(lambda: read_json(tmp_path / "x.json", "a stage makes it")))


def steps(channel_order="RGB"):
    geometry = [
        Resize(9, -1, "short", "bilinear", "cv2"),
        CenterCrop(8, 8),
        Resize(10, 12, None, "bicubic", "pillow"),
        CropAndResize(8, 3, "area", "cv2"),
    ]
    count = 1 if channel_order == "GREY" else 3
    return Preprocess(channel_order, [120.5] * count, [58.0] * count, [8, 8], CLASSES, geometry=geometry, to_half=True)


def written_steps(folder, channel_order):
    preprocess.save(steps(channel_order), folder / "valid.json")
    return (folder / "valid.json").read_bytes()


@given(data=st.data(), channel_order=st.sampled_from(["RGB", "BGR", "GREY"]))
@damage.examples(120)
def test_preprocess_json(tmp_path, data, channel_order):
    """What is read also runs: on an image of any size, to a finite input of the network's shape or an OctetError."""
    content = data.draw(damage.contents(written_steps(tmp_path, channel_order)))
    (tmp_path / "preprocess.json").write_bytes(content)
    result = damage.result_or_octet_error(lambda: preprocess.load(tmp_path / "preprocess.json"))
    if result is None:
        return
    for height, width in ((8, 8), (31, 50), (1, 60)):
        image = np.full((height, width, 3) if result.channels == 3 else (height, width), 77, np.uint8)
        x = damage.result_or_octet_error(lambda image=image: result(image))
        if x is not None:
            assert x.dtype == np.float32
            assert x.shape == (result.channels, *result.size)
            assert np.isfinite(x).all()


# --- arrays, predictions


def npz(weights, folder):
    gptq_weights.save(weights, folder / "valid.npz")
    return (folder / "valid.npz").read_bytes()


CHOSEN = {
    "conv_1": GptqWeights(np.arange(-4, 5, dtype=np.int8), np.ones(3, np.float32)),
    "fc": GptqWeights(np.zeros(2, np.int8), np.array([np.nan], np.float32)),
}


ARRAYS = st.one_of(
    st_numpy.arrays(
        st.sampled_from([np.int8, np.float32, np.float64, bool, "U2"]), st.sampled_from([(), (0,), (3,), (1, 2)])
    ),
    st.just(np.array([None], object)),  # which is pickled
)


@st.composite
def archives(draw):
    """A zip of .npy files of any kind, or of the right kind and damaged in front, where their shape and type stand."""
    files = {}
    for key in draw(
        st.lists(st.sampled_from(["a/weight", "a/bias", "b/weight", "b/bias", "c", "", "é/bias"]), unique=True)
    ):
        buffer = io.BytesIO()
        np.save(buffer, draw(ARRAYS))
        files[f"{key}.npy"] = draw(damage.damaged(buffer.getvalue())) if draw(st.booleans()) else buffer.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_archives_that_are_none(tmp_path):
    """A member that is no array; arrays of another type and shape; heads that Python cannot parse."""
    fine = {"a/weight": np.zeros(3, np.int8), "a/bias": np.ones(1, np.float32)}

    def written(change):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, array in fine.items():
                member = io.BytesIO()
                np.save(member, array)
                archive.writestr(f"{name}.npy", change(member.getvalue()))
        (tmp_path / "r.npz").write_bytes(buffer.getvalue())
        return gptq_weights.load(tmp_path / "r.npz")

    assert written(lambda raw: raw)["a"].weight.tolist() == [0, 0, 0]
    for change in (
        lambda raw: b"x" + raw[1:],
        lambda raw: raw.replace(b"(3,)", b"3,) "),
        lambda raw: raw.replace(b"(3,)", b"(\0,)"),
        lambda raw: raw.replace(b"|i1", b"|u1"),
        lambda raw: raw.replace(b"(3,)", b"(99999999999999999,)"),
        lambda raw: raw.replace(b"(3,)", b"(1,3)"),
    ):
        with pytest.raises(OctetError, match="r.npz: not an .npz of rounded weights, or damaged"):
            written(change)


@given(data=st.data())
@damage.examples(100)
def test_rounding_npz(tmp_path, data):
    content = data.draw(damage.contents(npz(CHOSEN, tmp_path), npz({}, tmp_path)) | archives())
    (tmp_path / "rounding.npz").write_bytes(content)
    result = damage.result_or_octet_error(lambda: gptq_weights.load(tmp_path / "rounding.npz"))
    for one in (result or {}).values():
        assert (one.weight.dtype, one.bias.dtype) == (np.int8, np.float32)
        assert one.weight.ndim == one.bias.ndim == 1


PREDICTIONS = predictions_csv(
    [
        Prediction("a.png", "cat", ["cat", 'a "dog", big', "ö"], [0.5, 0.3, 0.2]),
        Prediction("b, c.png", "ö", ["ö", "cat", 'a "dog", big'], [1, 0, 0]),
    ]
).encode()


@given(damage.contents(PREDICTIONS))
@example(PREDICTIONS.replace(b"0.500000", b"nan"))
@damage.examples(120)
def test_a_predictions_file(tmp_path, content):
    (tmp_path / "p.csv").write_bytes(content)
    for row in damage.result_or_octet_error(lambda: read_predictions(tmp_path / "p.csv")) or []:
        assert len(row.top) == len(row.probabilities) > 0
        assert all(0 <= share <= 1 for share in row.probabilities)


# --- data sets


def binary(layout):
    """A split's files in miniature: three classes, two records a file."""
    record = bytes(layout.label_bytes - 1) + b"\x02" + bytes(range(256)) * 12
    return {name: record * 2 for split in layout.files.values() for name in split} | {layout.names: b"cat\ndog\nowl\n"}


PLAIN = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def batches(draw, layout):
    """Pickled batches and class names with other values than CIFAR's."""
    rows, key = draw(st.integers(0, 3)), layout.keys[0]
    data = draw(
        st_numpy.arrays(st.sampled_from([np.uint8, np.float32]), st.just((rows, 3072)), elements=st.just(1)) | PLAIN
    )
    integers = st.lists(st.integers(-2, 4) | st.integers(), min_size=rows, max_size=rows)
    labels = draw(integers | integers.map(np.array) | st.lists(PLAIN, min_size=rows, max_size=rows) | PLAIN)
    content = draw(st.sampled_from([{"data": data, key: labels}, {"data": data}, {key: labels}, labels]))
    return pickle.dumps(content, protocol=draw(st.integers(0, 5)))


def pickled(layout):
    batch = {"data": np.arange(6144, dtype=np.int64).astype(np.uint8).reshape(2, 3072), layout.keys[0]: [0, 2]}
    files = {name: pickle.dumps(batch, protocol=2) for split in layout.files.values() for name in split}
    return files | {layout.names: pickle.dumps({layout.keys[1]: CLASSES}, protocol=2)}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.folder)
@given(data=st.data())
@damage.examples(100)
def test_cifar_s_batches(tmp_path, layout, data):
    """Of every version, the class names and one batch spoiled."""
    files = (pickled if layout.keys else binary)(layout)
    for name in (layout.names, layout.files["test"][0]):
        if data.draw(st.booleans()):
            anything = damage.contents(files[name])
            if layout.keys:
                names = PLAIN.map(lambda value: pickle.dumps({layout.keys[1]: value}))
                anything |= names if name == layout.names else batches(layout)
            files[name] = data.draw(anything)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    result = damage.result_or_octet_error(lambda: Cifar(tmp_path, "test"))
    if result is not None:
        assert len(result) == len(result.labels) > 0
        assert (result.labels >= 0).all()
        assert (result.labels < len(result.classes)).all()
        assert all(result.image(k).shape == (32, 32, 3) for k in range(len(result)))
        assert (
            damage.result_or_octet_error(lambda: open_split(tmp_path, "test", CLASSES)) is None
            or len(result.classes) == 3
        )


@given(damage.contents(b"cat/a.png 0\ndog/b c.png 2\n\nmeta.txt 1\n"))
@example(b"cat/a.png 0\n\xff.png 1\n").via("not UTF-8")
@example(b"x" * 300 + b" 0\n").via("a name that is too long for the operating system")
@example(b"cat/a.png " + b"1" * 5000 + b"\n").via("an integer that is too long for Python")
@damage.examples(120)
def test_an_annotation_file(tmp_path, content):
    for name in ("meta/val.txt", "val/cat/a.png", "val/dog/b c.png", "val/meta.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "meta/val.txt").write_bytes(content)
    result = damage.result_or_octet_error(lambda: open_split(tmp_path, "test", CLASSES))
    if result is not None:
        assert len(result) == len(result.labels) > 0
        assert set(result.labels.tolist()) <= {0, 1, 2}
        for k in range(len(result)):
            with pytest.raises(Unreadable):  # all are empty
                result.image(k)


def image_file(kind, mode, **more):
    random = np.random.Generator(np.random.PCG64(0))
    pixels = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **more)
    return buffer.getvalue()


IMAGES = [image_file("PNG", "RGB"), image_file("PNG", "RGBA"), image_file("PNG", "P"), image_file("JPEG", "RGB")]
IMAGES += [image_file("JPEG", "CMYK"), image_file("BMP", "RGB"), image_file("PPM", "RGB"), image_file("PPM", "L")]
IMAGES += [image_file("TIFF", "RGB"), image_file("WEBP", "RGB"), image_file("GIF", "P")]


HUGE = b"RIFF\0\0\0\x02WEBPVP8 \0\0\0\x01\x10\0\0\x9d\x01*\0\x02\0\x11\0\0"  # claims more pixels than OpenCV takes


@example(HUGE, "color")
@given(damage.contents(*IMAGES), st.sampled_from(sorted(FLAGS)))
@damage.examples(100)
def test_an_image_file(tmp_path, content, color_type):
    (tmp_path / "x.png").write_bytes(content)
    image = damage.result_or_octet_error(lambda: read(tmp_path / "x.png", color_type))
    if image is not None:
        assert image.size > 0
        assert image.ndim in (2, 3)
        assert color_type == "unchanged" or image.dtype == np.uint8
