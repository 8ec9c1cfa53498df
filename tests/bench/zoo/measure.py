"""One network of the zoo: exported, converted and quantized with random weights, and how far its logits then differ.

python -m tests.bench.zoo.measure CONFIG RESULT.json
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from octet.calibrate.calibrate import calibrate
from octet.core.engines.onnx_runtime import OnnxRuntime
from octet.core.errors import OctetError
from octet.core.files import decimals, write_json
from octet.core.folder import NcnnFiles
from octet.core.logits import spread_difference
from octet.core.parallel import cores
from octet.export.export import export
from octet.export.mmcls_model import Config, build, read_config
from octet.export.mmcls_pipeline import derive
from octet.export.mmcls_source import MmclsSource
from octet.export.onnx_model import LogitsModel
from octet.export.source import Source
from octet.graph.layer_types import UNCALIBRATED
from octet.graph.layers import is_int8, quantizable
from octet.graph.profiles import target
from octet.ncnn.convert import convert
from octet.ncnn.engine import Engine
from octet.ncnn.net import load_net
from octet.quantize.int8_files import write
from octet.quantize.quantize import quantize
from tests import nets
from tests.bench import peers
from tests.bench.zoo.networks import complete
from tests.bench.zoo.weights import images, randomize

LARGEST = 150e6  # parameters
ENOUGH_DB = 20  # below, another tool's int8 tells whether the loss is the network's or Octet's
VARIATION = 0.02  # how much images must move the logits, as a share of the logits' own deviation


@dataclass(frozen=True)
class RandomNetwork:
    """A network with random weights.

    Args:
        source: It and its weights, in the folder's weights.pth.
        images: Network inputs to calibrate with, and those to measure on.
        logits: Of the latter, by torch.
    """

    source: Source
    images: tuple
    logits: np.ndarray

    @property
    def variation(self) -> float:
        """How much images move the logits, as a share of the logits' own deviation."""
        return float(self.logits.std(axis=0).mean() / self.logits.std())


def measure(config: str, folder: Path) -> dict:
    """Raises OctetError where the network cannot be built."""
    return measured(config, folder, _convert)


def measured(config: str, folder: Path, of_network: Callable[[RandomNetwork, Path], dict]) -> dict:
    """What is measured of a config's network with random weights, its parameters, and why it was not measured.

    Raises:
        OctetError: The network cannot be built.
    """
    config = complete(config, folder)
    settings = read_config(config)
    model = build(settings, config)
    parameters = sum(p.numel() for p in model.parameters())
    result = {"parameters_m": decimals(parameters / 1e6, 1)}
    if parameters > LARGEST:
        return result | {"skipped": f"more than {LARGEST / 1e6:.0f} M parameters"}
    network = random_network(model, settings, config, folder)
    del model
    try:
        return result | of_network(network, folder)
    except OctetError as error:
        return result | {"error": str(error).replace(f"{folder}/", "").splitlines()[0]}


def _convert(network: RandomNetwork, folder: Path) -> dict:
    if network.variation < VARIATION:
        raise OctetError(f"images move the logits by {network.variation:.4f} of their deviation only")
    variation = decimals(network.variation, 2)
    return files(network.source, folder, network.images, network.logits) | {"variation": variation}


def random_network(model: torch.nn.Module, settings: Config, config: str, folder: Path) -> RandomNetwork:
    """The config's model with random weights, which go to the folder's weights.pth; the model's own change, too."""
    logits, classes, weights, pair = _torch(model, derive(settings, config, ["?"]))
    checkpoint = folder / "weights.pth"
    torch.save({"state_dict": weights, "meta": {"CLASSES": [str(k) for k in range(classes)]}}, checkpoint)
    return RandomNetwork(MmclsSource(config, str(checkpoint), False), pair, logits)


def _torch(model, steps) -> tuple:
    """The logits of four images, the number of classes, the weights, and the images: six to calibrate, those four."""
    network = LogitsModel(model).eval()
    seen, unseen = images(steps, 6, seed=0), images(steps, 4, seed=1)
    more = images(steps, 58, seed=2) if max(steps.size) <= 64 else []  # a network may leave one pixel of a small one
    randomize(model, network, seen + more + [steps(image) for image in steps.noise(2)])  # noise: export compares on it
    with torch.no_grad():
        logits = np.concatenate([network(torch.from_numpy(x[None])).numpy() for x in unseen])
    return logits, logits.shape[1], model.state_dict(), (seen, unseen)


def files(source: Source, folder: Path, images: tuple, wanted: np.ndarray) -> dict:
    """What becomes of a source.

    Args:
        source: A model with a file weights.pth in the folder, which is removed as soon as it was read.
        folder: Where all files go.
        images: Network inputs to calibrate with, and those to measure on.
        wanted: The logits of the latter.

    Raises:
        OctetError: It cannot be exported, converted or quantized.
    """
    seen, unseen = images
    onnx = folder / "fp32.onnx"
    fp32, int8 = (NcnnFiles.named(folder, kind) for kind in ("fp32", "int8"))
    export(source, 13, onnx, folder / "preprocess.json")
    (folder / "weights.pth").unlink()
    convert(onnx, fp32, unseen)
    net, profile = load_net(*fp32), target("dotprod")
    table = calibrate(net, seen, nets.settings("mse"), profile)
    quantized = quantize(net, table, profile, [], "table")
    write(quantized, *int8, unseen[0])
    logits = {}
    for kind, files in (("fp32", fp32), ("int8", int8)):
        engine = Engine(*files, threads=cores())
        logits[kind] = np.stack([engine(x) for x in unseen])
    result = {"int8_sqnr_db": sqnr_db(logits["fp32"], logits["int8"])}
    if result["int8_sqnr_db"] < ENOUGH_DB:
        result["onnx_runtime_sqnr_db"] = sqnr_db(logits["fp32"], onnx_runtime_int8(folder, images))
    layers = quantizable(net.layers) + [layer for layer in net.layers if layer.type in UNCALIBRATED]
    return result | {
        "fp32_difference": float(f"{spread_difference(logits['fp32'], wanted):.1e}"),
        "int8_layers": sum(is_int8(layer) for layer in quantized.layers),
        "quantizable_layers": len(layers),
        "reshapes_by_batch": sum(layer.type == "Reshape" and 12 in layer.params for layer in net.layers),
    }


def onnx_runtime_int8(folder: Path, images: tuple) -> np.ndarray:
    """The logits of its static int8 of the folder's fp32.onnx. Raises OctetError where it cannot run that itself."""
    seen, unseen = images
    peers.onnx_runtime_prepared(folder)
    peers.onnx_runtime_int8(folder, np.stack(seen), peers.UINT8)
    run = OnnxRuntime(folder / f"{peers.UINT8}.onnx", cores())
    return np.stack([run(x) for x in unseen])


def sqnr_db(wanted: np.ndarray, noisy: np.ndarray) -> float:
    """Of logits less each image's mean, which no prediction depends on."""
    centred = [x - x.mean(axis=1, keepdims=True) for x in (wanted, noisy)]
    signal, noise = np.square(centred[0]).sum(), np.square(centred[1] - centred[0]).sum()
    return decimals(10 * np.log10(signal / max(noise, 1e-30)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_json(arguments.result, measure(arguments.config, Path(folder)))


if __name__ == "__main__":
    main()
