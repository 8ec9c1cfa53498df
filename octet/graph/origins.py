"""Where the values of a blob come from: Split copies them, under other names."""

from __future__ import annotations

from collections.abc import Sequence

from octet.ncnn.net import Net
from octet.ncnn.partition import split


def origins(net: Net) -> dict[str, str]:
    """For every blob of a network the blob whose values it copies: its own name, or what its Split reads.

    >>> from octet.ncnn.layer import Layer
    >>> origins(Net([Layer("Input", "in", [], ["a"]), Layer("Split", "s", ["a"], ["b", "c"])]))
    {'a': 'a', 'b': 'a', 'c': 'a'}
    """
    origin: dict[str, str] = {}
    for layer in net.layers:
        for blob in layer.outputs:
            origin[blob] = origin[layer.inputs[0]] if layer.type == "Split" else blob
    return origin


def partition_boundaries(net: Net, partition: Sequence[str], where: str) -> frozenset[str]:
    """The blobs that pass from one partition to another, and their origins: an int8 model keeps them in fp32.

    Args:
        net: The whole network.
        partition: The blobs or layers after which it is partitioned.
        where: The model's entry, for errors.
    """
    origin = origins(net)
    passed = {blob for part in split(net, partition, where)[:-1] for blob in part.outputs}
    return frozenset(passed | {origin[blob] for blob in passed})
