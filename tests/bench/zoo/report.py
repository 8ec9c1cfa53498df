"""What was measured of the zoo, as a page for people and as JSON by config."""

from __future__ import annotations

from collections import Counter

from octet.core.text import table
from tests.bench.zoo.measure import ENOUGH_DB, LARGEST
from tests.bench.zoo.networks import Network

Results = list[tuple[Network, dict | None]]  # None: not measured yet
_BY_MMDEPLOY = (
    "MobileNet V2",
    "MobileNet V3",
    "ResNet",
    "ResNeXt",
    "SEResNet",
    "Shufflenet V1",
    "Shufflenet V2",
    "Vision Transformer",
)
_SHORT = {"Tokens-to-Token ViT": "T2T", "Transformer in Transformer": "TNT", "Visual-Attention-Network": "VAN"}
_HEAD = f"""# mmcls's model zoo on ncnn

Every network of mmcls 0.25's model zoo up to {LARGEST / 1e6:.0f} M parameters, brought from its config to ncnn int8 by the
pipeline's own export, convert, calibrate and quantize (target `dotprod`). Made by `make zoo-table`; it needs no weights
from the network.

The weights are random, scaled by their fan-in, with random affine parameters and disturbed batch-norm statistics, so
that images differ clearly in their logits. So the table says what converts and computes the same, not how accurate a
trained model stays. On four images:

- fp32: the largest difference of ncnn's logits from torch's, as a share of their spread; more than 1e-3 counts as failed;
- int8 layers: those that ncnn computes in int8, of those that it could. `dotprod` leaves in fp32 the first layer, which
  loses the most, and convolutions in groups: depthwise ones gain nothing, others ncnn computes wrongly in int8 on x86;
- int8: the power of fp32's logits over that of int8's difference from them, in dB. Noise grows with depth in networks of
  random weights more than in trained ones. Under {ENOUGH_DB} dB the same figure of ONNX Runtime's static int8 stands beside it,
  made from the same ONNX file and images: where the two are alike, the loss is the network's.

A network stands for all configs that differ from it only in training, number of classes or deploy form; re-parameterized
networks (RepVGG, RepMLP) are exported in their deploy form. CSRA's one network gives an image several labels, and is not here:
Octet refuses it by that name.
"""


def markdown(results: Results) -> str:
    families = sorted({network.family for network, _ in results}, key=str.lower)
    parts = [_HEAD, _summary(results, families)]
    for family in families:
        mine = [(network, result) for network, result in results if network.family == family and result]
        if mine:
            parts.append(f"## {_title(family)}\n\n" + _table(mine))
    return "\n".join(parts)


def _state(result: dict | None) -> str:
    if result is None:
        return "not measured"
    return next((key for key in ("error", "skipped") if key in result), "converts")


def _title(family: str) -> str:
    return f"{family} ({_SHORT[family]})" if family in _SHORT else family


def _summary(results: Results, families: list[str]) -> str:
    states = Counter(_state(result) for _, result in results)
    working = {network.family for network, result in results if _state(result) == "converts"}
    words = {"skipped": "larger than that", "not measured": "not measured yet"}
    left = " and ".join(f"{states[state]} {text}" for state, text in words.items() if states[state])
    sentence = (
        f"{states['converts']} of {states['converts'] + states['error']} networks measured convert, from {len(working)} of "
        f"the zoo's {len(families)} families. The zoo has {len(results)} networks{': ' + left if left else ''}. "
        f"MMDeploy converts {len(_BY_MMDEPLOY)} of the families to ncnn."
    )
    rows = []
    for family in families:
        mine = [result for network, result in results if network.family == family]
        rows.append([_title(family), "yes" if family in _BY_MMDEPLOY else "", str(len(mine)), *_cells(mine)])
    headers = ["family", "by MMDeploy", "networks", "measured", "convert", "int8 layers", "fp32, largest difference"]
    return f"{sentence}\n\n{table(rows, headers, 'llrrrrr', markdown=True)}\n"


def _cells(family: list[dict | None]) -> list[str]:
    """measured, convert, int8 layers, largest difference"""
    measured = [result for result in family if _state(result) in ("converts", "error")]
    good = [result for result in measured if _state(result) == "converts"]
    if not good:
        return [str(len(measured)), "0", "", ""] if measured else [""] * 4
    layers = f"{sum(f['int8_layers'] for f in good)} of {sum(f['quantizable_layers'] for f in good)}"
    return [str(len(measured)), str(len(good)), layers, f"{max(f['fp32_difference'] for f in good):.0e}"]


def _table(results: Results) -> str:
    rows = []
    for network, result in sorted(results, key=lambda r: (r[1].get("parameters_m", 0), r[0].size, r[0].name)):
        size = f"{network.size[0]}x{network.size[1]}"
        parameters = f"{result['parameters_m']:.1f} M" if "parameters_m" in result else ""
        if _state(result) == "converts":
            layers = f"{result['int8_layers']} of {result['quantizable_layers']}"
            rest = [f"{result['fp32_difference']:.0e}", layers, _decibels(result)]
        else:
            rest = [result[_state(result)], "", ""]
        rows.append([f"`{network.name}`", size, parameters, *rest])
    return table(rows, ["network", "input", "parameters", "fp32", "int8 layers", "int8"], markdown=True) + "\n"


def _decibels(result: dict) -> str:
    ours = f"{result['int8_sqnr_db']:.1f} dB"
    return ours + (f" (ONNX Runtime {result['onnx_runtime_sqnr_db']:.1f})" if "onnx_runtime_sqnr_db" in result else "")


def by_config(results: Results, parameters: dict[str, int]) -> dict[str, dict]:
    """What became of each config, in a few words, and its parameters, where they were counted."""
    texts = {}
    for network, result in results:
        state = _state(result)
        if state == "error":
            text = f"no: {result['error']}"
        elif state == "converts":
            text = f"int8, {result['int8_layers']} of {result['quantizable_layers']} layers"
        else:
            text = {"skipped": "too large to be tried", "not measured": "not tried yet"}[state]
        for config in network.configs:
            texts[config] = {"octet": text} | ({"parameters": parameters[config]} if config in parameters else {})
    return texts
