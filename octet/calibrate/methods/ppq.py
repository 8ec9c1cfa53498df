"""PPQ's own calibration for ncnn, on the ONNX model; `calibrate.ppq` says which of its algorithms.

PPQ 0.6.6 runs as its authors wrote it (octet.calibrate.ppq_graph). What is Octet's:
- The scales come from PPQ's graph in full precision; its own table (ppq/parser/ncnn_exporter.py) has six decimals.
- Exactly the nodes that became ncnn layers which can be int8 are quantized. PPQ's default dispatcher leaves out the
  last Gemm of most classifiers.
- The target says how many levels the weights have; PPQ gives 3x3 convolutions of stride 1 always 31.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.calibrate.job import Job
from octet.calibrate.match import match
from octet.calibrate.weights import weight_scales
from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.onnx_bytes import parse
from octet.graph.layer_types import QUANTIZABLE
from octet.graph.layers import quantizable
from octet.graph.scales import add_attention, weight_scale_count
from octet.ncnn.layer import Layer
from octet.ncnn.table import Table

TITLE = "PPQ"
PACKAGES = {
    "ppq": "PPQ 0.6.6 runs with numpy 1 and onnx 1.17, which have no wheels for Python 3.13. Make .venv with Python 3.10, "
    "3.11 or 3.12 ('make distclean', then 'make quantize PYTHON=python3.12')"
}
LEAST_IMAGES = 8  # it asserts as many steps
NOT_WITH = {"equalize": "PPQ calibrates the ONNX model, which is not equalized"}


def calibrate(job: Job) -> Table:
    """The table of a model; the same for the same inputs on one kind of processor.

    Raises:
        OctetError: There are fewer than 8 images or no ONNX model, PPQ does not quantize a layer, or it cannot run the
            model, or not on several images at once.
    """
    from octet.calibrate import ppq_graph  # imports torch

    if job.onnx is None:
        raise OctetError("calibrate.method: ppq works on the ONNX model, and there is none; choose another")
    settings, layers = job.settings.ppq, quantizable(job.net.layers)
    parts = ppq_graph.steps(len(job.images), settings.batch)
    if not layers:
        raise OctetError(f"{job.onnx}: its ncnn model has no layer that can be int8 ({', '.join(QUANTIZABLE)})")
    nodes = _nodes(job, job.onnx)
    levels = {nodes[layer.name]: job.target.weight_levels(layer) for layer in layers}
    graph = ppq_graph.calibrated(job.onnx, levels, job.images, parts, settings.algorithm)
    table = Table()
    for layer in layers:
        weights, table.inputs[layer.name] = ppq_graph.scales(graph, nodes[layer.name], weight_scale_count(layer))
        table.weights[layer.name] = _checked(weights, weight_scales(layer, job.target), layer, job.onnx)
    add_attention(table, job.net.layers)
    return table


def _nodes(job: Job, path: Path) -> dict[str, str]:
    """By layer, the name of the node that it was made from."""
    data = read_bytes(path, "the stage export makes it")
    model = parse(data, f"{path}: not an ONNX model, or damaged; run the stage export again")
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if not 11 <= version <= 13:
        raise OctetError(
            f"{path}: is of opset {version}, since it has operators that earlier ones lack; PPQ reads 11 to 13. Choose another "
            "calibrate.method"
        )
    nodes = match(job.net, model, str(path))
    kinds = {node.name: node.op_type for node in model.graph.node}
    other = [f"{layer} ({kinds[node]})" for layer, node in nodes.items() if kinds[node] not in ("Conv", "Gemm")]
    if other:
        raise OctetError(
            f"{path}: PPQ quantizes Conv and Gemm nodes for ncnn, not those of the layers {', '.join(other)}; "
            "choose another calibrate.method: kl, minmax and mse know these layers"
        )
    return nodes


def _checked(
    scales: npt.NDArray[np.float32], ours: npt.NDArray[np.float32], layer: Layer, path: Path
) -> npt.NDArray[np.float32]:
    """PPQ's scales of a layer's weights, unless they are those of other weights."""
    if not np.all((scales == 1) | np.isclose(scales, ours, rtol=1e-3)):
        raise OctetError(
            f"{path}: PPQ's weight scales are not those of the weights of ncnn layer {layer.name}; run the stages export "
            "and convert again, or choose another calibrate.method"
        )
    return scales
