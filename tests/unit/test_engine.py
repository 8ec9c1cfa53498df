"""The engine refuses what its network cannot read."""

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.core.folder import NcnnFiles
from octet.ncnn.engine import Engine, known_shape
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, save_net
from octet.ncnn.partition import Chain, runner, split
from tests import nets

pytestmark = pytest.mark.unit
GREY = np.zeros((1, 8, 8), np.float32)


def test_an_image_with_other_channels(tmp_path):
    """With too few of them ncnn would read memory behind the image."""
    files = tmp_path / "a.param", tmp_path / "a.bin"
    save_net(nets.small(), *files)
    message = r"expected an input of the shape 3 x any x any, found 1 x 8 x 8; is its preprocess.json"
    with pytest.raises(OctetError, match=rf"a\.param: {message}"):
        Engine(*files)(GREY)
    engine = Engine.of(nets.small())
    for run in (engine, lambda image: engine.bits(image, ["1"]), Chain(split(nets.small(), ["2"], "net"))):
        with pytest.raises(OctetError, match=f"the network: {message}"):
            run(GREY)


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 8, 1)])
def test_an_image_with_other_axes(shape):
    with pytest.raises(OctetError, match="expected an input of the shape 3 x any x any, found"):
        Engine.of(nets.small())(np.zeros(shape, np.float32))


def test_a_known_size():
    engine = Engine.of(nets.small(), shape=(3, 8, 8))
    assert engine(nets.images(1)[0]).shape == (4,)
    with pytest.raises(OctetError, match="expected an input of the shape 3 x 8 x 8, found 3 x 9 x 9"):
        engine(nets.images(1, size=9)[0])
    with pytest.raises(OctetError, match="its input has the shape 3 x any x any, not 1 x 8 x 8"):
        Engine.of(nets.small(), shape=(1, 8, 8))


def test_what_the_input_layer_says():
    net = nets.small()
    net.layers[0].params = {0: "10", 1: "8", 2: "3"}
    assert known_shape(net.layers) == (3, 8, 10)
    with pytest.raises(OctetError, match="shape 3 x 8 x 10, found 3 x 8 x 8"):
        Engine.of(net)(nets.images(1)[0])


def test_depthwise_from_the_input_on():
    layer = nets.conv("dw", "in0", "out0", 6, 6, groups=6)
    assert known_shape([Layer("Input", "in0", [], ["in0"]), layer]) == (6, None, None)


def test_nothing_is_known_without_a_convolution():
    assert known_shape([Layer("Input", "in0", [], ["in0"]), Layer("ReLU", "relu", ["in0"], ["out0"])]) == ()


def test_a_first_layer_that_computes_in_place():
    """On memory that is not its own ncnn would crash, and the image would change."""
    start = Layer("Input", "in0", [], ["in0"])
    image, before = np.array([-1, 1, -2, 2, 3], np.float32), np.array([-1, 1, -2, 2, 3], np.float32)
    for net in (
        Net([start, Layer("ReLU", "relu", ["in0"], ["out0"])]),
        Net([start, Layer("Split", "s", ["in0"], ["a", "b"]), Layer("ReLU", "relu", ["b"], ["out0"])]),
    ):
        assert Engine.of(net)(image).tolist() == [0, 1, 0, 2, 3]
        assert np.array_equal(image, before)


def test_other_numbers_and_views_give_the_same():
    engine, image = Engine.of(nets.small()), nets.images(1)[0]
    wanted = engine(image)
    turned = np.asfortranarray(image)
    assert not turned.flags.c_contiguous
    assert np.array_equal(engine(turned), wanted)
    assert np.array_equal(engine(image.astype(np.float64)), wanted)


def test_the_shape_that_preprocess_json_says(tmp_path):
    files = NcnnFiles.named(tmp_path, "m")
    save_net(nets.small(), *files)
    for partition in ([], ["2"]):
        with pytest.raises(OctetError, match="expected an input of the shape 3 x 8 x 8, found 3 x 9 x 9"):
            runner(files, partition, (3, 8, 8))(nets.images(1, size=9)[0])
        with pytest.raises(OctetError, match="its input has the shape 3 x any x any, not 1 x 8 x 8"):
            runner(files, partition, (1, 8, 8))
