"""Entries without a config: an ONNX model, or a network of timm's or torchvision's, and what happens to an image before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from octet.core import yaml
from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.params import FILE
from octet.core.places import CONFIGS, is_outside
from octet.core.preprocessing import ENDINGS, KNOWN, PRESETS, read_preprocessing
from octet.data.listing import folders_in, timm_order
from octet.project import splice

LIBRARIES = ("timm", "torchvision")
HUB = Path("models/hub")  # where the weights lie that these publish

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
        local["preprocess"] = _copied_steps(name, given, files)
    _read_whole(path, given)
    return local, files


def local_network(name: str, entry: dict[str, str]) -> tuple[dict[str, str], Files]:
    """An entry with the network of a library, its weights, and a file that says what happens to an image before it.

    Weights that are not given are fetched from where the library publishes them. What the library says of images is written
    into configs/models, and with it the names of the classes where the training images lie in as many folders. Where these are
    in another order to timm than sorted, both orders, as comments.

    Args:
        name: The model's.
        entry: timm or torchvision; data; checkpoint where it is not published; preprocess where it is not the library's.

    Raises:
        OctetError: There is no such network, its weights do not belong to it, or a place is taken.
    """
    from octet.export.library_source import LibrarySource

    check(name, entry)
    key = library_of(entry)
    local, files = dict(entry), Files()
    local["checkpoint"] = entry.get("checkpoint") or str(fetched(key, entry[key], name))
    given = entry.get("preprocess")
    if given and given not in PRESETS and is_outside(given):
        local["preprocess"] = _copied_steps(name, given, files)
    source = LibrarySource(key, entry[key], local["checkpoint"], False, read_preprocessing(given) if given else None)
    source.look()
    if not given:
        steps, folders, comments = source.preprocessing(), _class_folders(Path(entry["data"])), ""
        values = {key: value for key, value in steps.model_dump(mode="json", exclude_defaults=True).items()}
        if folders and len(folders) == source.classes():
            if key == "timm" and timm_order(folders) != folders:
                comments = _both_orders(folders)
            else:
                values["classes"] = folders
        text = f"# What {key} says of {entry[key]}: what happens to an image before it.\n{yaml.dumps(values)}{comments}"
        local["preprocess"] = _copied(f"{CONFIGS}/{name}.yaml", text.encode(), f"{key}'s {entry[key]}", files)
    return local, files


def library_of(entry: Mapping[str, object]) -> str:
    """Which library's network an entry names: 'timm' or 'torchvision'; empty: none's."""
    return next((key for key in LIBRARIES if entry.get(key) is not None), "")


def fetched(key: str, network: str, name: str) -> Path:
    """Where the weights lie that a library publishes for a network; they are fetched where they are not there.

    Args:
        key: The library.
        network: The network's name there.
        name: The model's.

    Raises:
        OctetError: None are published, or they cannot be fetched: then with which file to put where.
    """
    from octet.export.libraries import library
    from octet.project.download import download

    known = library(key)
    known.check(network)
    published = known.published(network)
    if published is None:
        raise OctetError(
            f"{FILE}: models.{name}: {key} publishes no weights of {network}. Give CHECKPOINT=file, or write 'checkpoint' there"
        )
    path = HUB / published.file
    download(published.url, path, "sha256", published.sha256)
    return path


def _class_folders(data: Path) -> list[str]:
    """The names of the training images' class folders, in the order of their labels."""
    return folders_in(data / "train") if (data / "train").is_dir() else []


def _both_orders(folders: list[str]) -> str:
    """Lines of comments in YAML: the names of classes in both orders in which a network of timm's may have them."""
    orders = {"timm's own": timm_order(folders), "the sorted one, of torchvision's ImageFolder": folders}
    lines = (f"# {whose}:\n# classes: {json.dumps(names, ensure_ascii=False)}\n" for whose, names in orders.items())
    return f"# In which order are the outputs? Take the # away before that line of 'classes'.\n{''.join(lines)}"


def check(name: str, values: Mapping[str, object]) -> None:
    """Checks what an entry without a config has to have.

    Raises:
        OctetError: There is no data set.
    """
    if "data" not in values:
        raise OctetError(
            f"{FILE}: models.{name}: lacks the key data, the folder of the data set. Give DATA=folder, or write it there"
        )


def _copied_steps(name: str, path: str, files: Files) -> str:
    """Where a file of the pre-processing is copied to; where it names a file with the classes, that is copied, too."""
    made_by = f"it is what PREPROCESS names; expected {KNOWN}"
    content = read_bytes(path, made_by)
    values = yaml.parse(content, path).values
    classes = values.get("classes") if isinstance(values, dict) else None
    if isinstance(classes, str):
        source = Path(path).parent / classes
        lines = read_bytes(
            source, f"it is what 'classes' in {path} names; expected the names of the classes, one a line"
        )
        place = Path(_copied(f"{CONFIGS}/{name}.classes.txt", lines, str(source), files))
        text = splice.replace(yaml.read_text(path, made_by), ["classes"], place.name, is_key=False)
        if not splice.holds(text, values | {"classes": place.name}):
            raise OctetError(
                f"{path}: classes: expected the file's name itself, not an alias (*name) or a merge key (<<); write it there"
            )
        content = text.encode()
    return _copied(f"{CONFIGS}/{name}.yaml", content, path, files)


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
    from octet.export.onnx_source import OnnxSource

    OnnxSource(path, read_preprocessing(preprocess) if preprocess else None).look()
