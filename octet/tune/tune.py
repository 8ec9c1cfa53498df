"""tune: measures which kernel is the fastest for each layer: a candidate is the network with one layer changed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from octet.core.errors import OctetError
from octet.core.folder import NcnnFiles
from octet.core.progress import progress
from octet.graph.layers import could_run_winograd, is_requantized, quantizable
from octet.graph.targets import PREFERENCES, TARGETS, Choice, Fp32Reason, Target
from octet.tune.bench import Bench
from octet.tune.compare import ROUNDS, Gain, compare

TRYING = 0.75  # of the time that a tuner is given


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
        fp16: Was what is not int8 computed in fp16, unless a choice says otherwise?
        finished: Did the time suffice for all?
    """

    base: Target
    tried: list[tuple[str, Choice, Gain]]
    layers: dict[str, Choice]
    together: list[tuple[int, Gain]]
    whole_us: dict[str, float]
    refused: dict[str, str]
    fp16: bool
    finished: bool

    @property
    def best_us(self) -> float:
        """The time of the profile that comes out."""
        return self.together[-1][1].other_us if self.layers else self.whole_us[self.base.name]


def tune(bench: Bench, fp32: NcnnFiles, seconds: float = float("inf")) -> Tuned:
    """Finds the better built-in profile, then what of it is better changed.

    Args:
        bench: Makes and times the networks.
        fp32: The fp32 model.
        seconds: For how long. Layers are tried for TRYING of it; where it is over before the choices are clearly faster together,
            none is taken.

    Raises:
        OctetError: No built-in profile can be had for the model.
    """
    start_s = time.monotonic()
    tried_until, end = start_s + TRYING * seconds, start_s + seconds
    built_in, refused = {}, {}
    for name, profile in TARGETS.items():
        try:
            built_in[name] = bench.write(profile, name)
        except OctetError as error:
            refused[name] = str(error)
    if not built_in:
        raise OctetError("\n".join(refused.values()))
    best, *others = built_in
    whole_us: dict[str, float] = {}
    for name in others:
        if time.monotonic() >= tried_until:
            break  # nor will a layer be tried
        whole = compare(bench.rounds(built_in[best], built_in[name]), end=tried_until)
        whole_us |= {best: whole.base_us, name: whole.other_us}
        best = name if whole.verdict == "faster" else best
    whole = compare(bench.rounds(built_in[best], fp32), 3, tried_until)
    whole_us = {best: whole.base_us} | whole_us | {"fp32": whole.other_us}
    base = TARGETS[best]
    # What a profile with this base starts from: its files need not be, and with a changed layer cannot be, ncnn2int8's.
    start = replace(base, as_ncnn2int8=False)
    unchanged = bench.write(start, "base") if base.as_ncnn2int8 else built_in[best]

    def gain(layers: dict[str, Choice], rounds: int, until: float) -> Gain:
        return compare(bench.rounds(unchanged, bench.write(replace(start, layers=layers), "other")), rounds, until)

    choices = candidates(bench, start)
    tried = [
        (name, choice, gain({name: choice}, ROUNDS, tried_until))
        for name, choice in progress(choices, "tune", unit="candidate")
        if time.monotonic() < tried_until
    ]
    finished = len(tried) == len(choices)
    layers = chosen(tried)
    together: list[tuple[int, Gain]] = []
    while layers:
        if time.monotonic() >= end:
            layers, finished = {}, False
            break
        together.append((len(layers), gain({name: choice for name, (choice, _) in layers.items()}, 2 * ROUNDS, end)))
        if together[-1][1].verdict == "faster":
            break
        weakest = sorted(layers, key=lambda name: layers[name][1])[: -(-len(layers) // 2)]
        layers = {name: entry for name, entry in layers.items() if name not in weakest}
    taken = {name: choice for name, (choice, _) in layers.items()}
    return Tuned(base, tried, taken, together, whole_us, refused, bench.fp16, finished)


_MAY_WIN = set(PREFERENCES) - {Fp32Reason.INPUT}  # as int8 on another processor


def candidates(bench: Bench, base: Target) -> list[tuple[str, Choice]]:
    """For each layer, the choices other than the base's that mean something for it.

    Of the layers that the base keeps in fp32, all that do not read the network's input may win as int8 where the processor's
    int8 kernels for them are good. Where ncnn computes in fp16 what is not int8, fp32 may win over it, as its kernels are others.
    """
    choices = []
    int8, reasons = base.int8_layers(bench.net), base.fp32_reasons(bench.net)
    for layer in quantizable(bench.int8(base).layers):
        floats = [Choice(int8=False)] * (layer.name in int8)
        if layer.name not in int8 and reasons[layer.name] in _MAY_WIN:
            choices.append((layer.name, Choice(int8=True)))
        if layer.name in int8 and could_run_winograd(layer):
            choices.append((layer.name, Choice(winograd=not base.winograd)))
        if is_requantized(layer):
            choices.append((layer.name, Choice(requantize=False)))
        if bench.fp16:
            floats.append(replace(floats[0] if floats else Choice(), fp16=False))
        choices += [(layer.name, choice) for choice in floats]
    return choices


def chosen(tried: list[tuple[str, Choice, Gain]]) -> dict[str, tuple[Choice, float]]:
    """By layer, what was clearly faster and its gain in µs: another kind of number, or the other choices at once,
    whichever gains more.
    """
    layers: dict[str, tuple[Choice, float]] = {}
    for layer in dict.fromkeys(name for name, _, _ in tried):
        faster = [(choice, gain.us) for name, choice, gain in tried if name == layer and gain.verdict == "faster"]
        others = [(choice, us) for choice, us in faster if choice.int8 is None and choice.fp16]
        numbers = [entry for entry in faster if entry not in others]
        number = max(numbers, key=lambda entry: entry[1], default=(Choice(), 0.0))
        others_us = sum(us for _, us in others)
        if number[1] > others_us:
            layers[layer] = number
        elif others:
            winograd = next((choice.winograd for choice, _ in others if choice.winograd is not None), None)
            layers[layer] = Choice(winograd, requantize=all(choice.requantize for choice, _ in others)), others_us
    return layers
