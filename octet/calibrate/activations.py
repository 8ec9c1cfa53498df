"""What the layers that can be int8 read, as a table that `dvc plots` and the report draw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from octet.calibrate.histogram import Histogram
from octet.calibrate.thresholds import LEVELS
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.ncnn.net import Net
from octet.ncnn.table import Table

BINS = 64


def activations_csv(net: Net, histograms: Mapping[str, Histogram], table: Table) -> str:
    """Coarse histograms of the magnitudes, one a blob, under the name of the first layer that reads it.

    Args:
        net: The fp32 network.
        histograms: Of the blobs that its layers read (octet.calibrate.observe).
        table: The scales that calibration gave.

    Returns:
        CSV with a head. value: where the bin begins; share_pct: of all values but zeros; zeros_pct: of all values;
        threshold: the largest value that the layer's int8 holds.
    """
    readers: dict[str, list[str]] = {}
    origin = origins(net)
    for layer in quantizable(net.layers):
        readers.setdefault(origin[layer.inputs[0]], []).append(layer.name)
    lines = ["layer,value,share_pct,zeros_pct,threshold\n"]
    for blob, names in readers.items():
        histogram, threshold = histograms[blob], LEVELS / float(table.inputs[names[0]])
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        counts = histogram.up_to_largest()
        step = -(-len(counts) // BINS)
        coarse = np.add.reduceat(counts, np.arange(0, len(counts), step))
        total = max(int(counts.sum()), 1)
        zeros = 100 * histogram.zeros / max(total + histogram.zeros, 1)
        lines += [
            f"{names[0]}{more},{k * step * histogram.width:.6g},{100 * count / total:.6g},{zeros:.4g},{threshold:.6g}\n"
            for k, count in enumerate(coarse)
        ]
    return "".join(lines)
