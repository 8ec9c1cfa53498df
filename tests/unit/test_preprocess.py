"""What happens to an image before the network sees it; against mmcls's own: tests/pipeline/test_preprocess.py."""

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data.preprocess import Preprocess

pytestmark = pytest.mark.unit


def test_preprocess_order_and_size():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 50
    args = ([10.0, 20.0, 30.0], [2.0, 4.0, 5.0], [2, 2], ["a"])
    assert Preprocess("RGB", *args)(image)[:, 0, 0].tolist() == [95.0, -5.0, 4.0]
    assert Preprocess("BGR", *args)(image)[:, 0, 0].tolist() == [20.0, -5.0, 34.0]
    with pytest.raises(OctetError, match="an image of 3x2 pixels becomes 3x2; the network's input is 2x2"):
        Preprocess("RGB", *args)(np.zeros((2, 3, 3), np.uint8))
