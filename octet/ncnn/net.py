"""The graph and the weights of an ncnn model.

Sources: ncnn's src/net.cpp (Net::load_param), src/paramdict.cpp and src/modelbin.cpp. Unlike ncnn, this reader
refuses what does not fit: wrong counts, a blob that nothing makes, a .bin that is too short or too long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octet.core.errors import OctetError
from octet.core.files import read_bytes, write_bytes
from octet.ncnn.layer import TAG_FP16, TAG_FP32, TAG_FP32_SCALED, TAG_INT8, Layer, Tensor
from octet.ncnn.layout import Slot, slots

MAGIC = "7767517"
_DTYPES = {TAG_FP32: np.float32, TAG_FP32_SCALED: np.float32, TAG_FP16: np.float16, TAG_INT8: np.int8}
_PARAMETER = re.compile(r'(-?\d+)=("[^"]*"|\S+)')


@dataclass
class Net:
    layers: list[Layer]

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def copy(self) -> Net:
        return Net([layer.copy() for layer in self.layers])

    def producers(self) -> dict[str, Layer]:
        """Which layer makes a blob, by the blob's name."""
        return {blob: layer for layer in self.layers for blob in layer.outputs}

    def consumers(self) -> dict[str, list[Layer]]:
        """Which layers read a blob, in the order of the file."""
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for blob in layer.inputs:
                found.setdefault(blob, []).append(layer)
        return found

    @property
    def input(self) -> str:
        """The one input blob's name."""
        return next(layer.outputs[0] for layer in self.layers if layer.type == "Input")

    @property
    def output(self) -> str:
        """The last blob that no layer reads."""
        read = {blob for layer in self.layers for blob in layer.inputs}
        return [blob for layer in self.layers for blob in layer.outputs if blob not in read][-1]


def loads(text: str, data: bytes, param: str = ".param", bin: str = ".bin") -> Net:
    """Parses the text of a .param and the bytes of its .bin; param and bin name the files in errors."""
    net = Net(_layers(text, param))
    at = 0
    for layer in net.layers:
        for slot in slots(layer):
            layer.weights[slot.role], at = _tensor(data, at, slot, f"{bin}: layer {layer.name}, {slot.role}")
    if at != len(data):
        raise OctetError(
            f"{bin}: {len(data) - at} bytes left over after the last layer's weights ({at} bytes belong to {param}); "
            "the two files are not of the same model, or one is damaged: make both again"
        )
    return net


def load_net(param: str | Path, bin: str | Path, made_by: str = "'dvc repro' makes it") -> Net:
    """Reads a model's two files. Raises OctetError where they are missing, damaged or do not belong together."""
    raw = read_bytes(param, made_by)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise OctetError(f"{param}: not text; expected ncnn's .param, which begins with {MAGIC}") from None
    return loads(text, read_bytes(bin, made_by), str(param), str(bin))


def dump(layer: Layer) -> bytes:
    """One layer's part of the .bin."""
    return b"".join(_bytes(layer.weights[slot.role], slot) for slot in slots(layer))


def dumps(net: Net) -> tuple[str, bytes]:
    """The text of the .param and the bytes of the .bin."""
    blobs = sum(len(layer.outputs) for layer in net.layers)
    lines = [MAGIC, f"{len(net.layers)} {blobs}"]
    for layer in net.layers:
        head = f"{layer.type:<24} {layer.name:<24} {len(layer.inputs)} {len(layer.outputs)}"
        params = [f"{key}={value}" for key, value in layer.params.items()]
        lines.append(" ".join([head, *layer.inputs, *layer.outputs, *params]))
    return "\n".join(lines) + "\n", b"".join(dump(layer) for layer in net.layers)


def save_net(net: Net, param: str | Path, bin: str | Path) -> None:
    """Writes a model's two files, each whole or not at all."""
    text, data = dumps(net)
    write_bytes(param, text.encode())
    write_bytes(bin, data)


def _layers(text: str, param: str) -> list[Layer]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise OctetError(f"{param}: does not begin with {MAGIC}; expected ncnn's .param in text form")
    try:
        layer_count, blob_count = (int(word) for word in lines[1].split())
    except (IndexError, ValueError):
        raise OctetError(f"{param}: line 2: expected the numbers of layers and blobs") from None
    layers, known = [], set()
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        layer = _layer(line, f"{param}: line {number}")
        for blob in layer.inputs:
            if blob not in known:
                raise OctetError(
                    f"{param}: line {number}: layer {layer.name} reads blob '{blob}', which no layer above makes"
                )
        known.update(layer.outputs)
        layers.append(layer)
    if len(layers) != layer_count:
        raise OctetError(
            f"{param}: line 2 promises {layer_count} layers, the file has {len(layers)}; it is cut off or was edited by hand"
        )
    if len(known) != blob_count:
        raise OctetError(f"{param}: line 2 promises {blob_count} blobs, the layers make {len(known)}")
    names = [layer.name for layer in layers if layer.type != "Split"]  # pnnx numbers those anew now and then
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OctetError(f"{param}: more than one layer is called {', '.join(twice)}; tables could not tell them apart")
    return layers


def _layer(line: str, where: str) -> Layer:
    words = line.split()
    try:
        kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    except (IndexError, ValueError):
        raise OctetError(f"{where}: expected «type name inputs outputs …», found {line[:60]!r}") from None
    blobs = words[4 : 4 + inputs + outputs]
    if len(blobs) < inputs + outputs or any("=" in blob for blob in blobs):
        raise OctetError(f"{where}: layer {name} promises {inputs} inputs and {outputs} outputs, names fewer")
    rest = line.split(None, 4 + inputs + outputs)[4 + inputs + outputs :]
    params = dict(_PARAMETER.findall(rest[0])) if rest else {}
    if rest and " ".join(f"{k}={v}" for k, v in params.items()).split() != rest[0].split():
        raise OctetError(f"{where}: layer {name}: cannot read the parameters {rest[0].strip()!r}")
    return Layer(kind, name, blobs[:inputs], blobs[inputs:], {int(key): value for key, value in params.items()})


def _tensor(data: bytes, at: int, slot: Slot, where: str) -> tuple[Tensor, int]:
    tag, dtype = None, np.float32
    if slot.tagged:
        if at + 4 > len(data):
            raise OctetError(
                f"{where}: the file ends at byte {len(data)}, before this weight; it is cut off: make it again"
            )
        tag = int.from_bytes(data[at : at + 4], "little")
        if tag not in _DTYPES:
            raise OctetError(f"{where}: unknown tag 0x{tag:08X} at byte {at}; expected fp32, fp16 or int8 weights")
        at, dtype = at + 4, _DTYPES[tag]
    size = slot.count * np.dtype(dtype).itemsize
    if at + size > len(data):
        raise OctetError(
            f"{where}: needs {size} bytes at byte {at}, but the file ends at byte {len(data)}; it is cut off: make it again"
        )
    end = at + -(-size // 4) * 4
    if end > len(data):
        raise OctetError(f"{where}: the file ends at byte {len(data)}, not at {end}; it is cut off: make it again")
    return Tensor(np.frombuffer(data, dtype, slot.count, at), tag, data[at + size : end]), end


def _bytes(tensor: Tensor, slot: Slot) -> bytes:
    dtype = _DTYPES[tensor.tag] if slot.tagged else np.float32
    if tensor.data.dtype != dtype or tensor.data.size != slot.count or (tensor.tag is not None) != slot.tagged:
        raise ValueError(
            f"{slot}: does not fit a {tensor.data.dtype} array of {tensor.data.size} with tag {tensor.tag}"
        )
    raw = tensor.data.tobytes()
    head = tensor.tag.to_bytes(4, "little") if slot.tagged else b""
    return head + raw + tensor.padding.ljust(-len(raw) % 4, b"\0")
