"""Target profiles: which int8 kernels a device runs best, and what follows for the weights.

A 3x3 convolution of stride 1 and dilation 1 may run as int8 Winograd F(4,3) in ncnn, which is exact enough only with
weights of 6 bits (31 levels either way; ncnn's tools/quantize/ncnn2table.cpp). A processor with int8 dot products
(x86 VNNI, Arm dot product or i8mm) is faster without it. Layer parameter 31 is a mask of features that every ncnn
runtime honours (src/net.cpp); 64 in it turns Winograd off for that layer, and the weights may use all 8 bits. 1 and 2 turn
fp16 arithmetic and fp16 storage off, which ncnn uses by default for what is not int8 on a processor that has them.

Besides the built-in targets there are those of configs/targets/, made for one model (octet/graph/profiles.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from octet.core.errors import OctetError, nearest
from octet.graph.layers import (
    could_run_winograd,
    integer,
    is_depthwise,
    is_grouped,
    kind,
    multiplications_per_value,
    no_int8,
    quantizable,
)
from octet.graph.origins import origins
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net

FOLDER = Path("configs/targets")
MASK_WINOGRAD, MASK_FP16 = 64, 1 | 2  # in the parameter featmask


@dataclass(frozen=True)
class Choice:
    """One layer's deviation from the base. None is what the base says.

    Args:
        winograd: May ncnn choose int8 Winograd?
        int8: Is it int8?
        requantize: May its output leave as int8?
        fp16: May ncnn, by its default options, compute it in fp16? Of a layer that is not int8.
    """

    winograd: bool | None = None
    int8: bool | None = None
    requantize: bool = True
    fp16: bool = True


class Fp32Reason(Enum):
    """Why a layer that could be int8, or that a user may expect to be, stays in fp32: in words that follow its name."""

    INPUT = "reads the network's input, where int8 loses the most and saves little"
    DEPTHWISE = (
        "is depthwise: int8 saves it few multiplications, is slower than fp32 on x86, and loses more than elsewhere"
    )
    NARROW = "multiplies little with each value that it reads or writes: in int8 it is no faster, and loses"
    SECOND = "reads what the first layer gives, and fp32 computes it by Winograd: int8 saves little and loses much"
    GROUPS = "is a convolution in groups, which ncnn computes wrongly in int8 on x86"
    PROFILE = "the target's profile says 'int8: false'"
    KEEP_FP32 = "the model's keep_fp32 in params.yaml names it"
    PLAN = "mixed_precision keeps it in fp32 for the budget"
    NO_INT8 = "ncnn has no int8 for layers of its type"


@dataclass(frozen=True)
class Target:
    """Which int8 kernels a device runs best.

    Args:
        name: The profile's name.
        winograd: May ncnn choose int8 Winograd on this device?
        asymmetric: Do ReLU's outputs get a zero point, so that they use all 8 bits (octet/graph/zero_points.py)?
        fp32_input: Does a layer that reads the network's input stay in fp32? The input loses the most as int8, and with
            three channels such a layer gains little: ResNet's 7x7 stem of 3.1 ms 0.4 ms, MobileNet's 3x3 nothing
            (AVX-512 VNNI).
        fp32_depthwise: Does a depthwise convolution? It has few multiplications to save, ncnn's int8 kernels for it are
            slower than its fp32 ones on x86, and it loses more than most layers: MobileNetV2 at 224x224 is 1.10 times as
            fast as fp32 with all of them in int8, 1.42 times with none (AVX-512 VNNI, one thread).
        fp32_below: A 1x1 convolution or linear layer that multiplies less often for each value that it reads or writes stays in
            fp32: to make its values int8 and back takes as long as int8 saves. 50 is between what wins and what loses in nine
            networks (AVX-512 VNNI, one thread; docs/accuracy.md#why-a-layer-stays-in-fp32 has them). 0: none does.
        fp32_second: A 3x3 convolution of stride 1 with up to as many channels stays in fp32 where it reads what a layer that
            reads the network's input gives: fp32 computes it by Winograd, with a quarter of the multiplications or less. In
            ResNet-18 at 32x32 int8 saves 2 % of the time there and makes half of what int8 loses. 0: none does.
        as_ncnn2int8: Are the files those that ncnn2int8 writes, where no layer deviates?
        layers: The layers for which another choice is better.
        fp32_costs_us: By how much one image takes longer with a layer in fp32, in microseconds, where it was measured.
    """

    name: str
    winograd: bool
    asymmetric: bool = False
    fp32_input: bool = False
    fp32_depthwise: bool = False
    fp32_below: float = 0
    fp32_second: int = 0
    as_ncnn2int8: bool = False
    layers: Mapping[str, Choice] = field(default_factory=dict)
    fp32_costs_us: Mapping[str, float] = field(default_factory=dict)

    @property
    def ncnn2int8_files(self) -> bool:
        """Are the files byte for byte those that ncnn2int8 writes? Not where a layer deviates: it cannot say so in them."""
        return self.as_ncnn2int8 and not self.layers

    def runs_winograd(self, layer: Layer) -> bool:
        """May ncnn run this layer, where it is int8, as Winograd?"""
        chosen = self._choice(layer).winograd
        return could_run_winograd(layer) and (self.winograd if chosen is None else chosen)

    def masks_winograd(self, layer: Layer) -> bool:
        """Does this layer's parameter featmask turn Winograd off?"""
        return could_run_winograd(layer) and not self.runs_winograd(layer)

    def masks_fp16(self, layer: Layer) -> bool:
        """Does the parameter featmask of this layer, where it is not int8, turn fp16 off?"""
        return not self._choice(layer).fp16

    def weight_levels(self, layer: Layer) -> int:
        """The largest integer that a weight of this layer may be: 31 (6 bits) or 127 (8 bits)."""
        return 31 if self.runs_winograd(layer) else 127

    def int8_layers(self, net: Net) -> set[str]:
        """The names of the layers that are int8 with the table's scales, unless the model's keep_fp32 says otherwise."""
        return {layer.name for layer in quantizable(net.layers)} - self.fp32_reasons(net).keys()

    def fp32_reasons(self, net: Net) -> dict[str, Fp32Reason]:
        """Why layers stay in fp32 on this target, by name, in the network's order.

        A convolution in groups (ResNeXt's, RegNet's) does where the files need not be ncnn2int8's: with packed layout on
        x86, ncnn returns unwritten memory there (ConvolutionDepthWise_x86::forward_int8_x86 makes room for another
        packing than its inner Convolution writes; seen in ncnn 1.0.20261020).
        """
        origin = origins(net)
        inputs = {blob for layer in net.layers if layer.type == "Input" for blob in layer.outputs}
        reasons, producers = dict[str, Fp32Reason](), net.producers()
        for layer in quantizable(net.layers):
            reason = self._fp32_reason(layer, origin[layer.inputs[0]] in inputs)
            if reason is None and self._is_second(layer, _weighted_before(layer, producers), reasons):
                reason = Fp32Reason.SECOND
            if reason:
                reasons[layer.name] = reason
        for preferences in ({Fp32Reason.NARROW, Fp32Reason.SECOND}, set(PREFERENCES)):
            if len(reasons) == len(quantizable(net.layers)):  # a network of nothing but such layers is int8
                reasons = {name: reason for name, reason in reasons.items() if reason not in preferences}
        return reasons

    def may_requantize(self, layer: Layer) -> bool:
        """May this layer's output leave as int8, where all that read it are int8?"""
        return self._choice(layer).requantize

    def check(self, net: Net) -> None:
        """Checks that the profile fits a model.

        Raises:
            OctetError: It names a layer that the model has not or that cannot be int8, or chooses what a layer of its
                type does not have.
        """
        known = {layer.name: layer for layer in quantizable(net.layers)}
        others = {layer.name: layer for layer in net.layers if layer.name not in known}
        problems, int8 = [], self.int8_layers(net)
        for name, choice in self.layers.items():
            if name in known:
                problems += [f"{name}: {problem}" for problem in _misfits(choice, known[name])]
                if name in int8 and not choice.fp16:
                    problems.append(
                        f"{name}: is int8, and 'fp16' is for what is not: add 'int8: false', or take it out"
                    )
            else:
                why = no_int8(others[name]) if name in others else ""
                problems.append(f"'{name}' is no layer of the model that can be int8. {why or nearest(name, known)}")
        if problems:
            raise OctetError(
                f"{FOLDER / self.name}.yaml: the profile does not fit the model:\n  "
                + "\n  ".join(problems)
                + "\nMend it, or make a profile for this model with 'make tune'"
            )

    def _choice(self, layer: Layer) -> Choice:
        return self.layers.get(layer.name, Choice())

    def _fp32_reason(self, layer: Layer, reads_input: bool) -> Fp32Reason | None:
        chosen = self._choice(layer).int8
        if chosen is False:
            return Fp32Reason.PROFILE
        if is_grouped(layer) and not self.ncnn2int8_files:
            return Fp32Reason.GROUPS
        if chosen:
            return None
        if self.fp32_input and reads_input:
            return Fp32Reason.INPUT
        if self.fp32_depthwise and is_depthwise(layer):
            return Fp32Reason.DEPTHWISE
        return Fp32Reason.NARROW if multiplications_per_value(layer) < self.fp32_below else None

    def _is_second(self, layer: Layer, before: Layer | None, reasons: Mapping[str, Fp32Reason]) -> bool:
        """Is it a small convolution behind a layer that reads the network's input?"""
        if before is None or reasons.get(before.name) is not Fp32Reason.INPUT or self._choice(layer).int8:
            return False
        channels = integer(before, "num_output"), integer(layer, "num_output")
        return could_run_winograd(layer) and max(channels) <= self.fp32_second


# what is better in fp32, but right in int8, too
PREFERENCES = (Fp32Reason.INPUT, Fp32Reason.DEPTHWISE, Fp32Reason.NARROW, Fp32Reason.SECOND)
_DOTPROD = Target(
    "dotprod", winograd=False, asymmetric=True, fp32_input=True, fp32_depthwise=True, fp32_below=50, fp32_second=64
)
TARGETS = {
    target.name: target
    for target in (
        _DOTPROD,
        replace(_DOTPROD, name="winograd", winograd=True),
        Target("ncnn2int8", winograd=True, as_ncnn2int8=True),
    )
}


def _weighted_before(layer: Layer, producers: Mapping[str, Layer]) -> Layer | None:
    """The layer with weights whose outputs, pooled or activated, this one reads; None where others lie between."""
    before = producers.get(layer.inputs[0])
    while before is not None and not before.weights and len(before.inputs) == 1:
        before = producers.get(before.inputs[0])
    return before if before is not None and before.weights else None


def _misfits(choice: Choice, layer: Layer) -> Iterator[str]:
    """What a choice asks of a layer that its type does not have."""
    int8 = kind(layer).int8
    if choice.winograd is not None and not could_run_winograd(layer):
        yield "'winograd' is for 3x3 convolutions of stride 1 and dilation 1: take it out"
    elif choice.int8 and is_grouped(layer):
        yield "ncnn computes a convolution in groups wrongly in int8 on x86: take 'int8' out"
    elif not choice.requantize and not (int8 and int8.requantizes):
        yield f"'requantize' is for convolutions, this is {layer.type}: take it out"
