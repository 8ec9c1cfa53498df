"""What holds for any numbers: histograms, thresholds, rounding, GPTQ; and for any network cut into parts."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from octet.calibrate import methods
from octet.calibrate.histogram import Histogram
from octet.calibrate.thresholds import input_scale
from octet.calibrate.weights import weight_scales
from octet.core import registry
from octet.core.errors import OctetError
from octet.graph import gptq
from octet.graph.profiles import target
from octet.ncnn.engine import Engine
from octet.ncnn.layer import TAG_INT8, Layer, Tensor
from octet.ncnn.net import Net
from octet.ncnn.partition import Chain, split
from octet.ncnn.rounding import round_int8
from tests import damage, nets

pytestmark = pytest.mark.unit

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)  # from denormals to the largest fp32
ARRAYS = st_numpy.arrays(np.float32, st.integers(1, 40), elements=FLOATS)


# --- calibration


@given(st.lists(st_numpy.arrays(np.float32, st.integers(0, 20), elements=FLOATS), min_size=1, max_size=6), st.randoms())
@damage.examples(100)
def test_histograms_of_any_numbers_merge_in_any_order(parts, random):
    """Two by two, like the shards of a cluster: any two of those that are left."""
    whole = Histogram.of(np.concatenate(parts))
    waiting = [Histogram.of(part) for part in parts]
    while len(waiting) > 1:
        random.shuffle(waiting)
        waiting.append(waiting.pop().merge(waiting.pop()))
    assert waiting[0] == whole
    assert whole.size == sum(part.size for part in parts)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(ARRAYS, st.data())
@damage.examples(20)
def test_a_histogram_of_what_is_no_number_is_refused(bad, values, data):
    values[data.draw(st.integers(0, len(values) - 1))] = bad
    with pytest.raises(ValueError, match="not finite"):
        Histogram.of(values)


SETTINGS = nets.settings()
BY_HISTOGRAM = [name for name in registry.calibrators() if methods.threshold(name)]


@pytest.mark.parametrize("name", BY_HISTOGRAM)
@given(st.lists(ARRAYS, min_size=1, max_size=3), st.sampled_from([127, 254]), st.floats(50, 100))
@damage.examples(60)
def test_thresholds_of_any_numbers_and_their_scales(name, parts, levels, percent):
    """In (0, largest], and the scale is a finite number above zero, up to the largest and down to the smallest fp32."""
    histogram = reduce(Histogram.merge, map(Histogram.of, parts))
    assume(histogram.largest > 0)
    settings = SETTINGS.model_copy(update={"percentile": percent})
    threshold = methods.threshold(name)(histogram, levels, settings)
    assert 0 < threshold <= histogram.largest
    assert 0 < input_scale(threshold) < np.inf


@pytest.mark.filterwarnings("ignore:overflow encountered")
@given(st.data(), st.sampled_from(["dotprod", "ncnn2int8"]), st.sampled_from(["absmax", "mse"]))
@damage.examples(100)
def test_weight_scales_of_any_weights(data, name, how):
    """Finite, above zero, and no weight becomes an integer beyond the target's levels."""
    layer = nets.conv("c", "a", "b", 2, 3, kernel=data.draw(st.sampled_from([1, 3])))
    weights = st_numpy.arrays(
        np.float32, layer.weights["weight"].data.size, elements=st.floats(-(2.0**100), 2.0**100, width=32)
    )
    layer.weights["weight"] = Tensor(data.draw(weights), 0)
    scales = weight_scales(layer, target(name), how)
    assert scales.shape == (3,)
    assert np.isfinite(scales).all()
    assert (scales > 0).all()
    integers = round_int8(layer.weights["weight"].data.reshape(3, -1) * scales[:, None])
    assert np.abs(integers.astype(int)).max() <= target(name).weight_levels(layer)


# --- rounding


def engine_s_integers(values, scale):
    """The integers that ncnn makes of values: an int8 convolution of one pixel whose weight is 1."""
    layer = nets.conv("c", "in0", "out0", 1, 1, kernel=1, relu=False)
    layer.params |= {5: "0", 8: "2"}
    layer.weights = {"weight": Tensor(np.ones(1, np.int8), TAG_INT8), "weight_scales": Tensor(np.ones(1, np.float32))}
    layer.weights["input_scale"] = Tensor(np.array([scale], np.float32))
    engine = Engine.of(Net([Layer("Input", "in0", [], ["in0"]), layer]))
    blob = np.array(next(engine.blobs(values.reshape(1, 1, -1), ["out0"])), np.float32)
    return np.rint(blob.ravel() * np.float32(scale))


@given(
    st_numpy.arrays(np.float32, st.integers(1, 40), elements=st.floats(-140, 140, width=32)),
    st.sampled_from([1.0, 0.5, 2.0, 0.25]),
    st.lists(st.integers(-300, 300), max_size=8),
)
@damage.examples(60)
def test_round_int8_is_the_engine_s(values, scale, halves):
    """With scales that lose no bit, and values on the border between two integers among them."""
    values = np.append(values, np.float32(halves) / 2) / np.float32(scale)
    products = values * np.float32(scale)
    result, wanted = engine_s_integers(values, scale), round_int8(products)
    # Just below a half, vector code and what is left over of it differ (tests/simulate.py).
    below = np.trunc(products + np.copysign(np.float32(0.5), products)) != np.trunc(
        products.astype(np.float64) + np.copysign(0.5, products)
    )
    assert np.array_equal(result[~below], wanted[~below])


@given(st_numpy.arrays(np.float32, st.integers(1, 40), elements=FLOATS | st.sampled_from([np.inf, -np.inf])))
def test_round_int8_stays_within_its_range_and_keeps_the_order(values):
    integers = round_int8(np.sort(values)).astype(int)
    assert np.abs(integers).max() <= 127
    assert (np.diff(integers) >= 0).all()


# --- GPTQ


@st.composite
def windows(draw):
    """int8 inputs of shape (n, d), some of them always the same, or the same as another."""
    count, width = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    seen = draw(st_numpy.arrays(np.int8, (count, width), elements=st.integers(-127, 127)))
    for k in draw(st.lists(st.integers(0, width - 1), max_size=width)):
        seen[:, k] = seen[:, 0] if draw(st.booleans()) else draw(st.integers(-127, 127))
    return seen.astype(np.float64)


@given(windows(), st.data(), st.sampled_from([31, 127]))
@damage.examples(100)
def test_gptq_s_integers_are_within_the_levels(seen, data, levels):
    """For any inputs, weights beyond the levels among them; inputs that never change round to the nearest."""
    weight = data.draw(st_numpy.arrays(np.float64, (3, seen.shape[1]), elements=st.floats(-1e4, 1e4)))
    mean = seen.mean(axis=0)
    covariance = seen.T @ seen / len(seen) - np.outer(mean, mean)
    integers = gptq.gptq_integers(weight, covariance, levels)
    assert integers.dtype == np.int8
    assert integers.shape == weight.shape
    assert np.abs(integers.astype(int)).max() <= levels
    dead = np.diag(covariance) <= 0
    nearest = np.clip(round_int8(weight.astype(np.float32)), -levels, levels)
    assert np.array_equal(integers[:, dead], nearest[:, dead])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 2, 7]))
@damage.examples(30)
def test_gptq_in_blocks_is_gptq(seed, width, block):
    """Handing errors on block by block gives the same integers as column by column."""
    random = np.random.Generator(np.random.PCG64(seed))
    weight, seen = random.normal(0, 30, (4, width)), random.normal(0, 1, (3 * width, width))
    covariance = seen.T @ seen / len(seen)
    whole = gptq.gptq_integers(weight, covariance, 127)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gptq, "BLOCK", block)
        assert np.array_equal(gptq.gptq_integers(weight, covariance, 127), whole)


# --- a network in parts


@st.composite
def networks(draw):
    """A network of convolutions, activations, sums and copies, 3x6x6 in; every blob is read, one is the output."""
    layers, free, blobs = [Layer("Input", "in0", [], ["in0"])], ["in0"], {"in0": 3}
    for k in range(draw(st.integers(2, 7))):
        kind = draw(st.sampled_from(["conv", "conv", "depthwise", "relu", "split", "add"]))
        blob = draw(st.sampled_from(free))
        pairs = [(a, b) for a in free for b in free if a < b and blobs[a] == blobs[b]]
        name, channels = f"l{k}", blobs[blob]
        if kind == "add" and pairs:
            blob, other = draw(st.sampled_from(pairs))
            layers.append(Layer("BinaryOp", name, [blob, other], [name], {0: "0"}))
            free.remove(other)
            channels = blobs[blob]
        elif kind == "split":
            layers.append(Layer("Split", name, [blob], [name, f"{name}b"]))
            free.append(f"{name}b")
            blobs[f"{name}b"] = channels
        elif kind == "relu":
            layers.append(Layer("ReLU", name, [blob], [name]))
        elif kind == "depthwise":
            layers.append(nets.conv(name, blob, name, channels, channels, seed=k, groups=channels))
        else:
            channels = draw(st.sampled_from([3, 4]))
            layers.append(nets.conv(name, blob, name, blobs[blob], channels, kernel=1, seed=k))
        free.remove(blob)
        free.append(name)
        blobs[name] = channels
    while len(free) > 1:  # what is still free goes into the output
        a, b = free.pop(), free.pop()
        name = f"join_{a}"
        layers.append(Layer("Concat", name, [b, a], [name], {0: "0"}))
        free.append(name)
    return Net(layers)


IMAGES = nets.images(2, seed=3, size=6)


@given(networks(), st.data())
@damage.examples(60)
def test_any_network_in_parts_is_the_whole(net, data):
    """Cut anywhere, at any number of blobs or layers in any order: the same bits, or an OctetError that names a cut."""
    known = [blob for layer in net.layers for blob in layer.outputs]
    cuts = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
    if data.draw(st.booleans()):
        cuts = sorted(set(cuts), key=known.index)
    try:
        parts = split(net, cuts, "net")
    except OctetError as error:
        message = str(error)
    else:
        check_parts(net, cuts, parts)
        return
    assert any(f"'{cut}'" in message for cut in cuts)


def check_parts(net, cuts, parts):
    assert len(parts) == len(cuts) + 1
    names = [layer.name for part in parts for layer in part.net.layers if layer.type != "Input"]
    assert sorted(names) == sorted(layer.name for layer in net.layers if layer.type != "Input")
    whole, chain = Engine.of(net), Chain(parts)
    for image in IMAGES:
        assert np.array_equal(whole(image), chain(image))
