"""Histograms that merge exactly, thresholds, and the table from one pass over images."""

import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octet.calibrate import methods
from octet.calibrate.activations import BINS as BINS_DRAWN
from octet.calibrate.activations import activations_csv
from octet.calibrate.calibrate import calibrate, remarks, table
from octet.calibrate.histogram import BINS, Histogram
from octet.calibrate.job import Job
from octet.calibrate.observe import histograms
from octet.calibrate.ranges import ranges
from octet.calibrate.weights import weight_scales
from octet.core import registry
from octet.core.errors import OctetError
from octet.graph.profiles import target
from octet.graph.ranges import load, save
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, loads, save_net
from octet.ncnn.rounding import round_int8
from tests import nets

pytestmark = pytest.mark.unit


BY_HISTOGRAM = [name for name in registry.calibrators() if methods.threshold(name)]


ROOT = Path(__file__).parents[2]
SETTINGS = nets.settings()


def choose(name, histogram, levels=127, **changes):
    """The threshold of a calibrator, with params.yaml's settings but for those of its own."""
    return methods.threshold(name)(histogram, levels, nets.settings(name, **changes))


def values(seed=0, n=20000):
    random = np.random.Generator(np.random.PCG64(seed))
    wide = random.normal(0, 1, n) * np.exp(random.normal(0, 2, n))
    return np.maximum(wide, 0).astype(np.float32)


def test_counts_are_numpy_s():
    x = values()
    h = Histogram.of(x)
    wanted, _ = np.histogram(np.abs(x[x != 0]), bins=BINS, range=(0, 2.0**h.exponent))
    assert np.array_equal(h.counts, wanted)
    assert h.zeros == (x == 0).sum()
    assert h.largest == x.max()
    assert 2.0 ** (h.exponent - 1) <= h.largest < 2.0**h.exponent


@pytest.mark.parametrize("seed", range(5))
def test_any_sharding_gives_the_same_counts(seed):
    x = values(seed)
    whole = Histogram.of(x)
    random = np.random.Generator(np.random.PCG64(seed))
    cuts = np.sort(random.integers(0, len(x), 9))
    parts = [Histogram.of(part) for part in np.split(x, cuts)]
    random.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert merged == whole


def test_zeros_tiny_values_and_bad_ones():
    nothing = Histogram.of(np.zeros(5, np.float32))
    assert nothing.largest == 0
    assert nothing.zeros == 5
    tiny = np.array([1e-44, 3e-39], np.float32)
    assert Histogram.of(tiny).counts.sum() == 2
    both = nothing.merge(Histogram.of(np.array([3.0], np.float32)))
    assert both.zeros == 5
    assert both.counts.sum() == 1
    assert both.largest == 3
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            Histogram.of(np.array([1, bad], np.float32))


def test_minmax_clips_nothing():
    assert choose("minmax", Histogram.of(values())) == values().max()


def test_mse_against_the_values_themselves():
    """The threshold found from bins is as good as the best one found from the values."""
    x = np.abs(np.random.Generator(np.random.PCG64(1)).laplace(0, 1, 50000)).astype(np.float32)

    def error(threshold):
        step = threshold / 127
        return np.mean((x - np.minimum(np.round(x / step), 127) * step) ** 2)

    best = min(error(t) for t in np.linspace(0.05, 1, 400) * x.max())
    assert error(choose("mse", Histogram.of(x))) <= best * 1.02
    assert error(choose("mse", Histogram.of(x))) < 0.95 * error(x.max())


def test_percentile_against_numpy():
    x = values()
    assert (x == 0).mean() > 0.4, "half of them are zeros, which count"
    for percent in (90, 99, 99.9):
        h = Histogram.of(x)
        assert choose("percentile", h, percentile=percent) == pytest.approx(
            np.percentile(x, percent), rel=0.01, abs=1.01 * h.width
        )
    assert choose("percentile", Histogram.of(x), percentile=100) == x.max()


def test_aciq_is_best_for_a_laplace_distribution():
    """Against the expected squared error of a Laplace distribution of scale b, minimized numerically."""
    b = 0.37
    x = np.random.Generator(np.random.PCG64(5)).laplace(0, b, 2_000_000).astype(np.float32)
    a = np.linspace(5, 15, 10001) * b
    expected = 2 * b**2 * np.exp(-a / b) + a**2 / (3 * 4**8)
    x[0] = 100  # an outlier that no clipping threshold may follow
    assert choose("aciq", Histogram.of(x)) == pytest.approx(a[expected.argmin()], rel=0.02)


def test_mse_weights_lose_less_and_still_fit():
    layer = nets.conv("c", "a", "b", 16, 8, seed=5)
    rows = layer.weights["weight"].data.reshape(8, -1)
    for name, levels in (("dotprod", 127), ("ncnn2int8", 31)):

        def lost(scales):
            return np.square(rows - round_int8(rows * scales[:, None]) / scales[:, None]).sum(axis=1)

        plain, best = (weight_scales(layer, target(name), how) for how in ("absmax", "mse"))
        assert (lost(best) <= lost(plain)).all()
        assert lost(best).sum() < lost(plain).sum()
        assert np.abs(round_int8(rows * best[:, None])).max() <= levels


def test_kl_clips_outliers_and_keeps_what_is_dense():
    random = np.random.Generator(np.random.PCG64(2))
    dense = random.uniform(0, 1, 100000).astype(np.float32)
    assert choose("kl", Histogram.of(dense)) > 0.95
    outlier = np.append(np.abs(random.normal(0, 1, 100000)), [40.0]).astype(np.float32)
    assert 2.5 < choose("kl", Histogram.of(outlier)) < 10


def test_kl_is_ncnn_s():
    """Literal thresholds, from ncnn's own loop (quantize_KL) written out on a small histogram."""
    random = np.random.Generator(np.random.PCG64(3))
    x = np.abs(random.laplace(0, 1, 30000)).astype(np.float32)
    h = Histogram.of(x)
    counts = np.add.reduceat(
        h.up_to_largest(), np.arange(0, len(h.up_to_largest()), max(1, len(h.up_to_largest()) // 2048))
    )
    assert choose("kl", h) == pytest.approx(
        (ncnn_kl(counts) + 0.5) * h.width * max(1, len(h.up_to_largest()) // 2048), rel=0.02
    )


def ncnn_kl(counts, levels=128):
    share, best = counts / counts.sum(), (None, np.inf)
    for threshold in range(levels, len(share)):
        p = share[:threshold] + 1e-4
        p[-1] += share[threshold:].sum()
        per, q = threshold / levels, np.full(threshold, 1e-4)
        for level in range(levels):
            start, end = level * per, (level + 1) * per
            parts = {}
            for k in range(int(np.floor(start)), min(int(np.ceil(end)), threshold)):
                parts[k] = min(end, k + 1) - max(start, k)
            mean = sum(share[k] * part for k, part in parts.items()) / sum(parts.values())
            for k, part in parts.items():
                q[k] += mean * part
        divergence = (p * np.log(p / q)).sum()
        if divergence < best[1]:
            best = (threshold, divergence)
    return best[0]


@pytest.mark.parametrize("method", BY_HISTOGRAM)
def test_the_table_does_not_depend_on_workers(tmp_path, method):
    net, images = nets.small(), nets.images(24)
    files = tmp_path / "m.param", tmp_path / "m.bin"
    save_net(net, *files)
    one, four = (calibrate(net, images, nets.settings(method), target("dotprod"), workers=n) for n in (1, 4))
    assert one.inputs == four.inputs
    assert list(one.inputs) == list(one.weights) == ["conv_1", "conv_2", "conv_3", "fc"]
    assert all(np.array_equal(one.weights[name], four.weights[name]) for name in one.weights)
    if method == "minmax":
        assert one.inputs["conv_1"] == np.float32(127 / max(np.abs(x).max() for x in images))


def test_a_dead_channel_and_a_dead_input_get_scale_1(tmp_path):
    net = nets.small()
    weight = net.layer("conv_2").weights["weight"]
    weight.data = weight.data.copy()
    weight.data[: 8 * 9] = 0
    scales = weight_scales(net.layer("conv_2"), target("dotprod"))
    assert scales[0] == 1
    assert np.isfinite(scales).all()
    assert (scales[1:] > 1).all()
    save_net(net, tmp_path / "m.param", tmp_path / "m.bin")
    black = [np.zeros((3, 8, 8), np.float32)]
    result = calibrate(net, black, nets.settings("kl"), target("dotprod"), workers=1)
    assert result.inputs["conv_1"] == 1
    assert np.isfinite(list(result.inputs.values())).all()
    assert remarks(Job(net, black, nets.settings("kl"), target("dotprod")), result) == [
        "conv_1: its input was 0 in all images; its scale is 1",
        "conv_2: 1 of 8 channels have no weights but zeros; their scale is 1",
    ]


def test_levels_follow_the_target():
    layer = nets.conv("c", "a", "b", 3, 8)
    largest = np.abs(layer.weights["weight"].data.reshape(8, -1)).max(axis=1)
    assert np.allclose(weight_scales(layer, target("dotprod")) * largest, 127)
    assert np.allclose(weight_scales(layer, target("ncnn2int8")) * largest, 31)
    strided = nets.conv("c", "a", "b", 3, 8, stride=2)
    assert np.allclose(weight_scales(strided, target("ncnn2int8")) * largest, 127)


def test_no_quantizable_layer(tmp_path):
    net = Net([Layer("Input", "in0", [], ["in0"]), Layer("ReLU", "relu", ["in0"], ["out0"])])
    with pytest.raises(OctetError, match="no layer that can be int8"):
        calibrate(net, [], nets.settings("kl"), target("dotprod"))


CONSTANTS = [0.5 * 2.0**exponent * (1 + share) for exponent in (-60, 0, 9) for share in np.linspace(0, 0.999, 9)]


@pytest.mark.parametrize("method", BY_HISTOGRAM)
@pytest.mark.parametrize("levels", [127, 254])
def test_a_constant_input_is_not_clipped(method, levels):
    for value in np.float32(CONSTANTS):
        for x in (np.full(100, value), np.float32([0, 0, value, -value]), np.float32([value * 0.999] * 9 + [value])):
            assert choose(method, Histogram.of(x), levels) >= 0.98 * value, (value, x[-4:])


def test_kl_warns_of_a_constant_input():
    net = nets.small()
    gray = [np.full((3, 8, 8), 0.3, np.float32), np.zeros((3, 8, 8), np.float32)]
    output = []
    for method in ("kl", "mse"):
        job = Job(net, gray, nets.settings(method), target("dotprod"))
        scales = table(job)
        assert scales.inputs["conv_1"] == pytest.approx(127 / 0.3)
        output.append([line for line in remarks(job, scales) if line.startswith("conv_1: ")])
    assert output == [
        ["conv_1: all values of its input but zeros are about 0.3: kl has no distribution to go by, and clips nothing"],
        [],
    ]


floats = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**60), max_value=2.0**60)
arrays = st.lists(floats, min_size=1, max_size=60).map(np.float32)


@given(arrays, st.lists(st.integers(0, 60), max_size=5), st.randoms())
def test_merged_histograms_are_the_whole_s(values, cuts, random):
    parts = [Histogram.of(part) for part in np.split(values, sorted(cuts))]
    random.shuffle(parts)
    assert reduce(Histogram.merge, parts) == Histogram.of(values)


@pytest.mark.parametrize("method", BY_HISTOGRAM)
@given(values=arrays.filter(np.any), levels=st.sampled_from([127, 254]), many=st.integers(1, 10**6))
def test_thresholds_lie_within_what_was_seen(method, values, levels, many):
    histogram = Histogram.of(values)
    histogram.counts *= many
    assert 0 < methods.threshold(method)(histogram, levels, SETTINGS) <= histogram.largest


def test_the_ranges_of_the_inputs(tmp_path):
    """Against the network's inputs themselves, which the first convolution reads, and the blobs behind them."""
    net, images = nets.small(), nets.images(8)
    job = Job(net, images, nets.settings("percentile", percentile=99.0), target("ncnn2int8"))
    scales = table(job)
    reached = ranges(net, job.histograms, scales)
    assert list(reached) == ["conv_1", "conv_2", "conv_3", "fc"]
    first, threshold = reached["conv_1"], 127 / float(scales.inputs["conv_1"])
    assert first.input_absmax == pytest.approx(np.abs(images).max(), rel=1e-5)
    assert first.input_threshold == pytest.approx(threshold, rel=1e-5)
    assert first.clipped_pct == pytest.approx(100 * np.mean(np.abs(images) > threshold), abs=0.1)
    assert 0.5 < first.clipped_pct < 1.1
    save(reached, tmp_path / "ranges.json")
    assert load(tmp_path / "ranges.json") == reached
    save(dict(reversed(reached.items())), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "ranges.json").read_bytes()


@pytest.mark.parametrize(
    "text", ["[]", '{"conv_1": 3}', '{"conv_1": {"input_absmax": 1.0}}', '{"conv_1": {"input_absmax": "x"}}']
)
def test_ranges_of_another_kind(tmp_path, text):
    (tmp_path / "ranges.json").write_text(text)
    with pytest.raises(OctetError, match=r"ranges.json: not the ranges .*the stage calibrate makes it"):
        load(tmp_path / "ranges.json")


HALF = '''"""Half of the largest magnitude."""


def threshold(histogram, levels, settings):
    return histogram.largest / 2
'''


def test_a_calibrator_whose_package_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "ppq", None)  # as on Python 3.13
    assert methods.calibrator("minmax")
    with pytest.raises(
        OctetError, match=r"method: ppq needs the package ppq, .* not installed.* PYTHON=.* another method"
    ):
        methods.calibrator("ppq")


def test_a_new_calibrator_is_one_file(tmp_path):
    """In a copy of the library: params.yaml takes it, the network is calibrated by it, and its docstring is its documentation."""
    for part in ("octet", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "params.yaml").read_text()
    assert "  method: mse\n" in text
    (tmp_path / "params.yaml").write_text(text.replace("  method: mse\n", "  method: half\n"))
    (tmp_path / "octet/calibrate/methods/half.py").write_text(HALF)
    code = """
import numpy as np
from octet.calibrate.calibrate import calibrate
from octet.calibrate.methods import describe
from octet.core import params
from octet.core.registry import calibrators
from octet.graph.profiles import target
from tests import nets
settings = params.load().calibrate
assert settings.method == "half"
scales = calibrate(nets.small(), nets.images(4), settings, target("ncnn2int8"))
assert scales.inputs["conv_1"] == np.float32(127 / (np.abs(nets.images(4)).max() / 2))
print(calibrators()["half"], describe({"method": "half", "weights": "absmax"}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Half of the largest magnitude. half, weights by absmax\n", "")


FIELD = '''    part: float = ask("Which part of the largest magnitude does method part take?", 0.5, default=0.5, ge=0, le=1)
    """Only read where the method is part."""
'''


def test_a_parameter_of_a_new_calibrator_is_one_field(tmp_path):
    """In a copy of the library: a params.yaml with and without it, the schema, the document and the words follow."""
    for part in ("octet", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "octet/calibrate/methods/part.py").write_text(HALF.replace("/ 2", "* settings.part"))
    source = (tmp_path / "octet/core/params.py").read_text()
    (tmp_path / "octet/core/params.py").write_text(source.replace("    ppq: Ppq\n", f"{FIELD}    ppq: Ppq\n"))
    text = (ROOT / "params.yaml").read_text().replace("  method: mse\n", "  method: part\n")
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "with.yaml").write_text(text.replace("  percentile:", "  part: 0.25\n  percentile:"))
    (tmp_path / "wrong.yaml").write_text(text.replace("  percentile:", "  part: 2\n  percentile:"))
    code = """
from octet.calibrate.methods import describe, threshold
from octet.calibrate.histogram import Histogram
from octet.core import params
from octet.core.errors import OctetError
from octet.project import schema
import numpy as np
for file in ("params.yaml", "with.yaml"):
    settings = params.load(file).calibrate
    print(threshold("part")(Histogram.of(np.float32([4, 1])), 127, settings), describe(settings.model_dump()))
try:
    params.load("wrong.yaml")
except OctetError as error:
    print(error)
assert '"part": {' in schema.json_schema()
print(next(line for line in schema.document().splitlines() if "`calibrate.part`" in line))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "2.0 part (0.5), weights by absmax",
        "1.0 part (0.25), weights by absmax",
        "wrong.yaml: calibrate.part: expected a number from 0 to 1, found 2. For example 0.5",
        "| `calibrate.part` | Which part of the largest magnitude does method part take? Only read where the method is part. "
        "| a number from 0 to 1; for example `0.5` |",
    ]


@pytest.mark.parametrize(("method", "line"), registry.calibrators().items())
def test_a_calibrator_is_documented(method, line):
    assert line.endswith("."), f"octet/calibrate/methods/{method}.py: its docstring begins with one sentence"
    document = (ROOT / "docs/calibrators.md").read_text().splitlines()
    assert f"- `{method}`: {line}" in document, "write its line, or run make sweep-calibrators"


def test_a_calibration_in_words():
    settings = {"percentile": 99.9, "ppq": {"algorithm": "kl", "batch": 8}, "weights": "mse", "images": 32}
    assert methods.describe(settings | {"method": "kl"}) == "kl, weights by mse"
    assert methods.describe(settings | {"method": "percentile"}) == "percentile (99.9), weights by mse"
    assert methods.describe(settings | {"method": "ppq"}) == "ppq (algorithm kl, batch 8)"


def test_the_activations_that_are_drawn(tmp_path):
    """Against numpy's histogram of the network's input, which the first convolution reads."""
    net, images = nets.small(), nets.images(8)
    files = tmp_path / "m.param", tmp_path / "m.bin"
    save_net(net, *files)
    job = Job(net, images, nets.settings("mse"), target("dotprod"))
    result = table(job)
    rows = [line.split(",") for line in activations_csv(net, job.histograms, result).splitlines()]
    assert rows[0] == ["layer", "value", "share_pct", "zeros_pct", "threshold"]
    assert list(dict.fromkeys(row[0] for row in rows[1:])) == ["conv_1", "conv_2", "conv_3", "fc"]
    first = np.array([row[1:] for row in rows[1:] if row[0] == "conv_1"], float)
    assert 32 <= len(first) <= BINS_DRAWN
    assert np.allclose(first[:, 3], 127 / result.inputs["conv_1"], rtol=1e-5)
    width = first[1, 0]
    counts, _ = np.histogram(np.abs(images), bins=len(first), range=(0, len(first) * width))
    assert np.allclose(first[:, 1], 100 * counts / counts.sum(), rtol=1e-4)
    assert not first[:, 2].any()


def test_a_blob_is_read_before_what_comes_behind_a_split_of_it():
    """ncnn has given its memory back once the Split was computed, as in a detector's pyramid of features."""
    text = (
        "7767517\n6 7\nInput in0 0 1 in0\nConvolution a 1 1 in0 a 0=4 1=1 6=16\nSplit s 1 2 a b c\nSigmoid r 1 1 b r\n"
        "Convolution d 1 1 r e 0=4 1=1 6=16\nConvolution f 1 1 c out0 0=4 1=1 6=16\n"
    )
    net = loads(text, (bytes(4) + np.full(16, 0.5, np.float32).tobytes()) * 3)
    measured = histograms(net, [np.ones((4, 2, 2), np.float32)])
    assert list(measured) == ["in0", "r", "a"]
