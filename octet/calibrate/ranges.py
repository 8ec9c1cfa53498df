"""What the inputs of the layers reach, and what of it int8 clips."""

from __future__ import annotations

from collections.abc import Mapping

from octet.calibrate.histogram import Histogram
from octet.calibrate.thresholds import LEVELS
from octet.graph.layers import quantizable
from octet.graph.origins import origins
from octet.graph.ranges import Range
from octet.ncnn.net import Net
from octet.ncnn.table import Table


def ranges(net: Net, histograms: Mapping[str, Histogram], table: Table) -> dict[str, Range]:
    """The range of the input of every layer that can be int8, by the layer's name. Arguments as for activations_csv."""
    result, origin = {}, origins(net)
    for layer in quantizable(net.layers):
        histogram, threshold = histograms[origin[layer.inputs[0]]], LEVELS / float(table.inputs[layer.name])
        result[layer.name] = Range.of(histogram.largest, threshold, histogram.over_pct(threshold))
    return result
