"""What every stage script shares: its arguments, the checked parameters, and where a model's files lie."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from octet.core import params
from octet.core.folder import ModelFolder


@dataclass(frozen=True)
class Stage:
    """The model that a stage runs for: its name, its entry in params.yaml, its files, and all parameters."""

    name: str
    entry: params.Model
    folder: ModelFolder
    params: params.Params


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all stages take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True, help="the model's name under 'models' in params.yaml")
    return parser


def begin(name: str) -> Stage:
    """Checks params.yaml as a whole, before any work; the stage of the model of that name."""
    loaded = params.load("params.yaml")
    return Stage(name, params.model(loaded, name), ModelFolder(name), loaded)
