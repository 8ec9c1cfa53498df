"""make zoo-engines: int8 in each engine for networks of mmcls's model zoo, timm and torchvision, as docs/zoo-engines.md.

The smallest networks of each family, with random weights, each in a process of its own. What was measured stays in
.zoo/engines/, one file a network, and is not measured again; what failed is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from octet.core.engines.engine import load as load_engine
from octet.core.engines.onnx_runtime import OnnxRuntime
from octet.core.errors import OctetError, run
from octet.core.files import read_json, write_bytes, write_json, write_text
from octet.core.parallel import cores
from octet.core.progress import progress
from octet.core.text import table
from octet.export.export import export
from octet.export.library import EXTRA
from octet.qdq.network import load
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import quantize
from tests import nets
from tests.bench.zoo import libraries
from tests.bench.zoo.apart import is_measured, measure_apart
from tests.bench.zoo.measure import RandomNetwork, measured, onnx_runtime_int8, sqnr_db
from tests.bench.zoo.networks import Network, networks

SCRATCH = Path(".zoo/engines")
PAGE = Path("docs/zoo-engines.md")
PER_FAMILY = 3
LIMIT_S = 3600
WORSE_DB = 1  # so much less than ONNX Runtime's own int8 wants a reason
# One of the smallest of each family that mmcls has not, by its library's name.
OTHERS = {
    "ConvNeXt V2": "timm/convnextv2_atto",
    "DLA": "timm/dla34",
    "EdgeNeXt": "timm/edgenext_xx_small",
    "EfficientNetV2": "timm/efficientnetv2_rw_t",
    "EfficientViT": "timm/efficientvit_b0",
    "FastViT": "timm/fastvit_t8",
    "GhostNet": "timm/ghostnet_050",
    "HardCoRe-NAS": "timm/hardcorenas_a",
    "HGNet V2": "timm/hgnetv2_b0",
    "InceptionNeXt": "timm/inception_next_atto",
    "LCNet": "timm/lcnet_050",
    "LeViT": "timm/levit_128s",
    "MNASNet": "timm/mnasnet_050",
    "MobileNet V4": "timm/mobilenetv4_conv_small_050",
    "MobileOne": "timm/mobileone_s0",
    "MobileViT": "timm/mobilevit_xxs",
    "MobileViT V2": "timm/mobilevitv2_050",
    "PiT": "timm/pit_ti_224",
    "RegNetY": "timm/regnety_002",
    "RepViT": "timm/repvit_m0_9",
    "ReXNet": "timm/rexnet_100",
    "SelecSLS": "timm/selecsls42b",
    "SemNASNet": "timm/semnasnet_050",
    "SHViT": "timm/shvit_s1",
    "SKNet": "timm/skresnet18",
    "SqueezeNet": "torchvision/squeezenet1_1",
    "StarNet": "timm/starnet_s050",
    "TinyNet": "timm/tinynet_e",
    "XCiT": "timm/xcit_nano_12_p16_224",
}
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}
_HEAD = f"""# Networks in other engines

The {PER_FAMILY} smallest networks of each family of mmcls 0.25's model zoo, and one of each family of timm's and torchvision's that
the zoo has not, from the config or the library's name to the int8 ONNX model that Octet
writes for each engine ([engines.md](engines.md)), beside what ONNX Runtime's own static quantization makes of the same
fp32 ONNX file and the same images. Made by `make zoo-engines`; it needs no weights from the network. The weights are random,
as in [zoo.md](zoo.md): the table says what converts, and how much noise int8 adds, not how accurate a trained model stays. The
table has those that were measured so far, the small ones first.

- layers: convolutions and linear layers in int8, of all;
- int8: the power of the fp32 logits over that of int8's difference from them, in dB, on four images; calibrated on six
  others. The figures of `onnxruntime` and `tensorrt` are from ONNX Runtime, those of
  `openvino` from OpenVINO;
- its own: the same of ONNX Runtime's static QDQ, per channel, minmax; some of those ONNX Runtime itself cannot run.

TensorRT's activations are int8 around 0, so what ReLU gives has 127 steps instead of 255: there the noise may be larger. With
uint8 in their place MobileNetV2 has 27.5 dB instead of 24.4, ShuffleNetV2 29.9 instead of 27.4,
CIFAR-10's ResNet-50 33.5 instead of 28.3.

In EdgeNeXt a 1x1 convolution reads codes of positions, which no image changes. OpenVINO computes that when it compiles the model,
and not as the file says: ONNX Runtime has 34.4 dB from the same file. With that convolution in float OpenVINO has 34.5.
"""


def quantized(network: RandomNetwork, folder: Path) -> dict:
    """Raises OctetError where the network cannot be exported or quantized."""
    onnx, (seen, unseen) = folder / "fp32.onnx", network.images
    export(network.source, 13, onnx, folder / "preprocess.json")
    fp32, engine = load(onnx), OnnxRuntime(onnx, cores())
    wanted = np.stack([engine(image) for image in unseen])
    figures = {}
    for name, int8 in zip(PROFILES, quantize(fp32, list(PROFILES.values()), seen, nets.settings("mse")), strict=True):
        path = folder / f"{name}.onnx"
        write_bytes(path, int8.model.SerializeToString(deterministic=True))
        compute = load_engine(name, path, cores())
        noisy = np.stack([compute(image) for image in unseen])
        figures[name] = {"int8_layers": len(int8.placement.layers), "sqnr_db": sqnr_db(wanted, noisy)}
    try:
        own = sqnr_db(wanted, onnx_runtime_int8(folder, network.images))
    except OctetError as error:
        print(f"its own int8: {error}")
        own = None
    return {"layers": len(fp32.layers), "engines": figures, "own_sqnr_db": own}


def chosen(every: list[Network]) -> list[Network]:
    """The smallest of each family, the small ones first."""
    seen: Counter[str] = Counter()
    result = []
    for network in sorted(every, key=lambda network: network.cost):
        seen[network.family] += 1
        if seen[network.family] <= PER_FAMILY:
            result.append(network)
    return result


def others() -> list[Network]:
    """One network of each of timm's and torchvision's other families."""
    return [Network(family, [name], (0, 0)) for family, name in OTHERS.items()]


def path_of(network: Network) -> Path:
    return SCRATCH / f"{network.name}.json"


def markdown(results: list[tuple[Network, dict]]) -> str:
    """The page. A result may have a remark, written into its file by hand: it stands below the table."""
    good = [(network, result) for network, result in results if "engines" in result]
    worse = {
        name: [
            n.name for n, r in good if r["own_sqnr_db"] and r["engines"][name]["sqnr_db"] < r["own_sqnr_db"] - WORSE_DB
        ]
        for name in PROFILES
    }
    tried = sum("skipped" not in result for _, result in results)
    lines = [
        f"{len(good)} of {tried} networks tried are int8 in all three, from {len({n.family for n, _ in good})} families. "
        f"More than {WORSE_DB} dB below ONNX Runtime's own int8: "
        + "; ".join(f"{_which(names)} in {TITLES[name]}" for name, names in worse.items())
        + "."
    ]
    rows = []
    for network, result in sorted(good, key=lambda pair: (pair[0].family.lower(), pair[1]["parameters_m"])):
        of = result["engines"]
        layers = [f"{of[name]['int8_layers']} of {result['layers']}" for name in PROFILES]
        decibels = [f"{of[name]['sqnr_db']:.1f}" for name in PROFILES]
        pairs = [cell for pair in zip(layers, decibels, strict=True) for cell in pair]
        rows.append([network.family, f"`{network.name}`", *pairs, _own(result["own_sqnr_db"])])
    heads = [head for name in PROFILES for head in (f"{TITLES[name]}: layers", "int8")]
    lines.append(
        table(rows, ["family", "network", *heads, "its own"], "ll" + "rr" * len(PROFILES) + "r", markdown=True)
    )
    remarks: dict[str, list[str]] = {}
    for network, result in good:
        if "remark" in result:
            remarks.setdefault(result["remark"], []).append(f"`{network.name}`")
    lines += [f"{remark}: {', '.join(sorted(names))}." for remark, names in sorted(remarks.items())]
    failed = [f"- `{network.name}`: {result['error']}" for network, result in results if "error" in result]
    if failed:
        lines.append("Not measured:\n\n" + "\n".join(failed))
    return "\n".join([_HEAD, *[f"{line}\n" for line in lines]])


def _own(decibels: float | None) -> str:
    return "does not run" if decibels is None else f"{decibels:.1f}"


def _which(names: list[str]) -> str:
    """How many networks, and which."""
    return f"{len(names)} ({', '.join(f'`{name}`' for name in names)})" if names else "none"


def write(every: list[Network]) -> None:
    results = [(n, read_json(path_of(n), "make zoo-engines writes it")) for n in every if path_of(n).is_file()]
    write_text(PAGE, markdown(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--find", default="", help="only networks with this in their family or name")
    parser.add_argument("--one", nargs=2, metavar=("CONFIG", "RESULT"), help="measure one config, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        config, result = arguments.one
        with tempfile.TemporaryDirectory() as folder:
            library, _, name = config.partition("/")
            if library in EXTRA:
                write_json(result, libraries.measured(library, name, Path(folder), quantized))
            else:
                write_json(result, measured(config, Path(folder), quantized))
        return
    word, every = arguments.find.lower(), [*others(), *chosen(networks())]
    wanted = [n for n in every if word in f"{n.family} {n.name}".lower()]
    for network in progress(wanted, "measuring", unit="network"):
        path = path_of(network)
        if not is_measured(path):
            command = ["--one", network.configs[0], str(path)]
            measure_apart("tests.bench.zoo.engines", command, path, LIMIT_S)
            write(every)
    write(every)


if __name__ == "__main__":
    run(main)
