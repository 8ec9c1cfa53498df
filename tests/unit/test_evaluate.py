"""evaluate: the same from any number of workers; images that cannot be read, logits that are not finite."""

import numpy as np
import pytest

from octet.core.errors import OctetError, Unreadable
from octet.evaluate.evaluate import evaluate
from octet.ncnn.engine import Engine
from octet.ncnn.net import save_net
from tests import nets

pytestmark = pytest.mark.unit


@pytest.fixture
def engine(tmp_path):
    save_net(nets.small(), tmp_path / "m.param", tmp_path / "m.bin")
    return Engine(tmp_path / "m.param", tmp_path / "m.bin")


def test_the_same_from_any_number_of_workers(engine):
    images = nets.images(40)
    results = [evaluate(engine, images, "x", workers) for workers in (1, 2, 5)]
    results += [evaluate(engine, images, "x", workers, readers) for workers in (1, 3) for readers in (1, 2)]
    for other in results[1:]:
        pairs = zip(vars(other).values(), vars(results[0]).values(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    top = results[0]
    logits = np.stack([engine(x) for x in images])
    assert top.indices.tolist() == list(range(40))
    assert np.array_equal(top.classes[:, 0], logits.argmax(axis=1))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(top.probabilities, -np.sort(-softmax, axis=1)[:, :5])


@pytest.mark.parametrize("workers", [1, 3])
def test_images_that_cannot_be_read_are_left_out(engine, capsys, workers):
    images = nets.images(200)

    def image(k: int) -> np.ndarray:
        if k in bad:
            raise Unreadable(f"{k}.jpg: damaged")
        return images[k]

    bad = {199, 7}
    top = evaluate(engine, nets.Computed(200, image), "evaluate int8", workers)
    assert top.indices.tolist() == [k for k in range(200) if k not in bad]
    assert top.classes[:, 0].tolist() == [int(engine(images[k]).argmax()) for k in top.indices]
    assert capsys.readouterr().err == (
        "warning: evaluate int8: 2 of 200 images cannot be read and were left out:\n199.jpg: damaged\n7.jpg: damaged\n"
    )
    bad = {7, 8, 9}
    with pytest.raises(OctetError, match="evaluate int8: more than 1 % of 200 images cannot be read"):
        evaluate(engine, nets.Computed(200, image), "evaluate int8", workers)


def test_logits_that_are_not_finite(engine):
    with pytest.raises(OctetError, match="test image 1 are not finite"):
        evaluate(engine, [nets.images(1)[0], np.full((3, 8, 8), np.nan, np.float32)], "x", 1)
