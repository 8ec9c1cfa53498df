"""Several images go through a network together, so that a layer's weights are read from memory once for all of them.

ncnn computes one image at a time. A late convolution has megabytes of weights for a few pixels, and takes as long as it
takes to read those from memory. So layers with many weights run on one image after the other, with nothing else in between:
what fits stays in the processor's caches. Of the heaviest nothing fits. Such a layer runs once for all images, whose inputs
lie side by side in one wide input, apart by zeros, as its padding is. Every value is computed from the same numbers in the
same order, and is the same, bit for bit. ncnn might choose another kernel for another width, so a trial on random numbers
comes first, on the machine itself: a layer that does not give the same bits runs on one image after the other, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ncnn
import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.parallel import BLOCK
from octet.ncnn.layer import Layer
from octet.ncnn.layout import has_dynamic_weight

Floats = npt.NDArray[np.float32]
Mats = Mapping[str, Any]  # ncnn.Mat by the blob's name
TOGETHER = BLOCK  # images
LARGEST = 3 * 256 * 256  # values of an image, of which the blobs of several take some hundred MB
FEWEST = 3  # so many take about as long one after the other as the wide input does
MANY_WEIGHTS = 2**16  # which ncnn's copies for Winograd make seven times as large
MANY_INT8_WEIGHTS = 2**18
HEAVY_WEIGHTS = 2**19  # in fp32 2 MB: what a core's own cache holds
FEW_PIXELS = 64
_INT8_SCALE_TERM, _PAD_VALUE = 8, 18
# Kernels for 3x3 (Winograd) compute 2, 4 or 6 columns at once, counted from the input's left; 12 fits all.
_COLUMNS = (1, 4, 12)


def images_together(image: Floats) -> int:
    """How many images of this size go through a network together: one where they are large."""
    return TOGETHER if image.size <= LARGEST else 1


class SideBySide:
    """A network's layers with many weights.

    Args:
        net: The network as ncnn has loaded it.
        layers: Its layers.
    """

    def __init__(self, net: ncnn.Net, layers: Sequence[Layer]):
        self.net = net
        self.place = {blob: k for k, layer in enumerate(layers) for blob in layer.outputs}
        self.layers: dict[int, tuple[str, _Heavy | None]] = {}  # by the place, each with its output
        for k, layer in enumerate(layers):
            many = MANY_INT8_WEIGHTS if layer.int(_INT8_SCALE_TERM) else MANY_WEIGHTS
            if layer.type == "Convolution" and layer.int(6) >= many:
                self.layers[k] = layer.outputs[0], _Heavy(net, layer) if _is_heavy(layer) else None


class Together:
    """Up to TOGETHER images on their way through a network.

    Args:
        network: The network.
        inputs: Of each image the blobs that are there already: the network's input, or what the layers behind `after` read.
        after: The place of the last layer that is not run, in the network's order; -1: all are.
    """

    def __init__(self, network: SideBySide, inputs: Sequence[Mats], after: int = -1):
        self._network = network
        self._extractors = [_extractor(network.net, mats) for mats in inputs]
        self._ahead = [place for place in network.layers if place > after]

    def extract(self, name: str, as_it_is: bool = False) -> list[Any]:
        """A blob of each image, as an ncnn.Mat.

        Args:
            name: The blob; ask for several in the network's order.
            as_it_is: Packed as ncnn has it, and int8 where it was requantized? Otherwise as fp32 and not packed.

        Raises:
            OctetError: ncnn fails.
        """
        while self._ahead and self._ahead[0] <= self._network.place[name]:
            blob, heavy = self._network.layers[self._ahead.pop(0)]
            if heavy and len(self._extractors) >= FEWEST:
                inputs = [np.asarray(extract(extractor, heavy.input)) for extractor in self._extractors]
                for extractor, output in zip(self._extractors, heavy(inputs), strict=False):
                    extractor.input(blob, ncnn.Mat(output).clone())  # ncnn may compute in it
            self._each(blob, as_it_is=True)
        return self._each(name, as_it_is)

    def _each(self, name: str, as_it_is: bool) -> list[Any]:
        return [extract(extractor, name, as_it_is) for extractor in self._extractors]


class _Heavy:
    """One heavy layer of a network that is loaded."""

    def __init__(self, net: ncnn.Net, layer: Layer):
        self._net, self.input, self._output = net, layer.inputs[0], layer.outputs[0]
        self._stride, left = layer.int(3, 1), layer.int(4)
        self._gap = max(left, layer.int(15, left))
        self._spacings: dict[tuple[int, ...], _Spacing | None] = {}
        self._lock = threading.Lock()

    def __call__(self, inputs: Sequence[Floats]) -> Iterator[Floats]:
        """Its output for each input, of shape (C, H, W); nothing where it has to run on one after the other."""
        shape = inputs[0].shape
        if any(values.shape != shape for values in inputs):
            return iter(())
        with self._lock:
            if shape not in self._spacings:
                self._spacings[shape] = self._trial(shape)
            spacing = self._spacings[shape]
        return self._wide(inputs, spacing) if spacing else iter(())

    def _trial(self, shape: tuple[int, ...]) -> _Spacing | None:
        """How far apart are inputs of this shape so that each gives the same bits as alone? None: no distance does it."""
        random = np.random.Generator(np.random.PCG64(0))
        inputs = [random.standard_normal(shape, np.float32) for _ in range(TOGETHER)]
        alone = [self._run(values) for values in inputs]
        if alone[0][0].size > FEW_PIXELS:
            return None
        for columns in _COLUMNS:
            step = int(np.lcm(columns, self._stride))
            period = -(-(shape[2] + self._gap) // step) * step
            spacing = _Spacing(period, period // self._stride, alone[0].shape[2])
            if all(map(np.array_equal, self._wide(inputs, spacing), alone)):
                return spacing
        return None

    def _wide(self, inputs: Sequence[Floats], spacing: _Spacing) -> Iterator[Floats]:
        """Its outputs, from one wide input of TOGETHER places, those that are left over filled with zeros."""
        channels, height, width = inputs[0].shape
        wide = np.zeros((channels, height, TOGETHER * spacing.inputs), np.float32)
        for k, values in enumerate(inputs):
            wide[:, :, k * spacing.inputs :][:, :, :width] = values
        output = self._run(wide)
        for k in range(len(inputs)):
            yield np.ascontiguousarray(output[:, :, k * spacing.outputs :][:, :, : spacing.output_width])

    def _run(self, values: Floats) -> Floats:
        return np.array(extract(_extractor(self._net, {self.input: ncnn.Mat(values)}), self._output))


@dataclass(frozen=True)
class _Spacing:
    """Where images lie side by side.

    Args:
        inputs: How many columns it is from one input to the next.
        outputs: From one output to the next.
        output_width: How many columns an output has.
    """

    inputs: int
    outputs: int
    output_width: int


def extract(extractor: Any, name: str, as_it_is: bool = False) -> Any:
    """A blob of an ncnn.Extractor, as an ncnn.Mat: as fp32 and not packed, or as it is. Raises OctetError where ncnn fails."""
    status, mat = extractor.extract(name, int(as_it_is))
    if status != 0:
        raise OctetError(f"ncnn failed to compute blob '{name}' (status {status})")
    return mat


def _extractor(net: ncnn.Net, mats: Mats) -> Any:
    extractor = net.create_extractor()
    for name, mat in mats.items():
        extractor.input(name, mat)
    return extractor


def _is_heavy(layer: Layer) -> bool:
    """Is it a convolution in fp32 with many weights, whose padding is zeros?"""
    return (
        not has_dynamic_weight(layer)
        and layer.int(6) >= HEAVY_WEIGHTS
        and not layer.int(_INT8_SCALE_TERM)
        and min(layer.int(key) for key in (4, 14, 15, 16)) >= 0  # below it ncnn finds the padding itself
        and not float(layer.params.get(_PAD_VALUE, 0))
    )
