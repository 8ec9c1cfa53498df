"""What data/params.yaml and models/params.yaml ask: how the project's own data set is drawn, its reference models trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from octet.core import yaml
from octet.core.check import checked
from octet.core.errors import OctetError, nearest
from octet.core.fields import Form, Section, ask
from octet.reference.digits32 import CHUNK

DRAWN = Path("data/params.yaml")
_Pair = Annotated[tuple[int, int], Field(strict=False)]


class Digits32(Section):
    """Which images does digits32 have?"""

    train: int = ask("How many training images?", 40000, ge=CHUNK)
    test: int = ask("How many test images?", 5000, ge=CHUNK)
    seed: int = ask("Which images?", 0, ge=0)


class Drawn(Section):
    """data/params.yaml."""

    digits32: Digits32


class Recipe(Section):
    """An entry of models/params.yaml: how a reference model is trained."""

    epochs: Annotated[tuple[_Pair, ...], Field(strict=False), Form("a list of pairs [pixels, epochs]")] = ask(
        "In which order and at which resolutions?", [[32, 3]]
    )
    batch: int = ask("How many images a step?", 128, ge=1)
    lr: float = ask("Which learning rate at the peak?", 0.2, ge=0)
    weight_decay: float = ask("How strongly are the weights that are no vectors pulled to zero?", 0.0005, ge=0)
    label_smoothing: float = ask("Which share of the target goes to the other classes?", 0.05, ge=0, le=1)
    seed: int = ask("Which random stream?", 0, ge=0)
    dtype: Literal["bfloat16", "float32"] = ask("In which precision?", "float32", default="bfloat16")
    """Of the forward pass; float32 is faster for depthwise convolutions."""


def drawn(path: str | Path = DRAWN) -> Digits32:
    """How digits32 is drawn.

    Raises:
        OctetError: The file is missing, no YAML, or holds something else.
    """
    document = yaml.read(path, "git has it")
    return checked(Drawn, path, document.values, document.duplicates).digits32


def recipe(path: str | Path, model: str) -> tuple[Recipe, dict[str, Any]]:
    """How a reference model is trained; checked, and as the file has it.

    Raises:
        OctetError: The file is missing, no YAML, holds something else, or has no such model.
    """
    recipes = yaml.read(path, "it says how each reference model is trained").values
    if not isinstance(recipes, dict) or model not in recipes:
        known = map(str, recipes) if isinstance(recipes, dict) else ()
        raise OctetError(f"{path}: {model}: no such model. {nearest(model, known)}")
    return checked(Recipe, f"{path}: {model}", recipes[model]), recipes[model]
