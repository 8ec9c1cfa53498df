r"""An ncnn model: its layers and their weights, read from its two files and written into them.

>>> text, data = "7767517\n2 2\nInput in0 0 1 in0\nInnerProduct fc 1 1 in0 out0 0=1 2=3\n", "384b0d00 01fe7f00"
>>> net = loads(text, bytes.fromhex(data))      # the .bin: a tag, three int8 weights and their padding
>>> net.layer("fc").weights["weight"].data.tolist()
[1, -2, 127]
>>> dumps(net)[1].hex(" ", 4)
'384b0d00 01fe7f00'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError
from octet.core.files import read_bytes, write_bytes
from octet.ncnn import param_file
from octet.ncnn.bin_file import read_weight, weight_bytes
from octet.ncnn.layer import Layer
from octet.ncnn.layout import is_scale, slots

_NUMBERED = re.compile(r"out(0|[1-9][0-9]{0,3})")  # pnnx's names of a model's outputs


@dataclass
class Net:
    """A network: its layers, in an order in which they can run."""

    layers: list[Layer]

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        return next(layer for layer in self.layers if layer.name == name)

    def copy(self) -> Net:
        """A copy whose layers can be changed; the arrays are shared."""
        return Net([layer.copy() for layer in self.layers])

    def producers(self) -> dict[str, Layer]:
        """Which layer makes a blob, by the blob's name."""
        return {blob: layer for layer in self.layers for blob in layer.outputs}

    def consumers(self) -> dict[str, list[Layer]]:
        """Which layers read a blob, in the order of the file."""
        readers: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for blob in layer.inputs:
                readers.setdefault(blob, []).append(layer)
        return readers

    @property
    def input(self) -> str:
        """The one input blob's name."""
        return next(layer.outputs[0] for layer in self.layers if layer.type == "Input")

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads: pnnx's out0, out1, … in the model's order, or the last one alone in other files."""
        read = {blob for layer in self.layers for blob in layer.inputs}
        return in_order([blob for layer in self.layers for blob in layer.outputs if blob not in read])

    @property
    def output(self) -> str:
        """The last blob that no layer reads: the class scores, where that is all that the network gives."""
        return self.outputs[-1]


def in_order(unread: list[str]) -> list[str]:
    """A network's outputs, of the blobs that no layer reads.

    >>> in_order(["out1", "unused", "out0"]), in_order(["a", "b"])
    (['out0', 'out1'], ['b'])
    """
    numbered = {blob for blob in unread if _NUMBERED.fullmatch(blob)}
    return sorted(numbered, key=lambda blob: int(blob[3:])) if len(numbered) > 1 else unread[-1:]


def loads(text: str, data: bytes, param: str = ".param", bin: str = ".bin") -> Net:
    """Parses the text of a .param and the bytes of its .bin.

    Args:
        text: The .param's text.
        data: The .bin's bytes.
        param: The first file, for errors.
        bin: The second file, for errors.

    Raises:
        OctetError: One of them is damaged, or they do not belong together.
    """
    net = Net(param_file.loads(text, param))
    at = 0
    for layer in net.layers:
        for slot in slots(layer):
            layer.weights[slot.role], at = read_weight(data, at, slot, f"{bin}: layer {layer.name}, {slot.role}")
    if at != len(data):
        raise OctetError(
            f"{bin}: {len(data) - at} bytes left over after the last layer's weights ({at} bytes belong to {param}); "
            "the two files are not of the same model, or one is damaged: make both again"
        )
    return net


def load_layers(param: str | Path, made_by: str = "'dvc repro' makes it") -> list[Layer]:
    """Reads a model's .param alone: the layers without their weights. Raises as load_net."""
    return param_file.loads(_text(param, made_by), str(param))


def load_net(param: str | Path, bin: str | Path, made_by: str = "'dvc repro' makes it") -> Net:
    """Reads a model's two files.

    Args:
        param: The graph.
        bin: The weights.
        made_by: What makes the files, for the error where one is missing.

    Raises:
        OctetError: They are missing, damaged or do not belong together, or a weight is not finite.
    """
    net = loads(_text(param, made_by), read_bytes(bin, made_by), str(param), str(bin))
    for layer in net.layers:
        _check_numbers(layer, str(bin))
    return net


def _check_numbers(layer: Layer, bin: str) -> None:
    """Raises OctetError where a number of a layer cannot be right.

    That is NaN, or infinity where it is no constant (attention masks with -inf are some), or a scale that is not above zero.
    """
    for role, weight in layer.weights.items():
        values = weight.data
        if values.dtype.kind != "f":
            continue
        bad = np.isnan(values) if layer.type == "MemoryData" else ~np.isfinite(values)
        what = "numbers are not finite"
        if not bad.any() and is_scale(layer, role):
            weights = role.startswith("weight")  # of a channel of zeros: ncnn takes a scale of 0 for a factor of 0
            bad, what = (values < 0, "scales are below zero") if weights else (values <= 0, "scales are not above zero")
        if bad.any():
            raise OctetError(
                f"{bin}: layer {layer.name}, {role}: {int(bad.sum()):,} of {len(values):,} {what}; the file is damaged: make "
                "it again"
            )


def dump(layer: Layer) -> bytes:
    """One layer's part of the .bin.

    Raises:
        OctetError: The layer has weights that ncnn does not read from it, as the scales of a type without int8.
    """
    places = slots(layer)
    unread = layer.weights.keys() - {slot.role for slot in places}
    if unread:
        raise OctetError(
            f"layer {layer.name}: ncnn's {layer.type} with these parameters reads no {', '.join(sorted(unread))} from the .bin; "
            "if it was to be int8, ncnn has no int8 for it (octet/ncnn/layout.py has what it reads)"
        )
    return b"".join(weight_bytes(layer.weights[slot.role], slot) for slot in places)


def dumps(net: Net) -> tuple[str, bytes]:
    """The text of the .param and the bytes of the .bin."""
    return param_file.dumps(net.layers), b"".join(dump(layer) for layer in net.layers)


def save_net(net: Net, param: str | Path, bin: str | Path) -> None:
    """Writes a model's two files, each whole or not at all.

    Args:
        net: The network.
        param: Where its graph goes.
        bin: Where its weights go.

    Raises:
        OctetError: A layer has weights that ncnn does not read from it, or a file cannot be written.
    """
    text, data = dumps(net)
    write_bytes(param, text.encode())
    write_bytes(bin, data)


def _text(param: str | Path, made_by: str) -> str:
    try:
        return read_bytes(param, made_by).decode()
    except UnicodeDecodeError:
        raise OctetError(f"{param}: not text; expected ncnn's .param, which begins with {param_file.MAGIC}") from None
