"""Where a blob's values come from, and what passes between partitions."""

import pytest

from octet.graph.origins import origins, partition_boundaries
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from tests import nets

pytestmark = pytest.mark.unit


def test_a_split_s_copies_have_one_origin():
    result = origins(nets.small())
    assert [result[blob] for blob in ("in0", "2", "3", "4", "7")] == ["in0", "2", "2", "2", "7"]


def test_a_split_of_a_split():
    net = Net(
        [
            Layer("Input", "in0", [], ["in0"]),
            Layer("Split", "s", ["in0"], ["a", "b"]),
            Layer("Split", "t", ["b"], ["c", "d"]),
        ]
    )
    assert origins(net) == dict.fromkeys(("in0", "a", "b", "c", "d"), "in0")


def test_what_passes_over_a_boundary():
    assert partition_boundaries(nets.small(), ["conv_3"], "net") == {"2", "4", "5"}
