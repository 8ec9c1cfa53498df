"""Entries without a config: an ONNX model, and what happens to an image before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octet.core import yaml
from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.params import FILE
from octet.core.places import CONFIGS, is_outside
from octet.core.preprocessing import ENDINGS, KNOWN, PRESETS
from octet.project import splice

Files = dict[str, bytes]  # what is to be written, by path


def local(name: str, entry: dict[str, str]) -> tuple[dict[str, str], Files]:
    """An entry that names files of this project alone, and those that have to be written for that.

    Where DVC would not see that the file of the pre-processing changes, it is copied into configs/models. A model whose
    tensors lie in other files becomes one file in models.

    Args:
        name: The model's.
        entry: onnx; preprocess where it is not the YAML file beside the model.

    Raises:
        OctetError: A file cannot be read, or its place is taken.
    """
    from octet.export.onnx_file import external_files, read, read_graph

    path, files, local = entry["onnx"], Files(), dict(entry)
    if external_files(read_graph(path)):
        local["onnx"] = _copied(f"models/{name}.onnx", read(path).SerializeToString(), path, files)
    beside = next((str(file) for ending in ENDINGS if (file := Path(path).with_suffix(ending)).is_file()), None)
    given = entry.get("preprocess") or beside
    if given:
        local["preprocess"] = given
    if given and given not in PRESETS and is_outside(given):
        content = read_bytes(given, f"it is what PREPROCESS names; expected {KNOWN}")
        content = _with_local_classes(name, given, content, files)
        local["preprocess"] = _copied(f"{CONFIGS}/{name}.yaml", content, given, files)
    _read_whole(path, given)
    return local, files


def check(name: str, values: dict[str, Any]) -> None:
    """Checks what an entry without a config has to have.

    Raises:
        OctetError: There is no data set.
    """
    if "data" not in values:
        raise OctetError(
            f"{FILE}: models.{name}: lacks the key data, the folder of the data set. Give DATA=folder, or write it there"
        )


def _with_local_classes(name: str, path: str, content: bytes, files: Files) -> bytes:
    """A file of the pre-processing as it is copied; where it names a file with the classes, that is copied, too."""
    values = yaml.parse(content, path).values
    classes = values.get("classes") if isinstance(values, dict) else None
    if not isinstance(classes, str):
        return content
    source = Path(path).parent / classes
    lines = read_bytes(source, f"it is what 'classes' in {path} names; expected the names of the classes, one a line")
    place = Path(_copied(f"{CONFIGS}/{name}.classes.txt", lines, str(source), files))
    return splice.replace(content.decode(), ["classes"], place.name, is_key=False).encode()


def _copied(place: str, content: bytes, source: str, files: Files) -> str:
    path = Path(place)
    if path.exists() and path.read_bytes() != content:
        raise OctetError(
            f"{path}: is there already, and is not what {source} gives. Name this one, or give another MODEL=name"
        )
    if not path.exists():
        files[place] = content
    return place


def _read_whole(path: str, preprocess: str | None) -> None:
    """Raises OctetError where the model cannot be read with that pre-processing, before anything is written."""
    from octet.core.preprocessing import read_preprocessing
    from octet.export.onnx_source import OnnxSource

    OnnxSource(path, read_preprocessing(preprocess) if preprocess else None).look()
