"""GPTQ: what it minimizes, the moments it learns from, and what the engine makes of it."""

import numpy as np
import pytest

from octet.calibrate.calibrate import calibrate
from octet.core.errors import OctetError
from octet.graph import zero_points
from octet.graph.gptq import WINDOWS, Grid, cholesky, gptq_integers
from octet.graph.profiles import target
from octet.graph.targets import Target
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.quantize.gptq import gather_moments, gptq_weights
from octet.quantize.gptq_weights import GptqWeights, load, save
from octet.quantize.quantize import quantize
from tests import nets

pytestmark = pytest.mark.unit

ASYMMETRIC = Target("t", winograd=False, asymmetric=True)


def correlated(width, samples=4000, seed=0):
    """Inputs that depend on one another, shape (samples, width)."""
    random = np.random.Generator(np.random.PCG64(seed))
    return random.normal(0, 1, (samples, width)) @ random.normal(0, 1, (width, width)) + 0.3


def test_errors_cancel_in_the_output():
    x = correlated(24)
    covariance = np.cov(x.T, bias=True)
    weight = np.random.Generator(np.random.PCG64(1)).uniform(-31, 31, (8, 24))
    result, nearest = gptq_integers(weight, covariance, 31), np.rint(weight)

    def lost(integers):
        return np.var(x @ (integers - weight).T, axis=0)

    assert result.dtype == np.int8
    assert np.abs(result).max() <= 31
    assert (lost(result) < lost(nearest)).all()
    assert lost(result).mean() < 0.6 * lost(nearest).mean()


def test_inputs_that_do_not_depend_on_one_another_round_to_the_nearest():
    weight = np.random.Generator(np.random.PCG64(1)).uniform(-140, 140, (8, 24))
    result = gptq_integers(weight, np.diag(np.arange(1.0, 25)), 127)
    assert np.array_equal(result, np.clip(np.rint(weight), -127, 127))


def test_dead_inputs_round_to_the_nearest():
    covariance = np.cov(correlated(6).T)
    covariance[2] = covariance[:, 2] = 0
    weight = np.random.Generator(np.random.PCG64(1)).uniform(-31, 31, (5, 6))
    assert np.array_equal(gptq_integers(weight, covariance, 31)[:, 2], np.rint(weight[:, 2]))
    assert np.array_equal(gptq_integers(weight, np.zeros((6, 6)), 31), np.rint(weight))


def as_published(weight, covariance, levels):
    """GPTQ as its paper has it: each column's error goes to all behind it at once, by the inverse's Cholesky factor."""
    order = np.argsort(-np.diag(covariance), kind="stable")
    damped = covariance[np.ix_(order, order)] + 0.01 * np.diag(covariance).mean() * np.eye(len(order))
    factor, left = np.linalg.cholesky(np.linalg.inv(damped)).T, weight[:, order].copy()
    integers = np.empty(weight.shape)
    for k in range(len(order)):
        integers[:, order[k]] = rounded = np.clip(np.rint(left[:, k]), -levels, levels)
        left[:, k:] -= np.outer((left[:, k] - rounded) / factor[k, k], factor[k, k:])
    return integers


@pytest.mark.parametrize("levels", [127, 20], ids=["all fit", "some are clipped"])
def test_the_integers_are_those_of_the_published_algorithm(levels):
    weight = np.random.Generator(np.random.PCG64(1)).uniform(-31, 31, (8, 150))
    covariance = np.cov(correlated(150).T, bias=True)
    assert np.array_equal(gptq_integers(weight, covariance, levels), as_published(weight, covariance, levels))


@pytest.mark.parametrize("width", [1, 128, 300])
def test_the_cholesky_factor(width):
    covariance = np.cov(correlated(width).T, bias=True).reshape(width, width)
    assert np.allclose(cholesky(covariance.copy()), np.linalg.cholesky(covariance), rtol=1e-9, atol=1e-9)


def windows_one_by_one(values, kernel, stride, pad, every, first=(0, 0)):
    """What a convolution sees, by loops: a list of windows, each flat."""
    channels, height, width = values.shape
    bordered = np.zeros((channels, height + 2 * pad, width + 2 * pad), np.float32)
    bordered[:, pad : pad + height, pad : pad + width] = values
    rows = range(0, bordered.shape[1] - kernel + 1, stride)
    columns = range(0, bordered.shape[2] - kernel + 1, stride)
    picked = [(y, x) for y in list(rows)[first[0] :: every[0]] for x in list(columns)[first[1] :: every[1]]]
    return [bordered[:, y : y + kernel, x : x + kernel].ravel() for y, x in picked]


@pytest.mark.parametrize(("stride", "every"), [(1, (2, 2)), (2, (1, 1))])
def test_the_moments_are_those_of_the_windows(stride, every):
    net = Net([Layer("Input", "in0", [], ["in0"]), nets.conv("c", "in0", "out0", 3, 4, stride=stride)])
    images = nets.images(3, size=12)
    grid = Grid(40.0, 0)
    result = gather_moments(Engine.of(net), [net.layer("c")], {"c": grid}, images)["c"]
    firsts = [(k % every[0], k // every[0] % every[1]) for k in range(3)]  # no part of an image is left out
    windows = np.array(
        [
            p
            for image, first in zip(images, firsts, strict=True)
            for p in windows_one_by_one(image, 3, stride, 1, every, first)
        ]
    )
    integers = np.clip(np.round(windows * 40.0), -127, 127)
    assert result.count == len(windows)
    assert np.array_equal(result.products[0], integers.T @ integers)
    assert np.array_equal(result.sums[0], integers.sum(axis=0))
    assert np.allclose(result.values[0], windows.sum(axis=0, dtype=np.float64), rtol=1e-6)


def test_more_images_are_looked_at_in_fewer_places():
    net = Net([Layer("Input", "in0", [], ["in0"]), nets.conv("c", "in0", "out0", 3, 4)])
    for count, looked_at in ((60, 60 * 64), (128, 128 * 25), (1000, 1000 * 4)):
        images = nets.images(2) * (count // 2)
        moments = gather_moments(Engine.of(net), [net.layer("c")], {"c": Grid(40.0, 0)}, images)["c"]
        assert looked_at * 0.6 <= moments.count <= WINDOWS


def test_depthwise_inputs_are_apart_by_channel():
    net = Net([Layer("Input", "in0", [], ["in0"]), nets.conv("c", "in0", "out0", 3, 3, groups=3)])
    image = nets.images(1, size=8)[0]
    result = gather_moments(Engine.of(net), [net.layer("c")], {"c": Grid(40.0, 0)}, [image])["c"]
    for channel in range(3):
        windows = np.array(windows_one_by_one(image[channel : channel + 1], 3, 1, 1, (1, 1)))
        integers = np.clip(np.round(windows * 40.0), -127, 127)
        assert np.array_equal(result.products[channel], integers.T @ integers)


def chosen_by_gptq(net, profile, images, workers=None):
    table = calibrate(net, images, nets.settings("minmax"), profile)
    return table, gptq_weights(net, table, profile, [], images)


@pytest.mark.parametrize("profile", [target("ncnn2int8"), nets.DOTPROD, ASYMMETRIC], ids=lambda t: t.name)
def test_the_engine_loses_less(profile):
    net, images = nets.small(), nets.images(64)
    table, chosen_weights = chosen_by_gptq(net, profile, images)
    assert chosen_weights.keys() == profile.int8_layers(net)
    wanted = np.array([Engine.of(net)(x) for x in images])
    errors = []
    for chosen in (None, chosen_weights):
        engine = Engine.of(quantize(net, table, profile, [], "t", chosen))
        errors.append(np.array([engine(x) for x in images]) - wanted)
    nearest, better = (np.square(error).mean() for error in errors)
    assert better < 0.8 * nearest
    means = [np.abs(error.mean(axis=0)).max() for error in errors]
    assert means[1] < 0.5 * means[0], "the mean error is in the bias"


def test_one_layer_s_mean_error_is_gone():
    """Of a layer whose input is clipped hard, and has a zero point."""
    net = Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("a", "in0", "1", 3, 8, seed=1),
            nets.conv("b", "1", "out0", 8, 8, seed=2, relu=False),
        ]
    )
    profile, images = Target("t", winograd=False, asymmetric=True, fp32_input=True), nets.images(32)
    table = calibrate(net, images, nets.settings("minmax"), profile)
    table.inputs["b"] *= np.float32(2.5)
    assert zero_points.with_zero_point(net, {"b": 1}) == {"b"}
    chosen_weights = gptq_weights(net, table, profile, [], images)

    def mean_error(chosen):
        engine, fp32 = Engine.of(quantize(net, table, profile, [], "t", chosen)), Engine.of(net)
        return np.mean([(engine(x) - fp32(x)).reshape(8, -1).mean(axis=1) for x in images], axis=0)

    assert np.abs(mean_error(None)).max() > 0.02
    assert np.abs(mean_error(chosen_weights)).max() < 1e-4


def test_the_file(tmp_path):
    result = {"conv/1": GptqWeights(np.arange(-4, 5, dtype=np.int8), np.ones(3, np.float32))}
    save(result, tmp_path / "a.npz")
    save(result, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = load(tmp_path / "a.npz")
    assert list(again) == ["conv/1"]
    assert np.array_equal(again["conv/1"].weight, result["conv/1"].weight)
    save({}, tmp_path / "none.npz")
    assert load(tmp_path / "none.npz") == {}
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(OctetError, match="cut.npz: not an .npz of rounded weights, or damaged"):
        load(tmp_path / "cut.npz")


def test_rounded_weights_of_another_model_or_target():
    net, images = nets.small(), nets.images(8)
    table, chosen_weights = chosen_by_gptq(net, nets.DOTPROD, images)
    chosen_weights["fc"] = GptqWeights(chosen_weights["fc"].weight[:-1], chosen_weights["fc"].bias)
    with pytest.raises(OctetError, match="layer fc: its 31 rounded weights are not for this model and target"):
        quantize(net, table, nets.DOTPROD, [], "t", chosen_weights)
