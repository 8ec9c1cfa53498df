"""What every stage script shares: its arguments, the checked parameters, and where a model's files lie."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from octet.core import params


@dataclass(frozen=True)
class Stage:
    """models and metrics: the model's folders; entry: its entry in params.yaml; params: the whole file."""

    name: str
    params: params.Params
    entry: params.Model
    models: Path
    metrics: Path


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all stages take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True, help="the model's name under 'models' in params.yaml")
    return parser


def begin(args: argparse.Namespace) -> Stage:
    """Checks params.yaml as a whole, before any work."""
    loaded = params.load("params.yaml")
    entry = params.model(loaded, args.model)
    return Stage(args.model, loaded, entry, Path("models") / args.model, Path("metrics") / args.model)
