"""Target profiles: which int8 kernels a device runs best, and what follows for the weights.

A 3x3 convolution of stride 1 and dilation 1 may run as int8 Winograd F(4,3) in ncnn, which is exact enough only with
weights of 6 bits (31 levels either way; ncnn's tools/quantize/ncnn2table.cpp). A processor with int8 dot products
(x86 VNNI, Arm dot product or i8mm) is faster without it. Layer parameter 31 is a mask of features that every ncnn
runtime honours (src/net.cpp); 64 in it turns Winograd off for that layer, and the weights may use all 8 bits.

Besides the built-in profiles, configs/targets/NAME.yaml is one of that NAME, measured for one model (`make tune`):

    base: dotprod                       # the built-in profile that it starts from
    layers:                             # what differs from it, by layer name
      conv_1: {winograd: true}          # Winograd not masked, weights of 6 bits
      convrelu_2: {requantize: false}   # the output leaves as fp32 even where it could leave as int8
      linear_38: {int8: false}          # stays fp32
      conv_0: {int8: true}              # int8 where the base keeps fp32: reads the network's input, or is depthwise
    fp32_costs_us:                      # by how much one image takes longer with this layer in fp32, for mixed_precision
      conv_1: 41.5
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError, nearest
from octet.core.files import read_bytes
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net

FOLDER = Path("configs/targets")
MASK_PARAMETER, MASK_WINOGRAD = 31, 64
QUANTIZABLE = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
UNCALIBRATED = ("Gemm", "MultiHeadAttention", "SDPA")  # can be int8 too, and find their inputs' scales as they run
REQUANTIZING = ("Convolution", "ConvolutionDepthWise")  # the types whose output may leave as int8


@dataclass(frozen=True)
class Choice:
    """One layer's deviation from the base. None is what the base says."""

    winograd: bool | None = None
    int8: bool | None = None
    requantize: bool = True


@dataclass(frozen=True)
class Target:
    """winograd: may ncnn choose int8 Winograd on this device? asymmetric: are ReLU's outputs shifted to use all 8 bits
    (octet/asymmetric.py)? fp32_input: does a layer that reads the network's input stay fp32? The input loses the most as
    int8, and with three channels such a layer gains little: ResNet's 7x7 stem of 3.1 ms 0.4 ms, MobileNet's 3x3 nothing
    (AVX-512 VNNI). fp32_depthwise: does a depthwise
    convolution? It has few multiplications to save, ncnn's int8 kernels for it are slower than its fp32 ones on x86, and it
    loses more than most layers: MobileNetV2 at 224x224 is 1.10 times as fast as fp32 with all of them in int8, 1.42 times with
    none (AVX-512 VNNI, one thread). layers: the layers for which another choice is better. fp32_costs_us: by how much
    one image takes longer with a layer in fp32, in microseconds, where it was measured.
    """

    name: str
    winograd: bool
    asymmetric: bool = False
    fp32_input: bool = False
    fp32_depthwise: bool = False
    layers: Mapping[str, Choice] = field(default_factory=dict)
    fp32_costs_us: Mapping[str, float] = field(default_factory=dict)

    def runs_winograd(self, layer: Layer) -> bool:
        """May ncnn run this layer, where it is int8, as Winograd?"""
        chosen = self._choice(layer).winograd
        return could_run_winograd(layer) and (self.winograd if chosen is None else chosen)

    def masks_winograd(self, layer: Layer) -> bool:
        """Does this layer get layer parameter 31=64?"""
        return could_run_winograd(layer) and not self.runs_winograd(layer)

    def weight_levels(self, layer: Layer) -> int:
        """The largest integer that a weight of this layer may be: 31 (6 bits) or 127 (8 bits)."""
        return 31 if self.runs_winograd(layer) else 127

    def int8_layers(self, net: Net) -> set[str]:
        """The names of the layers that are int8, unless the model's keep_fp32 says otherwise.

        Not a convolution in groups (ResNeXt's, RegNet's) where the target's files need not be ncnn2int8's: with packed
        layout on x86, ncnn reads unwritten memory there (ConvolutionDepthWise_x86::forward_int8_x86 makes room for
        another packing than its inner Convolution writes; seen in ncnn 1.0.20261020).
        """
        inputs = {blob for layer in net.layers if layer.type == "Input" for blob in layer.outputs}
        splits = (layer for layer in net.layers if layer.type == "Split" and layer.inputs[0] in inputs)
        inputs |= {blob for layer in splits for blob in layer.outputs}
        could, should = set(), set()
        for layer in quantizable(net.layers):
            chosen = self._choice(layer).int8
            if chosen or (chosen is None and (self.winograd or not is_grouped(layer))):
                could.add(layer.name)
                depthwise = self.fp32_depthwise and layer.type == "ConvolutionDepthWise"
                if chosen or not (depthwise or (self.fp32_input and layer.inputs[0] in inputs)):
                    should.add(layer.name)
        return should or could  # a network of nothing but such layers is int8

    def may_requantize(self, layer: Layer) -> bool:
        """May this layer's output leave as int8, where all that read it are int8?"""
        return self._choice(layer).requantize

    def check(self, layers: list[Layer]) -> None:
        """Raises OctetError where the profile names a layer that is not among these (those that can be int8), or
        chooses what a layer of its kind does not have.
        """
        known = {layer.name: layer for layer in layers}
        problems = []
        for name, choice in self.layers.items():
            if name not in known:
                problems.append(f"'{name}' is no layer of the model that can be int8. {nearest(name, known)}")
            elif choice.winograd is not None and not could_run_winograd(known[name]):
                problems.append(f"{name}: 'winograd' is for 3x3 convolutions of stride 1 and dilation 1: take it out")
            elif choice.int8 and is_grouped(known[name]) and not self.winograd:
                problems.append(
                    f"{name}: ncnn computes a convolution in groups wrongly in int8 on x86: take 'int8' out"
                )
            elif not choice.requantize and known[name].type not in REQUANTIZING:
                problems.append(f"{name}: 'requantize' is for convolutions, this is {known[name].type}: take it out")
        if problems:
            raise OctetError(
                f"{_file(self.name)}: the profile does not fit the model:\n  "
                + "\n  ".join(problems)
                + "\nMend it, or make a profile for this model with 'make tune'"
            )

    def _choice(self, layer: Layer) -> Choice:
        return self.layers.get(layer.name, Choice())


TARGETS = {
    target.name: target
    for target in (
        Target("dotprod", winograd=False, asymmetric=True, fp32_input=True, fp32_depthwise=True),
        Target("ncnn2int8", winograd=True),
    )
}


def target(name: str) -> Target:
    """The built-in profile, or that of configs/targets/NAME.yaml. Raises OctetError for an unknown or a wrong one."""
    path = _file(name)
    if name in TARGETS:
        if path.exists():
            raise OctetError(f"{path}: '{name}' is a built-in profile; give the file another name")
        return TARGETS[name]
    if not path.exists():
        known = {*TARGETS, *(file.stem for file in FOLDER.glob("*.yaml"))}
        raise OctetError(f"target: '{name}' is no profile. {nearest(name, known)}")
    return load(path)


def load(path: str | Path) -> Target:
    """Reads a profile; its name is the file's, without .yaml."""
    import yaml  # here, because the tuner runs where there is no yaml

    path = Path(path)
    text = read_bytes(path, "'make tune' makes it")
    try:
        found = yaml.safe_load(text)
        twice = _twice(yaml.compose(text, yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        place = f"line {mark.line + 1}: " if mark else ""
        raise OctetError(f"{path}: {place}not valid YAML: {why}; mend it or make it again with 'make tune'") from None
    if twice:
        raise OctetError(f"{path}: {', '.join(twice)} given twice; keep one of them")
    _mapping(found, "", ("base", "layers", "fp32_costs_us"), path)
    base = found.get("base")
    if not isinstance(base, str) or base not in TARGETS:
        raise OctetError(f"{path}: base: '{base}' is no built-in profile. {nearest(str(base), TARGETS)}")
    layers = found.get("layers") or {}
    _mapping(layers, "layers", None, path)
    choices = {name: _read_choice(name, entry, path) for name, entry in layers.items()}
    costs = found.get("fp32_costs_us") or {}
    _mapping(costs, "fp32_costs_us", None, path)
    for name, cost in costs.items():
        if type(cost) not in (int, float) or not math.isfinite(cost):
            raise OctetError(f"{path}: fp32_costs_us: {name}: expected a number of microseconds, found {cost!r}")
    return replace(TARGETS[base], name=path.stem, layers=choices, fp32_costs_us=costs)


def dumps(
    base: str, layers: Mapping[str, Choice], comments: list[str], costs: Mapping[str, float] | None = None
) -> str:
    """The text of a profile, under a comment of these lines. costs: fp32_costs_us."""
    lines = [f"# {comment}" for comment in comments] + [f"base: {base}"]
    lines.append("layers:" if layers else "layers: {}")
    for name, choice in layers.items():
        changed = {f.name: getattr(choice, f.name) for f in fields(choice) if getattr(choice, f.name) != f.default}
        lines.append(f"  {_quoted(name)}: {{{', '.join(f'{key}: {str(on).lower()}' for key, on in changed.items())}}}")
    if costs:
        lines += ["fp32_costs_us:", *(f"  {_quoted(name)}: {cost:.1f}" for name, cost in costs.items())]
    return "\n".join(lines) + "\n"


def could_run_winograd(layer: Layer) -> bool:
    """ncnn2table's own condition for weights of 6 bits: 3x3, stride 1, dilation 1."""
    kernel, dilation, stride = layer.int(1), layer.int(2, 1), layer.int(3, 1)
    return (
        layer.type == "Convolution"
        and (kernel, layer.int(11, kernel)) == (3, 3)
        and (dilation, layer.int(12, dilation)) == (1, 1)
        and (stride, layer.int(13, stride)) == (1, 1)
    )


def is_grouped(layer: Layer) -> bool:
    """A convolution in groups that is not depthwise, for which ncnn makes a Convolution of each group."""
    if layer.type != "ConvolutionDepthWise":
        return False
    groups, outputs, kernel = layer.int(7, 1), layer.int(0), layer.int(1)
    return groups != outputs or layer.int(6) != outputs * kernel * layer.int(11, kernel)


def quantizable(layers: list[Layer]) -> list[Layer]:
    """The layers that can be int8, in the network's order: those of QUANTIZABLE with weights of their own."""
    return [layer for layer in layers if layer.type in QUANTIZABLE and "weight" in layer.weights]


def _file(name: str) -> Path:
    return FOLDER / f"{name}.yaml"


def _read_choice(name: Any, entry: Any, path: Path) -> Choice:
    keys = [f.name for f in fields(Choice)]
    if not isinstance(name, str):
        raise OctetError(f"{path}: layers: expected a layer's name, found {name!r}; put it in quotes")
    _mapping(entry, f"layers: {name}", keys, path)
    for key, value in entry.items():
        if not isinstance(value, bool):
            raise OctetError(f"{path}: layers: {name}: {key}: expected true or false, found {value!r}")
    choice = Choice(**entry)
    if choice.int8 is False and len(entry) > 1:
        raise OctetError(f"{path}: layers: {name}: stays fp32 by 'int8: false', which needs no other key: take it out")
    return choice


def _mapping(found: Any, at: str, keys: tuple[str, ...] | list[str] | None, path: Path) -> None:
    """Raises OctetError unless found is a mapping, with no other keys than these."""
    where = f"{path}: {at}: " if at else f"{path}: "
    if not isinstance(found, dict):
        example = "conv_1: 41.5" if at == "fp32_costs_us" else "conv_1: {winograd: true}"
        wanted = f"the keys {', '.join(keys)}" if keys else f"entries like '{example}'"
        raise OctetError(f"{where}expected a mapping with {wanted}, found {found!r}")
    for key in found:
        if keys and key not in keys:
            raise OctetError(f"{where}unknown key '{key}'. {nearest(str(key), keys)}")


def _twice(node: Any) -> list[str]:
    """The keys that a mapping of the document holds more than once, of which YAML keeps the last without a word."""
    pairs = node.value if node is not None and node.id == "mapping" else []
    keys = [key.value for key, _ in pairs if isinstance(key.value, str)]
    return sorted({f"'{key}'" for key in keys if keys.count(key) > 1}) + [k for _, v in pairs for k in _twice(v)]


def _quoted(name: str) -> str:
    """A layer's name as a YAML key: with quotes unless it is a plain word that YAML cannot take for anything else."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name[0].isalpha() and "_" in name
    return name if plain else "'" + name.replace("'", "''") + "'"
