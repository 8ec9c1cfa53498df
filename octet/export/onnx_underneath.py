"""Is the network that export takes from under fake quantization the file's? ONNX Runtime runs the file as it is beside it.

The two differ by rounding, and where a tensor reaches further than its integers. 8 bits leave 36 to 65 dB in the networks of the
tests, and 17 to 20 in deep ones; a ReLU lost or invented, or a scale read as twice what it is, leaves 0 to 11. So under _FAR the
network is another one, unless few bits round so coarsely that this alone may be the reason: then, and up to _NEAR, there is a
warning, as accuracy alone can tell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import onnxruntime

from octet.core.errors import OctetError
from octet.core.outputs import flat, sqnr_db, sums
from octet.core.trained_scales import TrainedScales
from octet.data.preprocess import Preprocess
from octet.export.onnx_fake_quantize import spelled_out
from octet.export.onnx_input import Input
from octet.export.onnx_opset import Model
from octet.export.onnx_scores import cut, output_names
from octet.export.onnx_session import run, session
from octet.export.source import Array

_FAR = 10.0  # dB: what differs is a third of the outputs
_NEAR = 20.0  # dB: a tenth
_COARSE = 64  # integers of what a layer reads, or on one side of 0 of its weights: of 6 bits and less
_COUNT = 4  # images of each kind


def compare(
    file: Model,
    network: Model,
    entry: Input,
    steps: Preprocess,
    compute: Callable[[Array], Array],
    trained: Sequence[TrainedScales],
    path: str,
) -> None:
    """Compares the file with the network underneath. Where they are far apart but may be right, a warning says so.

    Args:
        file: As it is, with its fake quantization.
        network: The one underneath, without a softmax at its end where it gives class scores.
        entry: Its input, and the file's.
        steps: What happens to an image.
        compute: What the network computes: from an input to its outputs, flat.
        trained: The scales that were read from the file.
        path: The file's, for errors.

    Raises:
        OctetError: They are so far apart that the network is another one.
    """
    try:
        near = _sqnr_db(_as_it_is(file, network, entry, path), compute, steps)
    except OctetError as error:
        print(f"warning: the network underneath was not compared with the file itself: {error}", file=sys.stderr)
        return
    if near >= _NEAR:
        return
    what = (
        f"{path}: its outputs are {near:.1f} dB above their difference from those of the network without its fake quantization, at "
        "best, on images of noise"
    )
    if near < _FAR and not any(map(_is_coarse, trained)):
        raise OctetError(
            f"{what}; expected {_FAR:.0f} or more: Octet does not read its pairs rightly. Give it the fp32 model instead"
        )
    print(
        f"warning: {what}; {_NEAR:.0f} or more are usual. Compare fp32's accuracy with that of the trained model",
        file=sys.stderr,
    )


def _as_it_is(file: Model, network: Model, entry: Input, path: str) -> Callable[[Array], Array]:
    """What the file computes of an input, where the network underneath has its outputs.

    Raises:
        OctetError: It does not have that value, or ONNX Runtime cannot run it.
    """
    names = output_names(network)
    if names != output_names(file):
        if names[0] not in {name for node in file.graph.node for name in node.output}:
            raise OctetError(f"{path}: has no value that is its logits")
        file = cut(file, names[0])
    options = onnxruntime.SessionOptions()  # as it is written: ONNX Runtime would make operators on integers of pairs
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    engine = session(spelled_out(file), path, options)

    def compute(x: Array) -> Array:
        return flat(run(engine, entry.name, entry.feed(x), path))

    return compute


def _sqnr_db(wanted: Callable[[Array], Array], compute: Callable[[Array], Array], steps: Preprocess) -> float:
    """The least of any output, on the images on which that is more: noise, or noise blurred, which reaches less far."""
    noise = steps.noise(_COUNT)
    height, width = steps.size
    blurred = [cv2.resize(image[: -(-height // 8), : -(-width // 8)], (width, height)) for image in noise]
    of_both = []
    for images in (noise, blurred):
        total = np.sum([sums(wanted(x), compute(x), steps.sizes) for x in map(steps, images)], axis=0)
        of_both.append(min(sqnr_db(total)))
    return max(of_both)


def _is_coarse(scales: TrainedScales) -> bool:
    """Was a layer trained with few bits?"""
    few = scales.input is not None and scales.input.high - scales.input.low < _COARSE
    return few or 0 < scales.largest < _COARSE // 2
