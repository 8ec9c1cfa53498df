"""What is fetched for the listed models: downloads/params.yaml, from which downloads/dvc.yaml makes the stages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from octet.core import yaml
from octet.core.check import checked
from octet.core.errors import OctetError
from octet.core.fields import Section, ask
from octet.core.params import Model, Name
from octet.project.data_sets import FETCHED
from octet.zoo import catalogue
from octet.zoo.catalogue import ZooModel

FILE = Path("downloads/params.yaml")
_MEND = "'make quantize' makes it anew"
_HEAD = """\
# What DVC fetches for the models in the top params.yaml. 'make quantize' keeps it so; keep it in git.
"""


class Weights(Section):
    """Which weights are fetched?"""

    zoo: str = ask("Which model of mmcls's zoo?", "resnet18_8xb16_cifar10")
    file: str = ask("Where do they belong?", "models/zoo/NAME.pth")


class DataSet(Section):
    """Which data set is fetched?"""

    folder: str = ask("Where does it belong?", "data/cifar10")


class Downloads(Section):
    """downloads/params.yaml."""

    weights: dict[Name, Weights]
    data_sets: dict[Name, DataSet]


def weights(key: str, path: Path = FILE) -> ZooModel:
    """The model of the zoo whose weights the stage of that key fetches.

    Raises:
        OctetError: The file holds something else than `text` makes of it, or no such key.
    """
    entry = _load(path).weights.get(key)
    model = catalogue.find(entry.zoo) if entry else None
    if entry is None or model is None or key != _key(model) or entry.file != str(model.file):
        raise OctetError(f"{path}: weights.{key}: is no entry that Octet writes; {_MEND}")
    return model


def data_set(key: str, path: Path = FILE) -> str:
    """The name of the data set that the stage of that key fetches, one of FETCHED. Raises as `weights`."""
    entry = _load(path).data_sets.get(key)
    if entry is None or key not in FETCHED or entry.folder != f"data/{key}":
        raise OctetError(f"{path}: data_sets.{key}: is no entry that Octet writes; {_MEND}")
    return key


def text(entries: Iterable[Model]) -> str:
    """The file for these entries of params.yaml: the weights and data sets that they need and Octet can fetch."""
    entries = list(entries)
    models = [m for e in entries if (m := catalogue.by_file(e.checkpoint)) and m.file == Path(e.checkpoint)]
    names = {name for name in FETCHED if any(Path(entry.data) == Path("data", name) for entry in entries)}
    values = {
        "weights": {
            _key(model): {"zoo": model.name, "file": str(model.file)}
            for model in sorted(models, key=lambda model: model.name)
        },
        "data_sets": {name: {"folder": f"data/{name}"} for name in sorted(names)},
    }
    return _HEAD + yaml.dumps(values)


def _key(model: ZooModel) -> str:
    """A model's key: DVC splits at dots."""
    return model.name.replace(".", "_")


def _load(path: Path) -> Downloads:
    document = yaml.read(path, _MEND, _MEND)
    return checked(Downloads, path, document.values, document.duplicates)
