"""make library-table: which networks of timm and torchvision Octet brings to ncnn int8, as docs/zoo-timm.md.

The smallest network of each family that timm has, with random weights, each in a process of its own, and a few of torchvision's.
What was measured stays in .zoo/, one file a network, and is not measured again; what failed is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from octet.core.errors import OctetError, run
from octet.core.files import decimals, read_json, write_json, write_text
from octet.core.progress import progress
from octet.core.text import table
from octet.export.libraries import library
from octet.export.library_source import LibrarySource
from octet.export.own_preprocess import own_preprocess
from tests.bench.zoo.apart import is_measured, measure_apart
from tests.bench.zoo.measure import LARGEST, VARIATION, RandomNetwork, files
from tests.bench.zoo.weights import images, randomize

SCRATCH = Path(".zoo")
PAGE = Path("docs/zoo-timm.md")
LIMIT_S = 3600
# The smallest classifier of each of these families, or one of the smallest.
NETWORKS = {
    "timm": (
        *("resnet18", "seresnet18", "resnext26ts", "resnetv2_18", "densenet121", "vgg11_bn", "mobilenetv2_050"),
        *(
            "mobilenetv3_small_050",
            "mobilenetv4_conv_small_050",
            "efficientnet_b0",
            "efficientnetv2_rw_t",
            "mnasnet_050",
        ),
        *(
            "ghostnet_050",
            "regnetx_002",
            "regnety_002",
            "convnext_atto",
            "convnextv2_atto",
            "repvgg_a0",
            "mobileone_s0",
        ),
        *("fastvit_t8", "repvit_m0_9", "edgenext_xx_small", "mobilevit_xxs", "mobilevitv2_050", "poolformer_s12"),
        *(
            "vit_tiny_patch16_224",
            "deit_tiny_patch16_224",
            "swin_tiny_patch4_window7_224",
            "levit_128s",
            "xcit_nano_12_p16_224",
        ),
        *(
            "mixer_s16_224",
            "pit_ti_224",
            "efficientvit_b0",
            "inception_next_atto",
            "starnet_s050",
            "shvit_s1",
            "hgnetv2_b0",
        ),
        *(
            "dla34",
            "hardcorenas_a",
            "lcnet_050",
            "tinynet_e",
            "rexnet_100",
            "semnasnet_050",
            "selecsls42b",
            "skresnet18",
        ),
    ),
    "torchvision": ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_16"),
}
_HEAD = """# timm and torchvision on ncnn

Networks of timm 1.0 and torchvision 0.28, one of the smallest of each family, brought by name to ncnn int8 by the pipeline's own
export, convert, calibrate and quantize (target `dotprod`), at the input size of their own data config. Made by
`make library-table`; it needs no weights from the network.

Weights, images and columns are as in [zoo.md](zoo.md): random weights of a fixed seed, so the table says what converts and
computes the same, not how accurate a trained model stays. fp32 is the largest difference of ncnn's logits from the library's own,
as a share of their spread.
"""


def measure(name: str, network: str, folder: Path) -> dict:
    """Raises OctetError where the network cannot be built."""
    return measured(name, network, folder, _convert)


def measured(name: str, network: str, folder: Path, of_network: Callable[[RandomNetwork, Path], dict]) -> dict:
    """What is measured of a library's network with random weights, its parameters and size, and why it was not measured.

    Raises:
        OctetError: The network cannot be built.
    """
    known = library(name)
    known.check(network)
    model = known.create(network)
    parameters = sum(p.numel() for p in model.parameters())
    result = {"parameters_m": decimals(parameters / 1e6, 1)}
    if parameters > LARGEST:
        return result | {"error": f"more than {LARGEST / 1e6:.0f} M parameters"}
    given = known.preprocessing(network, "")
    steps = own_preprocess(given, given.size, ["?"])
    result["size"] = list(given.size)
    seen, unseen = images(steps, 6, seed=0), images(steps, 4, seed=1)
    randomize(model, model, seen + [steps(image) for image in steps.noise(2)])
    with torch.no_grad():
        logits = np.concatenate([model(torch.from_numpy(x[None])).numpy() for x in unseen])
    checkpoint = folder / "weights.pth"
    torch.save({"state_dict": model.state_dict()}, checkpoint)
    try:
        source = LibrarySource(name, network, str(checkpoint), False, None)
        return result | of_network(RandomNetwork(source, (seen, unseen), logits), folder)
    except OctetError as error:
        return result | {"error": str(error).replace(f"{folder}/", "").splitlines()[0]}


def _convert(network: RandomNetwork, folder: Path) -> dict:
    if network.variation < VARIATION:
        raise OctetError(f"images move the logits by {network.variation:.4f} of their deviation only")
    return files(network.source, folder, network.images, network.logits)


def _path(name: str, network: str) -> Path:
    return SCRATCH / f"{name}-{network}.json"


def _measured(name: str, network: str) -> dict | None:
    path = _path(name, network)
    return read_json(path, "make library-table writes it") if path.is_file() else None


def write() -> None:
    """The page of all that was measured."""
    parts = [_HEAD]
    for name, networks in NETWORKS.items():
        results = [(network, result) for network in networks if (result := _measured(name, network))]
        if not results:
            continue
        good = sum("error" not in result for _, result in results)
        sentence = f"{good} of {len(results)} measured convert; the command lists {len(networks)}."
        parts.append(f"## {name}\n\n{sentence}\n\n{_table(results)}")
    write_text(PAGE, "\n".join(parts))


def _table(results: list[tuple[str, dict]]) -> str:
    rows = []
    for network, result in results:
        size = "x".join(map(str, result.get("size", ())))
        parameters = f"{result['parameters_m']:.1f} M" if "parameters_m" in result else ""
        if "error" in result:
            rest = [result["error"].replace("|", "\\|"), "", ""]
        else:
            layers = f"{result['int8_layers']} of {result['quantizable_layers']}"
            apart = f" (ONNX Runtime {result['onnx_runtime_sqnr_db']:.1f})" if "onnx_runtime_sqnr_db" in result else ""
            rest = [f"{result['fp32_difference']:.0e}", layers, f"{result['int8_sqnr_db']:.1f} dB{apart}"]
        rows.append([f"`{network}`", size, parameters, *rest])
    return table(rows, ["network", "input", "parameters", "fp32", "int8 layers", "int8"], markdown=True) + "\n"


def _every(word: str) -> Iterator[tuple[str, str]]:
    for name, networks in NETWORKS.items():
        yield from ((name, network) for network in networks if word in f"{name} {network}".lower())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--find", default="", help="only networks with this in their library or name")
    parser.add_argument("--only", nargs=2, metavar=("LIBRARY", "NETWORK"), help="measure this one, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            write_json(_path(*arguments.only), measure(*arguments.only, Path(folder)))
        return
    chosen = [each for each in _every(arguments.find.lower()) if not is_measured(_path(*each))]
    for name, network in progress(chosen, "measuring", unit="network"):
        measure_apart("tests.bench.zoo.libraries", ["--only", name, network], _path(name, network), LIMIT_S)
        write()
    write()


if __name__ == "__main__":
    run(main)
