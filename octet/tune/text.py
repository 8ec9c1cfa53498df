"""What the tuner measured, in words: on the terminal, and at the head of the profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octet.graph.targets import Choice
from octet.ncnn.machine import machine
from octet.tune.compare import Gain
from octet.tune.tune import Tuned

_BOARD = Path("/proc/device-tree/model")  # of an Arm board, whose /proc/cpuinfo names no processor


def report(tuned: Tuned) -> str:
    """The table of all candidates, and what came of it."""
    lines = [f"{'layer':<24} {'choice':<15} {'gain':>9} {'':>9}  rounds won"]
    lines += [f"{name:<24} {_text(choice, tuned.fp16):<15} {_figures(gain)}" for name, choice, gain in tuned.tried]
    lines += ["", *(f"{_number(name, tuned.fp16)}: {1e6 / us:.1f} frames/s" for name, us in tuned.whole_us.items())]
    lines += [f"{name}: not for this model: {why}" for name, why in tuned.refused.items()]
    lines += [f"{f'layers changed at once: {count}':<40} {_figures(gain)}" for count, gain in tuned.together]
    if not tuned.layers:
        lines.append(f"Nothing is clearly faster than {tuned.base.name} for all layers.")
    if tuned.whole_us["fp32"] < tuned.best_us:
        lines.append(f"{_number('fp32', tuned.fp16)} is faster than int8 there.")
    return "\n".join(lines)


def named_machine() -> dict[str, Any]:
    """As octet.ncnn.machine.machine, with a board's own name in the place of its processor's."""
    about = machine()
    if _BOARD.is_file():
        about["cpu"] = _BOARD.read_text(encoding="utf-8").strip("\0\n ")
    return about


def this_machine() -> str:
    """What the figures of this process are measured on."""
    about = named_machine()
    features = [about["cpu"], *about["features"], f"{about['cores']} cores", about["system"], f"ncnn {about['ncnn']}"]
    return ", ".join(features)


def comments(tuned: Tuned, model: str, where: str) -> list[str]:
    """The head of the profile: what it was measured on, and what it gains.

    Args:
        tuned: What was measured.
        model: The model's name.
        where: On what.
    """
    before = tuned.together[-1][1].base_us if tuned.layers else tuned.whole_us[tuned.base.name]
    gains = "nothing clearly faster"
    if tuned.layers:
        gain = tuned.together[-1][1]
        gains = f"this profile {1e6 / gain.other_us:.1f}, faster in {gain.won} of {len(gain.rounds)} rounds"
    return [
        f"Tuned for {model} on {where}.",
        f"Frames/s, batch 1, one thread: {_number('fp32', tuned.fp16)} {1e6 / tuned.whole_us['fp32']:.1f}, "
        f"{tuned.base.name} {1e6 / before:.1f}, {gains}.",
    ]


def _number(name: str, fp16: bool) -> str:
    """A whole network's name; fp32's files run in fp16 where ncnn's default options do so."""
    return "fp16" if name == "fp32" and fp16 else name


def _text(choice: Choice, fp16: bool) -> str:
    if choice.int8:
        return "int8"
    if choice.int8 is False or not choice.fp16:
        return _number("fp32", fp16 and choice.fp16)
    if not choice.requantize:
        return "no requantizing"
    return "winograd" if choice.winograd else "no winograd"


def _figures(gain: Gain) -> str:
    return f"{gain.us:>6.0f} µs {gain.percent:>+7.1f} %  {gain.won:>2} of {len(gain.rounds):<3} {gain.verdict}"
