"""The tuner by itself, as it runs on a board: a model's folder in, a target profile out.

    python -m octet.tune models/resnet18_digits32 --out profile.yaml

needs Python, ncnn and numpy, the folder octet/, and of the model fp32.param, fp32.bin, int8.table and preprocess.json
(or --size).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

import numpy as np

from octet.core.errors import OctetError
from octet.core.files import read_json, write_text
from octet.core.folder import NcnnFiles
from octet.core.names import NAME
from octet.graph.layers import quantizable, uncalibrated
from octet.graph.profiles import dumps
from octet.graph.scales import check_table
from octet.graph.targets import TARGETS, Choice
from octet.ncnn import table
from octet.ncnn.engine import known_shape
from octet.ncnn.machine import processor
from octet.ncnn.net import Net, load_net
from octet.tune.bench import Bench
from octet.tune.text import comments, report, this_machine
from octet.tune.tune import tune

_LARGEST = 10_000  # pixels of an edge


def main() -> None:
    """Reads the arguments, tunes, and writes the profile."""
    parser = argparse.ArgumentParser(prog="python -m octet.tune", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="the model's folder, with fp32.param, fp32.bin and int8.table")
    parser.add_argument("--out", type=Path, required=True, help="the profile: configs/targets/NAME.yaml")
    parser.add_argument("--size", type=int, nargs=2, help="height and width of the input (default: preprocess.json's)")
    args = parser.parse_args()
    tune_model(args.model, args.out, this_machine(), Bench, args.size, "asimdhp" in processor()[1])


def tune_model(
    model: Path, out: Path, where: str, bench: Callable[..., Bench], size: list[int] | None = None, fp16: bool = False
) -> None:
    """Tunes a model, prints what was measured, and writes the profile.

    Args:
        model: The model's folder.
        out: The profile, configs/targets/NAME.yaml.
        where: On what it is measured, for the head of the profile.
        bench: Makes what times the networks: Bench, or what takes its arguments.
        size: The height and width of the network's input, where preprocess.json does not say it.
        fp16: Does ncnn compute there in fp16 what is not int8?

    Raises:
        OctetError: The model's files are missing or damaged, or it has nothing to tune.
    """
    name = out.stem
    if out.suffix != ".yaml" or name in TARGETS or not NAME.fullmatch(name):
        raise OctetError(
            f"--out {out}: expected NAME.yaml, NAME of letters, digits, _ and -, none of {', '.join(TARGETS)}, "
            "which are built in; of make tune it is the model's, or NAME=another"
        )
    files = NcnnFiles.named(model, "fp32")
    net = load_net(files.param, files.bin, "the stage convert makes it")
    layers = quantizable(net.layers)
    if not layers:
        raise OctetError(f"{files.param}: has no layer that can be int8, so there is nothing to tune")
    scales = table.load(model / "int8.table")
    check_table(scales, [*layers, *uncalibrated(net.layers)], str(model / "int8.table"))
    shape = input_shape(net, model / "preprocess.json", size)
    image = np.random.Generator(np.random.PCG64(0)).normal(0, 1, shape).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="octet-tune-") as folder:
        tuned = tune(bench(net, scales.inputs, image, Path(folder), fp16), files)
    print(report(tuned))
    named = model.resolve().name
    costs = {layer: -gain.us for layer, choice, gain in tuned.tried if choice == Choice(int8=False)}
    write_text(out, dumps(tuned.base.name, tuned.layers, comments(tuned, named, where), costs))
    print(f"{out}: written; 'target: {name}' under 'models: {named}:' in params.yaml takes it from configs/targets/")


def input_shape(net: Net, preprocess: Path, size: list[int] | None) -> tuple[int, int, int]:
    """The shape of the network's input: (channels, height, width).

    Args:
        net: The network; it may say how many channels it reads.
        preprocess: preprocess.json, which says all of it.
        size: Height and width, where there is no such file.

    Raises:
        OctetError: There is neither the file nor a size.
    """
    if size is not None and not _is_size(size):
        raise OctetError(f"--size {size[0]} {size[1]}: expected height and width in pixels, of 1 to {_LARGEST:,}")
    known = known_shape(net.layers)
    channels = known[0] or 3 if known else 3
    if size is None or preprocess.exists():
        steps = read_json(preprocess, "copy it beside the model, or give --size")
        order, own_size = (
            (steps.get(key) for key in ("channel_order", "size")) if isinstance(steps, dict) else (None, None)
        )
        if order not in ("RGB", "BGR", "GREY") or not _is_size(own_size):
            raise OctetError(
                f"{preprocess}: expected 'channel_order' and 'size' as the stage export writes them; copy it anew, or remove it "
                "and give --size"
            )
        channels, size = 1 if order == "GREY" else 3, size or own_size
    height, width = size
    return channels, height, width


def _is_size(value: object) -> TypeGuard[list[int]]:
    """Is it [height, width], which memory can hold?"""
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 < n <= _LARGEST for n in value)
