"""What every stage script shares: its arguments, the checked parameters, and where a model's files lie."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from octet.core import params
from octet.core.folder import ModelFolder


@dataclass(frozen=True)
class Stage:
    """The model that a stage runs for.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.
        folder: Its files.
        params: All of params.yaml.
    """

    name: str
    entry: params.Model
    folder: ModelFolder
    params: params.Params


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all stages take; more can be added to it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True, help="the model's name under 'models' in params.yaml")
    return parser


def begin(name: str) -> Stage:
    """The stage of the model of that name; params.yaml is checked as a whole, before any work.

    Raises:
        OctetError: params.yaml cannot be read, has something wrong, or has no such model.
    """
    loaded = params.load("params.yaml")
    return Stage(name, params.model(loaded, name), ModelFolder(name), loaded)
