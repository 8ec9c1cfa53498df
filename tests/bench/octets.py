"""Octet's int8 of a model, from the calibration images on disk to the file: a process of its own, so that make bench-peers times
it with its start, as it does the other engines' own.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from octet.core import params
from octet.core.params import Calibrate
from octet.core.plan import read_plan
from octet.data.images import Images
from octet.graph.profiles import target
from octet.ncnn.net import save_net
from octet.qdq.network import Floats, Network, load
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import kept
from octet.qdq.quantize import quantize as onnx_quantize
from octet.quantize.quantize import quantize
from tests.bench.peers import OCTET_IN
from tests.bench.pipeline import Bench


def ncnn(name: str, kernels: str, folder: Path) -> None:
    """Writes timed.param and timed.bin for a target, with weights to the nearest, into the folder."""
    settings, bench = params.load(), Bench(name)
    bench.target = target(kernels)
    table = bench.table(settings.calibrate.method, settings.calibrate.images)
    int8 = quantize(bench.net, table, bench.target, list(settings.models[name].keep_fp32), "the table")
    save_net(int8, folder / "timed.param", folder / "timed.bin")


def engine(name: str, engine: str, folder: Path) -> None:
    """Writes octet_ENGINE.onnx into the folder."""
    network, keep_float, images = inputs(name)
    write(network, images, params.load().calibrate, folder, keep_float, engines=[engine])


def write(
    network: Network,
    images: Sequence[Floats],
    settings: Calibrate,
    folder: Path,
    keep_float: Sequence[str] = (),
    by_gptq: bool = False,
    engines: Iterable[str] = OCTET_IN,
) -> None:
    """Writes octet_ENGINE.onnx, or by GPTQ octet_ENGINE_gptq.onnx, into the folder, as tests/bench/peers.py reads them."""
    names, ending = list(engines), "_gptq" if by_gptq else ""
    profiles = [PROFILES[name] for name in names]
    models = onnx_quantize(network, profiles, images, settings, keep_float, gptq_images=images if by_gptq else None)
    for name, int8 in zip(names, models, strict=True):
        (folder / f"octet_{name}{ending}.onnx").write_bytes(int8.model.SerializeToString(deterministic=True))


def inputs(name: str) -> tuple[Network, list[str], Images]:
    """A model's ONNX network, the names of its nodes that stay in float, and its calibration images."""
    settings, bench = params.load(), Bench(name)
    network = load(bench.folder.onnx)
    layers = [*settings.models[name].keep_fp32, *read_plan(bench.folder.plan)]
    return network, kept(network, bench.net, layers), bench.images("train", settings.calibrate.images)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("what", help="a target of ncnn's, or another engine")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    (engine if args.what in PROFILES else ncnn)(args.model, args.what, args.folder)
