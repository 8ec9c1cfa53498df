"""A model cut at named tensors into several ncnn models that run one after the other, with the same result.

What MMDeploy calls partition_config. Each part computes one cut tensor and whatever else it needs for it; the last one
computes the rest. Tensors that a later part reads, the cut ones and those of connections that pass over a cut, leave
their part and enter the other through an Input layer of the same name, in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from octet.core.errors import OctetError, nearest
from octet.core.files import new_folder, write_json
from octet.core.folder import PRECISIONS, ModelFolder, NcnnFiles
from octet.core.outputs import flat
from octet.ncnn.engine import Engine, Floats, Shape
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net, in_order, load_net, save_net
from octet.ncnn.side_by_side import extract


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Args:
        net: Its network.
        inputs: The names of the blobs that it reads; of the first part the model's own input.
        outputs: The names of the blobs that it gives; of the last part the model's own output.
    """

    net: Net
    inputs: list[str]
    outputs: list[str]


def split(net: Net, partition: Sequence[str], where: str) -> list[Part]:
    """Cuts a model into parts.

    Args:
        net: The model.
        partition: Where: names of blobs in the .param, or of the layers that make them.
        where: The model, for errors.

    Returns:
        The parts in the order in which they run, one more than there are cuts.

    Raises:
        OctetError: A cut is unknown, the model's input or output, or computed already by an earlier cut's part.
    """
    producers, last, blobs = net.producers(), net.outputs, [_blob(net, cut, where) for cut in partition]
    done = {_key(layer) for layer in net.layers if layer.type == "Input"}
    groups: list[list[Layer]] = []
    for cut, blob in zip(partition, blobs, strict=True):
        needed = _before(producers, blob) - done
        if not needed or blob in last:
            raise OctetError(
                f"{where}: partition: '{cut}' leaves nothing for its part to compute; expected tensors in the network's order, "
                "none of them its input or output or before an earlier one"
            )
        groups.append([layer for layer in net.layers if _key(layer) in needed])
        done |= needed
    groups.append([layer for layer in net.layers if _key(layer) not in done])
    parts = []
    for k, layers in enumerate(groups):
        outputs_here = {blob for layer in layers for blob in layer.outputs}
        later = {blob for group in groups[k + 1 :] for layer in group for blob in layer.inputs}
        inputs = list(dict.fromkeys(blob for layer in layers for blob in layer.inputs if blob not in outputs_here))
        outputs = [blob for layer in layers for blob in layer.outputs if blob in later or blob in last]
        entries = [
            producers[blob] if producers[blob].type == "Input" else Layer("Input", blob, [], [blob]) for blob in inputs
        ]
        parts.append(Part(Net([*entries, *layers]), inputs, outputs))
    return parts


class Chain:
    """The parts, ready to run one after the other: called as an Engine is."""

    def __init__(self, parts: Sequence[Part], shape: Shape | None = None):
        first, *others = parts
        read = {blob for part in parts for blob in part.inputs}
        self.outputs = in_order([blob for part in parts for blob in part.outputs if blob not in read])
        self.parts = [(first, Engine.of(first.net, shape=shape)), *((part, Engine.of(part.net)) for part in others)]

    def __call__(self, image: Floats) -> Floats:
        """What Engine gives for one image, fp32 of shape (C, H, W): its logits, fp32 of shape (classes,)."""
        mat, _kept = self.parts[0][1].mat(image)
        blobs = {self.parts[0][0].inputs[0]: mat}
        for part, engine in self.parts:
            extractor = engine.net.create_extractor()
            for name in part.inputs:
                extractor.input(name, blobs[name])
            for name in part.outputs:
                blobs[name] = extract(extractor, name).clone()  # the part's own memory goes with its extractor
        return flat(np.array(blobs[name]) for name in self.outputs)


def runner(files: NcnnFiles, partition: Sequence[str], shape: Shape | None = None) -> Callable[[Floats], Floats]:
    """What runs a model: the chain of its parts where it is cut.

    Args:
        files: The model.
        partition: Where it is cut, as for split; empty: nowhere.
        shape: Of its input, as (C, H, W), where it is known.

    Returns:
        A function from an input, fp32 of shape (C, H, W), to the logits, fp32 of shape (classes,).
    """
    if partition:
        return Chain(split(load_net(*files), partition, str(files.param)), shape)
    return Engine(files.param, files.bin, shape=shape)


def write(folder: ModelFolder, partition: Sequence[str]) -> int:
    """Writes the parts of fp32 and int8 into the model's folder `parts`, and chain.json, which says how they follow one another.

    Returns how many parts a model has.
    """
    chain: dict[str, list[dict[str, object]]] = {}
    with new_folder(folder.parts) as new:
        for precision in PRECISIONS:
            files = folder.ncnn(precision)
            for k, part in enumerate(split(load_net(*files), partition, str(files.param))):
                names = {"param": f"{precision}.{k}.param", "bin": f"{precision}.{k}.bin"}
                save_net(part.net, new / names["param"], new / names["bin"])
                chain.setdefault(precision, []).append(names | {"inputs": part.inputs, "outputs": part.outputs})
        write_json(new / "chain.json", chain)
    return len(partition) + 1


def _blob(net: Net, cut: str, where: str) -> str:
    producers = net.producers()
    if cut in producers:
        return cut
    outputs = [layer.outputs for layer in net.layers if layer.name == cut]
    if not outputs:
        known = [*producers, *(layer.name for layer in net.layers)]
        raise OctetError(f"{where}: partition: '{cut}' is no blob of the model, nor a layer. {nearest(cut, known)}")
    if len(outputs[0]) > 1:
        raise OctetError(
            f"{where}: partition: layer '{cut}' makes {', '.join(outputs[0])}; name one of them, or what it reads"
        )
    return outputs[0][0]


def _before(producers: dict[str, Layer], blob: str) -> set[str]:
    """The layers that a blob needs, its own among them."""
    keys: set[str] = set()
    todo = [producers[blob]]
    while todo:
        layer = todo.pop()
        if _key(layer) not in keys:
            keys.add(_key(layer))
            todo += [producers[name] for name in layer.inputs]
    return keys


def _key(layer: Layer) -> str:
    """What a layer is known by: its first output. pnnx gives several Splits one name."""
    return layer.outputs[0]
