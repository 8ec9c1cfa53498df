"""What the tuner measured, in words: on the terminal, and at the head of the profile."""

from __future__ import annotations

from pathlib import Path

from octet.graph.targets import Choice
from octet.ncnn.machine import machine
from octet.tune.compare import Gain
from octet.tune.tune import Tuned

_BOARD = Path("/proc/device-tree/model")  # of an Arm board, whose /proc/cpuinfo names no processor


def report(tuned: Tuned) -> str:
    """The table of all candidates, and what came of it."""
    lines = [f"{'layer':<24} {'choice':<15} {'gain':>9} {'':>9}  rounds won"]
    lines += [f"{name:<24} {_text(choice):<15} {_figures(gain)}" for name, choice, gain in tuned.tried]
    lines += ["", *(f"{name}: {1e6 / us:.1f} frames/s" for name, us in tuned.whole_us.items())]
    lines += [f"{name}: not for this model: {why}" for name, why in tuned.refused.items()]
    lines += [f"{f'layers changed at once: {count}':<40} {_figures(gain)}" for count, gain in tuned.together]
    if not tuned.layers:
        lines.append(f"Nothing is clearly faster than {tuned.base.name} for all layers.")
    if tuned.whole_us["fp32"] < tuned.best_us:
        lines.append("fp32 is faster than int8 on this machine.")
    return "\n".join(lines)


def comments(tuned: Tuned, model: str) -> list[str]:
    """The head of the profile: what it was measured on, and what it gains."""
    about = machine()
    if _BOARD.is_file():
        about["cpu"] = _BOARD.read_text(encoding="utf-8").strip("\0\n ")
    features = [about["cpu"], *about["features"], f"{about['cores']} cores", about["system"], f"ncnn {about['ncnn']}"]
    before = tuned.together[-1][1].base_us if tuned.layers else tuned.whole_us[tuned.base.name]
    gains = "nothing clearly faster"
    if tuned.layers:
        gain = tuned.together[-1][1]
        gains = f"this profile {1e6 / gain.other_us:.1f}, faster in {gain.won} of {len(gain.rounds)} rounds"
    return [
        f"Tuned for {model} on {', '.join(features)}.",
        f"Frames/s, batch 1, one thread: fp32 {1e6 / tuned.whole_us['fp32']:.1f}, {tuned.base.name} {1e6 / before:.1f}, {gains}.",
    ]


def _text(choice: Choice) -> str:
    if choice.int8 is False:
        return "fp32"
    if not choice.requantize:
        return "no requantizing"
    return "winograd" if choice.winograd else "no winograd"


def _figures(gain: Gain) -> str:
    return f"{gain.us:>6.0f} µs {gain.percent:>+7.1f} %  {gain.won:>2} of {len(gain.rounds):<3} {gain.verdict}"
