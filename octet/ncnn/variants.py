"""Variants of a network: what differs from it is computed anew, and what comes after that.

A variant differs from its base in a few layers next to each other. What comes before them is the base's; they alone are
loaded once more; what comes after them runs in the base, which is loaded already. The result is the variant's, bit for
bit: every layer gets the values that it would get in the variant as a whole, in ncnn's own memory layout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from octet.core.outputs import flat
from octet.ncnn.engine import Engine, Floats, extract
from octet.ncnn.layer import Layer, Tensor
from octet.ncnn.net import Net

Mats = Mapping[str, Any]  # ncnn.Mat by the blob's name, as ncnn has it: packed, and int8 where it was requantized


class Base:
    """A network of which variants are to run.

    Args:
        net: The network.
    """

    def __init__(self, net: Net):
        self.net, self.engine = net, Engine.of(net)

    def run(self, image: Floats, mats: Collection[str], arrays: Collection[str]) -> tuple[Mats, dict[str, Floats]]:
        """Runs one image.

        Args:
            image: The network's input, fp32 of shape (C, H, W).
            mats: The blobs that variants need; memory is held for all of them.
            arrays: The blobs that come back as fp32.

        Raises:
            OctetError: The image has another shape than the network's input, or ncnn fails.
        """
        mat, _kept = self.engine.mat(image)
        extractor = _extractor(self.engine, {self.engine.input: mat})
        as_mat, as_array = set(mats), set(arrays)
        kept_mats, kept_arrays = {}, {}
        for name in (blob for layer in self.net.layers for blob in layer.outputs):
            if name in as_array:
                kept_arrays[name] = np.array(extract(extractor, name))
            if name in as_mat:  # its memory goes with the extractor, or is the image's
                kept_mats[name] = extract(extractor, name, as_it_is=True).clone()
        return kept_mats, kept_arrays


class Variant:
    """A network with the base's layers, some of them with other parameters or weights.

    Args:
        base: The network that is loaded already.
        net: The variant. One whose blobs have other names runs as a whole.
    """

    def __init__(self, base: Base, net: Net):
        self.base, self.outputs = base, net.outputs
        first, last = _changed(base.net.layers, net.layers)
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

    def run(self, mats: Mats, also: Sequence[str] = ()) -> Iterator[Floats]:
        """Runs it on one image.

        Args:
            mats: What Base.run() gave for it, at least those in needs.
            also: Blobs of the changed layers, in the network's order.

        Yields:
            Each blob of `also`, then the network's outputs, as fp32; the arrays live as long as this does.
        """
        middle = _extractor(self.middle, {name: mats[name] for name in self.enter})
        for name in also:
            yield np.asarray(extract(middle, name))
        rest = None
        for name in self.outputs:
            if name in self.in_middle:
                yield np.asarray(extract(middle, name))
                continue
            if rest is None:
                handed = {blob: extract(middle, blob, as_it_is=True) for blob in self.handed}
                rest = _extractor(self.base.engine, {blob: mats[blob] for blob in self.past} | handed)
            yield np.asarray(extract(rest, name))

    def logits(self, mats: Mats) -> Floats:
        """What Engine gives for one image: the logits, fp32 of shape (classes,). mats: as for run()."""
        return flat(self.run(mats))


def _extractor(engine: Engine, mats: Mats) -> Any:
    extractor = engine.net.create_extractor()
    for name, mat in mats.items():
        extractor.input(name, mat)
    return extractor


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
