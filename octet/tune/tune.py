"""tune: measures on this machine which kernel is the fastest for each layer, and writes a target profile.

    python -m octet.tune models/resnet18_digits32 --out profile.yaml

needs Python, ncnn and numpy, the folder octet/, and of the model fp32.param, fp32.bin, int8.table and preprocess.json
(or --size): so it runs on the board that the model is for. ncnn's Python API has no timer per layer, so a candidate is
the whole network with one layer changed, timed in turn with the network as it is. Two things disturb that, and larger
gains than most layers have come from them:
- Other jobs. So the timer is the processor time of the one thread that computes. With 7 jobs on 2 cores the medians of
  200 runs of two copies of one ResNet-18 (2.2 ms) were at most 14 µs apart, and up to 290 µs by the clock on the wall.
- Where the weights lie in memory. So both networks are loaded anew for every round, and what counts are rounds.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import numpy as np

from octet.calibrate.weights import weight_scales
from octet.core.errors import OctetError, run
from octet.core.files import read_json, write_text
from octet.core.progress import progress
from octet.graph.layers import could_run_winograd, is_requantized, quantizable, uncalibrated
from octet.graph.scales import add_attention, check_table
from octet.graph.targets import TARGETS, Choice, Target, dumps
from octet.ncnn import table as tables
from octet.ncnn.engine import Engine
from octet.ncnn.machine import machine
from octet.ncnn.net import Net, load_net, save_net
from octet.ncnn.table import Table
from octet.quantize.quantize import quantize

PAIRS = 10  # timed in a round
ROUNDS = 40  # at most, of one candidate
LEAST = 0.01  # of the base's time: a smaller gain is none; two loadings of one network differ by up to twice that
FALSE_GAIN, FALSE_LOSS = 0.001, 0.02  # how often a coin may decide like that
_THREAD_TIME = time.get_clock_info("thread_time").resolution <= 1e-6
_now = time.thread_time_ns if _THREAD_TIME else time.perf_counter_ns
Timer = Callable[[], float]  # runs a network once: µs


@dataclass(frozen=True)
class Gain:
    """What a candidate saves of the base's time, in µs: one median a round. verdict: faster, no gain or unclear."""

    rounds: list[float]
    base_us: float
    other_us: float

    @property
    def us(self) -> float:
        return float(np.median(self.rounds))

    @property
    def percent(self) -> float:
        return 100 * self.us / self.base_us

    @property
    def won(self) -> int:
        return sum(us > 0 for us in self.rounds)

    @property
    def verdict(self) -> str:
        """faster: by LEAST, and a coin would win so many rounds in fewer than FALSE_GAIN of all cases. no gain: of LEAST
        in so few rounds that a coin would not in FALSE_LOSS; that costs nothing but a small chance, so it is easier.
        """
        least = LEAST * self.base_us
        if self.us >= least and _coin(self.won, len(self.rounds)) < FALSE_GAIN:
            return "faster"
        below = sum(us < least for us in self.rounds)
        return "no gain" if _coin(below, len(self.rounds)) < FALSE_LOSS else "unclear"


def compare(base: Callable[[], Timer], other: Callable[[], Timer], rounds: int = ROUNDS) -> Gain:
    """Times the two in turn, A B B A …, loaded anew each round, until the verdict is clear or the rounds are over."""
    times: list[np.ndarray] = []
    for k in range(rounds):
        timers = [load() for load in ((base, other) if k % 2 else (other, base))][:: 1 if k % 2 else -1]
        pairs = np.empty((PAIRS, 2))
        for pair in range(PAIRS):
            for which in (0, 1) if pair % 2 else (1, 0):
                pairs[pair, which] = timers[which]()
        times.append(pairs)
        saved = [float(np.median(pairs[:, 0] - pairs[:, 1])) for pairs in times]
        gain = Gain(saved, *map(float, np.median(np.vstack(times), axis=0)))
        if gain.verdict != "unclear":
            break
    return gain


@dataclass
class Bench:
    """Makes whole networks that can be timed. inputs: the layers' input scales; image: fp32 of shape (3, H, W)."""

    net: Net
    inputs: dict[str, np.float32]
    image: np.ndarray
    folder: Path

    def loader(self, target: Target, name: str) -> Callable[[], Timer]:
        """Writes the int8 model of this target under this name; what comes back loads it."""
        files = self.folder / f"{name}.param", self.folder / f"{name}.bin"
        save_net(self.int8(target), *files)
        return lambda: self.timer(*files)

    def timer(self, param: Path, bin: Path) -> Timer:
        engine = Engine(param, bin)

        def once() -> float:
            start = _now()
            engine(self.image)
            return (_now() - start) / 1000

        for _ in range(2):
            once()
        return once

    def int8(self, target: Target) -> Net:
        """The weights' scales are absmax for the levels of this target: their values do not change the speed."""
        weights = {layer.name: weight_scales(layer, target) for layer in quantizable(self.net.layers)}
        table = Table(weights, self.inputs)
        add_attention(table, self.net.layers)
        return quantize(self.net, table, target, [], "the tuner's table")


@dataclass(frozen=True)
class Tuned:
    """base: the better built-in profile; tried: every candidate; layers: what is taken; together: every attempt to take
    several at once, how many layers and what they gain; whole_us: of each built-in profile, and fp32; refused: why a
    built-in profile cannot be had for this model.
    """

    base: Target
    tried: list[tuple[str, Choice, Gain]]
    layers: dict[str, Choice]
    together: list[tuple[int, Gain]]
    whole_us: dict[str, float]
    refused: dict[str, str]


def tune(bench: Bench, fp32: tuple[Path, Path]) -> Tuned:
    """fp32: the .param and .bin of the fp32 model."""
    loaders, refused = {}, {}
    for name, profile in TARGETS.items():
        try:
            loaders[name] = bench.loader(profile, name)
        except OctetError as error:
            refused[name] = str(error)
    if not loaders:
        raise OctetError("\n".join(refused.values()))
    best, *others = loaders
    whole_us = {}
    for name in others:
        whole = compare(loaders[best], loaders[name])
        whole_us |= {best: whole.base_us, name: whole.other_us}
        best = name if whole.verdict == "faster" else best
    base, load = TARGETS[best], loaders[best]
    whole = compare(load, lambda: bench.timer(*fp32), rounds=3)
    whole_us = {best: whole.base_us} | whole_us | {"fp32": whole.other_us}
    tried = []
    for name, choice in progress(candidates(bench, base), "tune", unit="candidate"):
        tried.append((name, choice, compare(load, bench.loader(replace(base, layers={name: choice}), "other"))))
    layers, together = chosen(tried), []
    while layers:
        taken = {name: choice for name, (choice, _) in layers.items()}
        together.append((len(taken), compare(load, bench.loader(replace(base, layers=taken), "other"), 2 * ROUNDS)))
        if together[-1][1].verdict == "faster":
            break
        weakest = sorted(layers, key=lambda name: layers[name][1])[: -(-len(layers) // 2)]
        layers = {name: entry for name, entry in layers.items() if name not in weakest}
    return Tuned(base, tried, {name: choice for name, (choice, _) in layers.items()}, together, whole_us, refused)


def candidates(bench: Bench, base: Target) -> list[tuple[str, Choice]]:
    """For each layer, the choices other than the base's that mean something for it."""
    found = []
    int8 = base.int8_layers(bench.net)
    for layer in quantizable(bench.int8(base).layers):
        if layer.name not in int8:
            continue
        if could_run_winograd(layer):
            found.append((layer.name, Choice(winograd=not base.winograd)))
        if is_requantized(layer):
            found.append((layer.name, Choice(requantize=False)))
        found.append((layer.name, Choice(int8=False)))
    return found


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


def report(tuned: Tuned) -> str:
    """The table of all candidates, and what came of it."""
    lines = [f"{'layer':<24} {'choice':<15} {'gain':>9} {'':>9}  rounds won"]
    lines += [f"{name:<24} {_text(choice):<15} {_figures(gain)}" for name, choice, gain in tuned.tried]
    lines += ["", *(f"{name}: {1e6 / us:.1f} frames/s" for name, us in tuned.whole_us.items())]
    lines += [f"{name}: not for this model: {why}" for name, why in tuned.refused.items()]
    lines += [f"{f'layers changed at once: {count}':<40} {_figures(gain)}" for count, gain in tuned.together]
    if not tuned.layers:
        lines.append(f"Nothing is clearly faster than {tuned.base.name} for all layers.")
    if tuned.whole_us["fp32"] < _best_us(tuned):
        lines.append("fp32 is faster than int8 on this machine.")
    return "\n".join(lines)


def comments(tuned: Tuned, model: str) -> list[str]:
    """The head of the profile: what it was measured on, and what it gains."""
    found = machine()
    board = Path("/proc/device-tree/model")  # of an Arm board, whose /proc/cpuinfo names no processor
    cpu = board.read_text().strip("\0\n ") if board.is_file() else found["cpu"]
    features = ", ".join([cpu, *found["features"], f"{found['cores']} cores", found["system"], f"ncnn {found['ncnn']}"])
    before = tuned.together[-1][1].base_us if tuned.layers else tuned.whole_us[tuned.base.name]
    gains = "nothing clearly faster"
    if tuned.layers:
        gain = tuned.together[-1][1]
        gains = f"this profile {1e6 / gain.other_us:.1f}, faster in {gain.won} of {len(gain.rounds)} rounds"
    return [
        f"Tuned for {model} on {features}.",
        f"Frames/s, batch 1, one thread: fp32 {1e6 / tuned.whole_us['fp32']:.1f}, {tuned.base.name} {1e6 / before:.1f}, {gains}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m octet.tune", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="the model's folder, with fp32.param, fp32.bin and int8.table")
    parser.add_argument("--out", type=Path, required=True, help="the profile: configs/targets/NAME.yaml")
    parser.add_argument("--size", type=int, nargs=2, help="height and width of the input (default: preprocess.json's)")
    args = parser.parse_args()
    name = args.out.stem
    if args.out.suffix != ".yaml" or name in TARGETS or not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise OctetError(
            f"--out {args.out}: expected NAME.yaml, NAME of letters, digits, _ and -, none of {', '.join(TARGETS)}"
        )
    files = args.model / "fp32.param", args.model / "fp32.bin"
    net = load_net(*files, "the stage convert makes it")
    layers = quantizable(net.layers)
    if not layers:
        raise OctetError(f"{files[0]}: has no layer that can be int8, so there is nothing to tune")
    found = tables.load(args.model / "int8.table")
    check_table(found, [*layers, *uncalibrated(net.layers)], str(args.model / "int8.table"))
    size = args.size or read_json(args.model / "preprocess.json", "copy it beside the model, or give --size")["size"]
    image = np.random.Generator(np.random.PCG64(0)).normal(0, 1, (3, *size)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="octet-tune-") as folder:
        tuned = tune(Bench(net, found.inputs, image, Path(folder)), files)
    print(report(tuned))
    costs = {name: -gain.us for name, choice, gain in tuned.tried if choice.int8 is False}
    write_text(args.out, dumps(tuned.base.name, tuned.layers, comments(tuned, args.model.resolve().name), costs))
    print(f"{args.out}: written; 'target: {name}' in params.yaml takes it from configs/targets/")


def _coin(heads: int, throws: int) -> float:
    """The chance that a coin shows heads that often or more often."""
    return sum(comb(throws, k) for k in range(heads, throws + 1)) / 2**throws


def _best_us(tuned: Tuned) -> float:
    return tuned.together[-1][1].other_us if tuned.layers else tuned.whole_us[tuned.base.name]


def _text(choice: Choice) -> str:
    if choice.int8 is False:
        return "fp32"
    if not choice.requantize:
        return "no requantizing"
    return "winograd" if choice.winograd else "no winograd"


def _figures(gain: Gain) -> str:
    return f"{gain.us:>6.0f} µs {gain.percent:>+7.1f} %  {gain.won:>2} of {len(gain.rounds):<3} {gain.verdict}"


if __name__ == "__main__":
    run(main)
