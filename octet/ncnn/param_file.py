"""The text of a .param: a line for each layer.

Sources: ncnn's src/net.cpp (Net::load_param) and src/paramdict.cpp. Unlike ncnn, this reader refuses what does not fit:
wrong counts, a blob that nothing makes, a parameter that the layer would misread.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from octet.core.errors import OctetError
from octet.ncnn.layer import Layer
from octet.ncnn.parameters import problem
from octet.ncnn.sizes import check_sizes

MAGIC = "7767517"
_PARAMETER = re.compile(r'(-?\d{1,9})=("[^"]*"|\S+)', re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)


def loads(text: str, param: str = ".param") -> list[Layer]:
    """The layers of a .param, still without their weights.

    Args:
        text: The file's text.
        param: The file, for errors.

    Raises:
        OctetError: It is no .param, or damaged; the message names the line and the layer.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise OctetError(f"{param}: does not begin with {MAGIC}; expected ncnn's .param in text form")
    layers: list[Layer] = []
    known: set[str] = set()
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        layer = _layer(line, f"{param}: line {number}")
        unknown = next((blob for blob in layer.inputs if blob not in known), None)
        if unknown is not None:
            raise OctetError(
                f"{param}: line {number}: layer {layer.name} reads blob '{unknown}', which no layer above makes"
            )
        known.update(layer.outputs)
        layers.append(layer)
    _check_counts(lines[1] if len(lines) > 1 else "", len(layers), len(known), param)
    names = Counter(layer.name for layer in layers if layer.type != "Split")  # pnnx numbers those anew now and then
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise OctetError(f"{param}: more than one layer is called {', '.join(twice)}; tables could not tell them apart")
    if not any(layer.type == "Input" and layer.outputs for layer in layers):
        raise OctetError(f"{param}: has no Input layer; nothing could be given to the network")
    return layers


def dumps(layers: Sequence[Layer]) -> str:
    """The .param of these layers."""
    blobs = sum(len(layer.outputs) for layer in layers)
    lines = [MAGIC, f"{len(layers)} {blobs}"]
    for layer in layers:
        head = f"{layer.type:<24} {layer.name:<24} {len(layer.inputs)} {len(layer.outputs)}"
        params = [f"{key}={value}" for key, value in layer.params.items()]
        lines.append(" ".join([head, *layer.inputs, *layer.outputs, *params]))
    return "\n".join(lines) + "\n"


def _check_counts(line: str, layers: int, blobs: int, param: str) -> None:
    """Compares the second line with what there is."""
    counts = line.split()
    if len(counts) != 2 or not all(map(_COUNT.fullmatch, counts)):
        raise OctetError(f"{param}: line 2: expected the numbers of layers and blobs")
    if int(counts[0]) != layers:
        raise OctetError(
            f"{param}: line 2 promises {counts[0]} layers, the file has {layers}; it is cut off or was edited by hand"
        )
    if int(counts[1]) != blobs:
        raise OctetError(f"{param}: line 2 promises {counts[1]} blobs, the layers make {blobs}")


def _layer(line: str, where: str) -> Layer:
    words = line.split()
    if len(words) < 4 or not all(map(_COUNT.fullmatch, words[2:4])):
        raise OctetError(f"{where}: expected «type name inputs outputs …», found {line[:60]!r}")
    kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    blobs = words[4 : 4 + inputs + outputs]
    if len(blobs) < inputs + outputs or any("=" in blob for blob in blobs):
        raise OctetError(f"{where}: layer {name} promises {inputs} inputs and {outputs} outputs, names fewer")
    rest = line.split(None, 4 + inputs + outputs)[4 + inputs + outputs :]
    params = dict(_PARAMETER.findall(rest[0])) if rest else {}
    if rest and " ".join(f"{k}={v}" for k, v in params.items()).split() != rest[0].split():
        raise OctetError(f"{where}: layer {name}: cannot read the parameters {rest[0].strip()[:60]!r}")
    layer = Layer(kind, name, blobs[:inputs], blobs[inputs:], {int(key): value for key, value in params.items()})
    wrong = problem(kind, layer.params) or check_sizes(layer)
    if wrong:
        raise OctetError(f"{where}: layer {name}: {kind}'s {wrong}")
    return layer
