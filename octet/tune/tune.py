"""tune: measures which kernel is the fastest for each layer: a candidate is the network with one layer changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.progress import progress
from octet.graph.layers import could_run_winograd, is_requantized, quantizable
from octet.graph.targets import TARGETS, Choice, Target
from octet.tune.bench import Bench
from octet.tune.compare import ROUNDS, Gain, compare


@dataclass(frozen=True)
class Tuned:
    """What was measured.

    Args:
        base: The better built-in profile.
        tried: Every candidate.
        layers: The choices that are taken.
        together: Every attempt to take several at once: how many layers, and what they gain.
        whole_us: The time of each built-in profile, and of fp32.
        refused: Why a built-in profile cannot be had for this model.
    """

    base: Target
    tried: list[tuple[str, Choice, Gain]]
    layers: dict[str, Choice]
    together: list[tuple[int, Gain]]
    whole_us: dict[str, float]
    refused: dict[str, str]

    @property
    def best_us(self) -> float:
        """The time of the profile that comes out."""
        return self.together[-1][1].other_us if self.layers else self.whole_us[self.base.name]


def tune(bench: Bench, fp32: tuple[Path, Path]) -> Tuned:
    """Finds the better built-in profile, then what of it is better changed.

    Args:
        bench: Makes the networks.
        fp32: The .param and .bin of the fp32 model.

    Raises:
        OctetError: No built-in profile can be had for the model.
    """
    loaders, refused = {}, {}
    for name, profile in TARGETS.items():
        try:
            loaders[name] = bench.loader(profile, name)
        except OctetError as error:
            refused[name] = str(error)
    if not loaders:
        raise OctetError("\n".join(refused.values()))
    best, *others = loaders
    whole_us: dict[str, float] = {}
    for name in others:
        whole = compare(loaders[best], loaders[name])
        whole_us |= {best: whole.base_us, name: whole.other_us}
        best = name if whole.verdict == "faster" else best
    whole = compare(loaders[best], lambda: bench.timer(*fp32), rounds=3)
    whole_us = {best: whole.base_us} | whole_us | {"fp32": whole.other_us}
    base = TARGETS[best]
    # What a profile with this base starts from: its files need not be, and with a changed layer cannot be, ncnn2int8's.
    start = replace(base, as_ncnn2int8=False)
    load = bench.loader(start, "base") if base.as_ncnn2int8 else loaders[best]

    def gain(layers: dict[str, Choice], rounds: int = ROUNDS) -> Gain:
        return compare(load, bench.loader(replace(start, layers=layers), "other"), rounds)

    tried = [
        (name, choice, gain({name: choice}))
        for name, choice in progress(candidates(bench, start), "tune", unit="candidate")
    ]
    layers = chosen(tried)
    together: list[tuple[int, Gain]] = []
    while layers:
        together.append((len(layers), gain({name: choice for name, (choice, _) in layers.items()}, 2 * ROUNDS)))
        if together[-1][1].verdict == "faster":
            break
        weakest = sorted(layers, key=lambda name: layers[name][1])[: -(-len(layers) // 2)]
        layers = {name: entry for name, entry in layers.items() if name not in weakest}
    return Tuned(base, tried, {name: choice for name, (choice, _) in layers.items()}, together, whole_us, refused)


def candidates(bench: Bench, base: Target) -> list[tuple[str, Choice]]:
    """For each layer, the choices other than the base's that mean something for it."""
    choices = []
    int8 = base.int8_layers(bench.net)
    for layer in quantizable(bench.int8(base).layers):
        if layer.name not in int8:
            continue
        if could_run_winograd(layer):
            choices.append((layer.name, Choice(winograd=not base.winograd)))
        if is_requantized(layer):
            choices.append((layer.name, Choice(requantize=False)))
        choices.append((layer.name, Choice(int8=False)))
    return choices


def chosen(tried: list[tuple[str, Choice, Gain]]) -> dict[str, tuple[Choice, float]]:
    """By layer, what was clearly faster and its gain in µs: fp32, or the other choices at once, whichever gains more."""
    layers: dict[str, tuple[Choice, float]] = {}
    for layer in dict.fromkeys(name for name, _, _ in tried):
        faster = [(choice, gain.us) for name, choice, gain in tried if name == layer and gain.verdict == "faster"]
        others = [(choice, us) for choice, us in faster if choice.int8 is None]
        fp32_us, others_us = (sum(us for choice, us in faster if (choice.int8 is None) == on) for on in (False, True))
        if fp32_us > others_us:
            layers[layer] = Choice(int8=False), fp32_us
        elif others:
            winograd = next((choice.winograd for choice, _ in others if choice.winograd is not None), None)
            layers[layer] = Choice(winograd, requantize=all(choice.requantize for choice, _ in others)), others_us
    return layers
