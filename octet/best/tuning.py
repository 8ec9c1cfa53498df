"""A target profile of the tuner's among the targets that are searched."""

from __future__ import annotations

import hashlib
from pathlib import Path

from octet.best.speed import Stopwatch
from octet.core import registry
from octet.core.errors import OctetError
from octet.core.files import write_text
from octet.core.folder import ModelFolder
from octet.graph.layers import could_run_winograd, quantizable
from octet.graph.profiles import dumps, target
from octet.graph.targets import FOLDER, TARGETS, Choice
from octet.ncnn import table
from octet.ncnn.net import Net
from octet.tune.text import comments
from octet.tune.tune import tune


def fitting_targets(net: Net, own: str) -> list[str]:
    """The targets that a model can have: its own, those built in, and profiles that change some of its layers and no others.

    Without a layer for Winograd, the target of that name gives dotprod's files, and is left out.

    Args:
        net: The fp32 model.
        own: The model's target.
    """
    layers, has_winograd = {layer.name for layer in quantizable(net.layers)}, any(map(could_run_winograd, net.layers))
    fitting = [own]
    for name in registry.targets(Path()):
        if name in TARGETS:
            fitting += [name] * (name != "winograd" or has_winograd)
            continue
        try:
            changed = target(name).layers
        except OctetError:  # a damaged profile that no model names
            continue
        fitting += [name] * bool(changed and changed.keys() <= layers)
    return list(dict.fromkeys(fitting))


def profile_path(model: str, device: str | None, key: str) -> Path:
    """Where the tuner's profile lies: another place or network has another, so that none that params.yaml may name changes.

    Args:
        model: The model's name.
        device: The device that it is tuned on; None: this machine.
        key: What the stopwatch's speeds are true of.
    """
    return FOLDER / f"{model}_{device or 'best'}_{hashlib.sha256(key.encode()).hexdigest()[:6]}.yaml"


def tuned_profile(folder: ModelFolder, stopwatch: Stopwatch, seconds: float, out: Path) -> str | None:
    """Tunes a model and writes the profile, where some layers are clearly faster with another choice.

    Args:
        folder: The model's, with the table of any calibration.
        stopwatch: Times it.
        seconds: For how long; where it is over before the choices are compared together, there is no profile.
        out: The profile, configs/targets/NAME.yaml.

    Returns:
        The profile's name; empty: nothing was clearly faster; None: the time was over before that could be said.
    """
    scales = table.load(folder.table)
    tuned = tune(stopwatch.bench(scales.inputs), stopwatch.fp32, seconds)
    if not tuned.layers:
        return "" if tuned.finished else None
    costs = {layer: -gain.us for layer, choice, gain in tuned.tried if choice == Choice(int8=False)}
    write_text(out, dumps(tuned.base.name, tuned.layers, comments(tuned, folder.name, stopwatch.place), costs))
    return out.stem
