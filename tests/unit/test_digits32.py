"""digits32's images are the same bytes everywhere."""

import hashlib
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from octet.reference import digits32

pytestmark = pytest.mark.unit


def test_digits32_is_the_same_bytes_everywhere():
    """Literal hash: the shipped checkpoint was trained on these images."""
    images, labels = digits32.draw(500, seed=0, split=1)
    assert images.shape == (500, 3, 32, 32)
    assert images.dtype == np.uint8
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == (
        "d97e8faabfed0bb78692931cc2fe60c80f0a3a48b055f7ea3e69b922a7c14f05"
    )
    assert np.bincount(labels).tolist() == [50] * 10


def test_digits32_does_not_depend_on_workers_and_differs_by_seed_and_split():
    one, _ = digits32.draw(1000, seed=3, split=0, workers=1)
    four, _ = digits32.draw(1000, seed=3, split=0, workers=4)
    assert np.array_equal(one, four)
    assert not np.array_equal(one, digits32.draw(1000, seed=4, split=0)[0])
    assert not np.array_equal(one, digits32.draw(1000, seed=3, split=1)[0])


def test_the_stored_digits_are_those_of_the_font_that_one_python_lacks():
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    stored = digits32._stored(digits32._CMTI10)
    assert stored.shape == (10, 48, 48)
    assert stored.max() == 1
    if not (fonts / "cmti10.ttf").is_file():
        pytest.skip("this matplotlib has no cmti10.ttf to compare with")
    assert np.array_equal(stored, digits32._drawn(fonts / "cmti10.ttf"))
