"""What was measured of the zoo, as a page for people and as JSON by config."""

from __future__ import annotations

from tests.bench.zoo.networks import Network

Results = list[tuple[Network, dict]]
_HEAD = """# mmcls's model zoo on ncnn

Every network of mmcls 0.25's model zoo up to 150 M parameters, brought from its config to ncnn int8 by the pipeline's own
export, convert, calibrate and quantize (target `dotprod`). Made by `make zoo-table`; it needs no weights from the network.

The weights are random, scaled by their fan-in, with random affine parameters and disturbed batch-norm statistics, so
that pictures differ clearly in their logits. So the table says what converts and computes the same, not how accurate a
trained model stays. On four pictures:

- fp32: the largest difference of ncnn's logits from torch's, as a share of their spread; more than 1e-3 counts as failed;
- int8 layers: those that ncnn computes in int8, of those that it could (`dotprod` leaves the first layer and convolutions
  in groups, depthwise ones too, in fp32);
- int8: the power of fp32's logits over that of int8's difference from them, in dB. Noise grows with depth in networks of
  random weights more than in trained ones.

A network stands for all configs that differ from it only in training, number of classes or deploy form; re-parameterized
networks (RepVGG, RepMLP) are exported in their deploy form.
"""


def markdown(results: Results) -> str:
    families = sorted({network.family for network, _ in results}, key=str.lower)
    parts = [_HEAD, _summary(results, families)]
    for family in families:
        parts.append(f"## {family}\n\n" + _table([r for r in results if r[0].family == family]))
    return "\n".join(parts)


def _summary(results: Results, families: list[str]) -> str:
    tried = [(network, found) for network, found in results if "skipped" not in found]
    working = [(network, found) for network, found in tried if "error" not in found]
    lines = [
        f"{len(working)} of {len(tried)} networks convert, from {len({n.family for n, _ in working})} of {len(families)} families"
        f" ({len(results) - len(tried)} are larger).\n",
        "| family | networks | convert | int8 layers | fp32, largest difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for family in families:
        mine = [found for network, found in tried if network.family == family]
        good = [found for network, found in working if network.family == family]
        layers = f"{sum(f['int8_layers'] for f in good)} of {sum(f['quantizable_layers'] for f in good)}"
        worst = f"{max(f['fp32_difference'] for f in good):.0e}" if good else ""
        lines.append(f"| {family} | {len(mine)} | {len(good)} | {layers if good else ''} | {worst} |")
    return "\n".join(lines) + "\n"


def _table(results: Results) -> str:
    lines = ["| network | input | parameters | fp32 | int8 layers | int8 |", "|---|---:|---:|---:|---:|---:|"]
    for network, found in results:
        size = f"{network.size[0]}x{network.size[1]}"
        parameters = f"{found['parameters_m']:.1f} M" if "parameters_m" in found else ""
        if "error" in found or "skipped" in found:
            rest = f"{found.get('error') or found.get('skipped')} | | |"
        else:
            layers = f"{found['int8_layers']} of {found['quantizable_layers']}"
            rest = f"{found['fp32_difference']:.0e} | {layers} | {found['int8_sqnr_db']:.1f} dB |"
        lines.append(f"| `{network.name}` | {size} | {parameters} | {rest}")
    return "\n".join(lines) + "\n"


def by_config(results: Results) -> dict[str, str]:
    """What became of each config, in a few words."""
    found = {}
    for network, result in results:
        if "error" in result:
            text = f"no: {result['error']}"
        elif "skipped" in result:
            text = "not tried"
        else:
            text = f"int8, {result['int8_layers']} of {result['quantizable_layers']} layers"
        found |= dict.fromkeys(network.configs, text)
    return found
