"""Which scales the layers of a network need in a calibration table, and whether it has them.

>>> from octet.ncnn.layer import Layer
>>> needed_entries(Layer("Convolution", "conv_1", ["in0"], ["1"], {0: "8"}))
{'conv_1_param_0': 8, 'conv_1': 1}
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError, nearest
from octet.graph.layers import kind, scale_counts
from octet.ncnn.layer import Layer
from octet.ncnn.table import Table

_MOST = 20  # problems of a table that are told


def needed_entries(layer: Layer) -> dict[str, int]:
    """The table's entries that a layer needs, and how many scales each has; none where it finds all scales itself."""
    int8 = kind(layer).int8
    if int8 is None or not int8.calibrated:
        return {}
    counts = {f"{layer.name}_param_{k}": count for k, count in enumerate(scale_counts(layer).values())}
    return counts | ({layer.name: 1} if int8.calibrated == "input" else {})


def weight_scale_count(layer: Layer) -> int:
    """How many scales the weights of a convolution or linear layer have: one an output, or one a group."""
    return scale_counts(layer)["weight"]


def check_table(table: Table, layers: list[Layer], where: str, may_lack: Iterable[str] = ()) -> None:
    """Checks that every layer has its scales, in the right number, and every entry its layer.

    Args:
        table: The table.
        layers: All layers of the model that need scales.
        where: The table's file, for errors.
        may_lack: The names of layers that need none, since they stay in fp32.

    Raises:
        OctetError: It does not fit, with one line for each problem.
    """
    needed_by, present, problems = {layer.name: needed_entries(layer) for layer in layers}, table.entries(), []
    spared = set(may_lack)
    for key in present:
        name = key.partition("_param_")[0]
        if name not in needed_by:
            problems.append(f"'{name}' is no layer of the model that can be int8. {nearest(name, needed_by)}")
        elif key not in needed_by[name]:
            problems.append(f"'{key}': layer {name} has no such scale")
    for name, needed in needed_by.items():
        if name in spared and not needed.keys() & present.keys():
            continue
        for key, count in needed.items():
            if key not in present:
                what = "input scale" if key == name else "weight scales"
                problems.append(f"no entry '{key}': layer {name} has no {what}")
            elif len(present[key]) != count:
                problems.append(f"'{key}' has {len(present[key])} scales, layer {name} needs {count}")
    problems = list(dict.fromkeys(problems))
    if problems:
        raise OctetError(
            f"{where}: the table does not fit the model:\n  "
            + "\n  ".join(
                [*problems[:_MOST], *([f"and {len(problems) - _MOST:,} more"] if len(problems) > _MOST else [])]
            )
            + "\nMake it again, or list a layer that shall stay in fp32 under the model's keep_fp32 in params.yaml"
        )


def silent(table: Table, layers: Iterable[Layer]) -> list[str]:
    """What the calibrators gave the scale 1, which ncnn reads as it is, because there is nothing but zeros.

    Args:
        table: The scales.
        layers: The layers that can be int8.

    Returns:
        One line a layer with channels of zero weights, or with an input that was 0 in all images.
    """
    lines = []
    for layer in layers:
        rows = layer.weights["weight"].data.reshape(weight_scale_count(layer), -1)
        dead = int((~rows.any(axis=1)).sum())
        if dead:
            lines.append(f"{layer.name}: {dead} of {len(rows)} channels have no weights but zeros; their scale is 1")
        if table.inputs[layer.name] == 1:
            lines.append(f"{layer.name}: its input was 0 in all images; its scale is 1")
    return lines


def add_attention(table: Table, layers: Iterable[Layer]) -> None:
    """Gives each MultiHeadAttention without entries its own, 127 / largest magnitude, 1 for zeros: ncnn2table's."""
    for layer in layers:
        needed = needed_entries(layer)
        if layer.name in needed or not needed or needed.keys() & table.entries().keys():
            continue
        scales = {}
        for key, (role, count) in zip(needed, scale_counts(layer).items(), strict=True):
            weight = np.abs(layer.weights[role].data.astype(np.float32))
            scales[key] = absmax_scales(weight.reshape(count, -1).max(axis=1))
        table.weights[layer.name] = scales.pop(f"{layer.name}_param_0")
        table.more |= scales


def absmax_scales(largest: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """127 / the largest magnitudes, fp32; 1 where that is zero."""
    return np.float32(127) / np.where(largest > 0, largest, np.float32(127))
