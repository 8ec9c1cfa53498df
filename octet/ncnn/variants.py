"""Variants of a network: what differs from it is computed anew, and what comes after that.

A variant differs from its base in a few layers next to each other. What comes before them is the base's; they alone are
loaded once more; what comes after them runs in the base, which is loaded already. The result is the variant's, bit for
bit: every layer gets the values that it would get in the variant as a whole, in ncnn's own memory layout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from octet.core.outputs import flat
from octet.ncnn.engine import Engine, Floats
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net
from octet.ncnn.side_by_side import Mats, Together


class Base:
    """A network of which variants are to run.

    Args:
        net: The network.
    """

    def __init__(self, net: Net):
        self.net, self.engine = net, Engine.of(net)

    def run(
        self, images: Sequence[Floats], mats: Collection[str], arrays: Collection[str]
    ) -> Sequence[tuple[Mats, dict[str, Floats]]]:
        """Runs up to TOGETHER images.

        Args:
            images: The network's inputs, fp32 of shape (C, H, W).
            mats: The blobs that variants need; memory is held for all of them.
            arrays: The blobs that come back as fp32.

        Returns:
            Of each image the ones and the others, by name.

        Raises:
            OctetError: An image has another shape than the network's input, or ncnn fails.
        """
        together, _kept = self.engine.together(images)
        as_mat, as_array = set(mats), set(arrays)
        blobs: list[tuple[dict[str, Any], dict[str, Floats]]] = [({}, {}) for _ in images]
        for name in (blob for layer in self.net.layers for blob in layer.outputs):
            if name in as_array:
                for (_, kept), mat in zip(blobs, together.extract(name), strict=True):
                    kept[name] = np.array(mat)
            if name in as_mat:  # its memory goes with the extractor, or is the image's
                for (kept, _), mat in zip(blobs, together.extract(name, as_it_is=True), strict=True):
                    kept[name] = mat.clone()
        return blobs


class Variant:
    """A network with the base's layers, some of them with other parameters or weights.

    Args:
        base: The network that is loaded already.
        net: The variant. One whose blobs have other names runs as a whole.
    """

    def __init__(self, base: Base, net: Net):
        self.base, self.outputs = base, net.outputs
        first, last = _changed(base.net.layers, net.layers)
        self.last = last
        middle = [layer for layer in net.layers[first : last + 1] if layer.type != "Input"]
        rest = net.layers[last + 1 :]
        computed = {blob for layer in middle for blob in layer.outputs}
        self.enter = _read(middle, computed)
        # The middle's blobs that the rest reads, and the base's that pass by it.
        behind = {blob for layer in rest for blob in layer.outputs}
        passed = _read(rest, behind)
        self.handed = [blob for blob in passed if blob in computed]
        self.past = [blob for blob in passed if blob not in computed]
        self.in_middle = computed - set(passed)
        self.past += [blob for blob in self.outputs if blob not in computed | behind]  # which no change reaches
        entries = [Layer("Input", blob, [], [blob]) for blob in self.enter]
        self.middle = Engine.of(Net([*entries, *middle]))
        self.needs = [*self.enter, *self.past]

    def run(self, mats: Sequence[Mats], also: Sequence[str] = ()) -> Iterator[list[Floats]]:
        """Runs it on up to TOGETHER images.

        Args:
            mats: What Base.run() gave for each, at least those in needs.
            also: Blobs of the changed layers, in the network's order.

        Yields:
            Each blob of `also`, then the network's outputs, of each image as fp32.
        """
        middle = Together(self.middle.side_by_side, [{name: of[name] for name in self.enter} for of in mats])
        for name in also:
            yield [np.asarray(mat) for mat in middle.extract(name)]
        rest = None
        for name in self.outputs:
            if name in self.in_middle:
                yield [np.asarray(mat) for mat in middle.extract(name)]
                continue
            if rest is None:
                handed = {blob: middle.extract(blob, as_it_is=True) for blob in self.handed}
                inputs = [
                    {blob: of[blob] for blob in self.past} | {blob: handed[blob][k] for blob in self.handed}
                    for k, of in enumerate(mats)
                ]
                rest = Together(self.base.engine.side_by_side, inputs, after=self.last)
            yield [np.asarray(mat) for mat in rest.extract(name)]

    def logits(self, mats: Sequence[Mats]) -> list[Floats]:
        """What Engine gives for each image: the logits, fp32 of shape (classes,). mats: as for run()."""
        return [flat(outputs) for outputs in zip(*self.run(mats), strict=True)]


def _read(layers: Sequence[Layer], computed: set[str]) -> list[str]:
    """What the layers read and do not make."""
    return [blob for layer in layers for blob in layer.inputs if blob not in computed]


def same(one: Net, other: Net) -> bool:
    """Are two networks the same, layer by layer?"""
    return _same_blobs(one.layers, other.layers) and all(map(_same, one.layers, other.layers))


def _changed(base: Sequence[Layer], variant: Sequence[Layer]) -> tuple[int, int]:
    """The first and the last layer that differ: the last of all where none does, all where the blobs are not the same."""
    if not _same_blobs(base, variant):
        return 0, len(variant) - 1
    changed = [k for k, (one, other) in enumerate(zip(base, variant, strict=True)) if not _same(one, other)]
    return min(changed, default=len(base) - 1), max(changed, default=len(base) - 1)


def _same_blobs(one: Sequence[Layer], other: Sequence[Layer]) -> bool:
    return [(layer.inputs, layer.outputs) for layer in one] == [(layer.inputs, layer.outputs) for layer in other]


def _same(one: Layer, other: Layer) -> bool:
    if (one.type, one.params, one.weights.keys()) != (other.type, other.params, other.weights.keys()):
        return False
    return all(_same_tensor(tensor, other.weights[role]) for role, tensor in one.weights.items())


def _same_tensor(one: Tensor, other: Tensor) -> bool:
    if one.tag != other.tag or one.data.dtype != other.data.dtype:
        return False
    return one.data is other.data or np.array_equal(one.data, other.data)
