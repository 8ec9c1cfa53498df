"""A table that is there already, in `configs/tables`: ncnn2table's, PPQ's or an int8.table of Octet's; nothing is computed.

`calibrate.file` names it; where it is null, it is configs/tables/MODEL.table, so that each model has its own. The
entries are named by the layers of fp32.param, or, as PPQ writes them, by the nodes of fp32.onnx.
"""

from __future__ import annotations

import re
from pathlib import Path

from octet.calibrate.job import Job
from octet.calibrate.match import match
from octet.core.files import read_bytes
from octet.core.onnx_bytes import parse
from octet.core.settings import check_table_path, table_path
from octet.graph.layers import quantizable
from octet.graph.scales import add_attention, check_table, needed_entries
from octet.ncnn.table import Table, load

COMPUTES = False
_WEIGHTS = re.compile(r"_param_[0-3]\Z")


def calibrate(job: Job) -> Table:
    """The table of the file.

    Raises:
        OctetError: There is no such file, it lies where DVC does not see that it changes, or it does not fit the model.
    """
    path = table_path(job.model, job.settings.file)
    check_table_path(path)
    table, layers = load(path), [layer for layer in job.net.layers if needed_entries(layer)]
    known = {layer.name for layer in layers}
    if job.onnx and not known.intersection(table.inputs):
        table = _renamed(table, _layers_of_nodes(job, job.onnx))
    add_attention(table, job.net.layers)
    check_table(table, layers, str(path))
    return table


def _layers_of_nodes(job: Job, path: Path) -> dict[str, str]:
    """By the name of a node of the ONNX model, the layer that it became."""
    data = read_bytes(path, "the stage export makes it")
    model = parse(data, f"{path}: not an ONNX model, or damaged; run the stage export again")
    if not quantizable(job.net.layers):
        return {}
    return {node: layer for layer, node in match(job.net, model, str(path)).items()}


def _renamed(table: Table, layers: dict[str, str]) -> Table:
    """The same table with the names of layers where it has those of nodes."""
    more = {}
    for key, scales in table.more.items():
        name = _WEIGHTS.sub("", key)
        more[layers.get(name, name) + key[len(name) :]] = scales
    return Table(
        {layers.get(name, name): scales for name, scales in table.weights.items()},
        {layers.get(name, name): scale for name, scale in table.inputs.items()},
        more,
    )
