"""What every stage script shares: its arguments, the checked parameters, and where a model's files lie."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass

from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder

_ADDRESS = re.compile(r"(?:[^@]*dvc\.yaml:)?(?P<stage>\w+)@(?P<key>.*)", re.DOTALL)


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


@dataclass(frozen=True)
class DvcStage:
    """A stage that DVC makes for each entry of a mapping.

    Args:
        stage: The stage's name in dvc.yaml.
        key: The entry's, as a file says it: it may be any text.
    """

    stage: str
    key: str


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all stages take; more can be added to it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", help="the model's name under 'models' in params.yaml (default: DVC's, by DVC_STAGE)")
    return parser


def dvc_stage() -> DvcStage | None:
    """The stage that DVC runs this process for; None where it is run by hand.

    DVC sets DVC_STAGE for each command, as `export@net`, or `../dvc.yaml:export@net` where it was called in another folder.
    So no name goes through a shell.
    """
    address = _ADDRESS.fullmatch(os.environ.get("DVC_STAGE", ""))
    return DvcStage(address["stage"], address["key"]) if address else None


def begin(name: str | None) -> Stage:
    """The stage of the model of that name; params.yaml is checked as a whole, before any work.

    Args:
        name: The model's; None: that of the stage that DVC runs.

    Raises:
        OctetError: params.yaml cannot be read, has something wrong, or has no such model; or there is no name.
    """
    loaded = params.load("params.yaml")
    if name is None:
        running = dvc_stage()
        if running is None:
            raise OctetError("which model? Give --model NAME, a name under 'models' in params.yaml")
        name = running.key
    return Stage(name, params.model(loaded, name), ModelFolder(name), loaded)
