"""Is the network that export takes from under fake quantization the file's? ONNX Runtime runs the file as it is beside it.

The two differ by rounding, and where a tensor reaches further than its integers. 8 bits leave 36 to 65 dB in the networks of the
tests; a ReLU lost or invented, or a scale read as twice what it is, leaves 0 to 11. But noise may reach far beyond the integers of
a network that was trained on images of low contrast, and few bits round coarsely: so what is little is a warning, no error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import cv2
import numpy as np
import onnxruntime

from octet.core.errors import OctetError
from octet.core.outputs import flat, sqnr_db, sums
from octet.data.preprocess import Preprocess
from octet.export.onnx_fake_quantize import spelled_out
from octet.export.onnx_input import Input
from octet.export.onnx_opset import Model
from octet.export.onnx_scores import cut, output_names
from octet.export.onnx_session import run, session
from octet.export.source import Array

_NEAR = 20.0  # dB: what differs is a tenth of the outputs
_COUNT = 4  # images of each kind


def compare(
    file: Model,
    network: Model,
    entry: Input,
    steps: Preprocess,
    compute: Callable[[Array], Array],
    path: str,
) -> None:
    """Compares the file with the network underneath. Where they are far apart, a warning says so.

    Args:
        file: As it is, with its fake quantization.
        network: The one underneath, without a softmax at its end where it gives class scores.
        entry: Its input, and the file's.
        steps: What happens to an image.
        compute: What the network computes: from an input to its outputs, flat.
        path: The file's, for errors.
    """
    try:
        near = _sqnr_db(_as_it_is(file, network, entry, path), compute, steps)
    except OctetError as error:
        print(f"warning: the network underneath was not compared with the file itself: {error}", file=sys.stderr)
        return
    if near >= _NEAR:
        return
    print(
        f"warning: {path}: its outputs are {near:.1f} dB above their difference from those of the network without its fake "
        f"quantization, at best, on images of noise; {_NEAR:.0f} or more are usual. "
        "Either noise reaches further than its integers, or these are of "
        "few bits, or Octet does not read its pairs rightly: compare fp32's accuracy with that of the trained model",
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
