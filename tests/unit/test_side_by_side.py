"""What a network gives for several images together is what it gives for each alone, bit for bit."""

import numpy as np
import pytest

from octet.ncnn import side_by_side
from octet.ncnn.engine import Engine
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.side_by_side import FEWEST, HEAVY_WEIGHTS, TOGETHER
from octet.ncnn.variants import Base, Variant
from tests import nets

pytestmark = pytest.mark.unit


def network():
    """Three heavy convolutions, one of stride 2, one beside a skip connection; and two that are not heavy."""
    return Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            nets.conv("conv_1", "in0", "1", 3, 256, seed=1),
            nets.conv("conv_2", "1", "2", 256, 256, seed=2),
            nets.conv("conv_3", "2", "3", 256, 256, seed=3, stride=2),
            Layer("Split", "split_1", ["3"], ["4", "5"]),
            nets.conv("conv_4", "4", "6", 256, 256, seed=4, relu=False),
            Layer("BinaryOp", "add_1", ["6", "5"], ["7"], {0: "0"}),
            Layer("ReLU", "relu_1", ["7"], ["8"]),
            nets.conv("conv_5", "8", "9", 256, 512, kernel=1, seed=5),
            Layer("Pooling", "gap_1", ["9"], ["10"], {0: "1", 4: "1"}),
            nets.linear("fc", "10", "out0", 512, 4, seed=6),
        ]
    )


def heavy(engine):
    return [layer for _, layer in engine.side_by_side.layers.values() if layer]


@pytest.fixture(scope="module")
def engine():
    return Engine.of(network())


@pytest.mark.parametrize("count", [0, 1, FEWEST, TOGETHER - 1, TOGETHER])
def test_each_image_gives_the_same_bits(engine, count):
    images = nets.images(count, seed=count)
    together = engine.each(images)
    assert len(together) == count
    assert all(map(np.array_equal, together, map(engine, images)))


def test_heavy_layers_run_side_by_side(engine):
    engine.each(nets.images(TOGETHER))
    assert [layer.int(6) >= HEAVY_WEIGHTS for layer in network().layers if layer.type == "Convolution"] == [
        *(False, True, True),
        *(True, False),
    ]
    assert len(heavy(engine)) == 3
    # Which kernel ncnn takes for Winograd is its choice; with stride 2 there is none, and so no reason to differ.
    assert next(iter(heavy(engine)[1]._spacings.values()))


def test_inputs_of_another_size_have_a_trial_of_their_own(engine):
    images = nets.images(TOGETHER, size=6)
    assert np.array_equal(engine.each(images), [engine(image) for image in images])


def test_where_ncnn_takes_another_kernel_the_layer_runs_on_each_image(monkeypatch):
    monkeypatch.setattr(side_by_side, "_COLUMNS", (1,))  # Winograd's tiles then lie elsewhere than in one image alone
    engine, images = Engine.of(network()), nets.images(TOGETHER)
    assert np.array_equal(engine.each(images), [engine(image) for image in images])


def test_images_of_different_sizes(engine):
    images = [*nets.images(4), *nets.images(4, size=6)]
    assert np.array_equal(engine.each(images), [engine(image) for image in images])


def test_large_images_go_one_after_the_other(engine, monkeypatch):
    images = nets.images(TOGETHER)
    monkeypatch.setattr(side_by_side, "LARGEST", images[0].size - 1)
    monkeypatch.setattr(engine, "together", None)
    assert np.array_equal(engine.each(images), [engine(image) for image in images])


def test_many_pixels_are_no_gain():
    engine, images = Engine.of(network()), nets.images(TOGETHER, size=12)
    assert np.array_equal(engine.each(images), [engine(image) for image in images])
    spacings = [list(layer._spacings.values()) for layer in heavy(engine)]
    assert spacings[0] == [None]
    assert spacings[1] != [None]


def test_padding_that_is_not_zero_or_not_known_is_not_heavy():
    for key, value in ((18, "0.5"), (4, "-233"), (8, "2")):
        layer = nets.conv("conv", "a", "b", 256, 256)
        layer.params[key] = value
        assert not side_by_side._is_heavy(layer)


def test_variants_of_several_images():
    net = network()
    changed = net.copy()
    changed.layer("conv_3").weights["bias"] = nets.conv("", "", "", 1, 256, seed=7).weights["bias"]
    base, images = Base(net), nets.images(TOGETHER)
    variant = Variant(base, changed)
    mats = [of for of, _ in base.run(images, variant.needs, [])]
    whole = Engine.of(changed)
    assert np.array_equal(variant.logits(mats), [whole(image) for image in images])
