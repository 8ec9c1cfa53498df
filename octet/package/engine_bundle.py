"""The zip of a model for an engine beside ncnn: its ONNX file, a Python example, the model card."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from octet.core.engines.engine import load, runs_in
from octet.core.engines.files import check_models
from octet.core.errors import OctetError
from octet.core.files import read_json, require, write_bytes
from octet.core.folder import ModelFolder
from octet.data import preprocess
from octet.package.bundle import zipped
from octet.package.card import pip_names
from octet.package.examples import Blobs, fill, python
from octet.package.geometry import Steps, needs, sentence
from octet.project.provenance import Provenance, provenance
from octet.summary.engines import Column, columns
from octet.summary.summary import Summary

MODEL = "int8.onnx"  # its name in the zip


def package(name: str, engine: str, out: Path) -> list[str]:
    """Writes the zip, its files in a folder of the model's name; returns their names.

    Args:
        name: The model's.
        engine: The engine's name, as `engines` in params.yaml has it.
        out: The zip.

    Raises:
        OctetError: The model or its figures are missing, damaged, or not of each other, or the engine cannot run it.
    """
    files = contents(ModelFolder(name), engine)
    write_bytes(out, zipped({f"{name}/{file}": data for file, data in files.items()}))
    return sorted(files)


def contents(folder: ModelFolder, engine: str) -> dict[str, bytes]:
    """The bundle's files by their names."""
    made_by = f"'make quantize MODEL={folder.name}' makes it"
    required = (
        folder.summary,
        folder.latency,
        folder.preprocess,
        folder.engine_figures,
        folder.int8.param,
        folder.int8.bin,
    )
    require((*required, folder.engine(engine)), made_by)
    made_with = provenance(folder.name)
    preprocess.load(folder.preprocess)  # checks it
    steps = {**read_json(folder.preprocess, made_by), "outputs": []}  # a model with other outputs has no engines
    column = next(column for column in columns(folder, [engine]) if column.engine == engine)
    check_models(folder, [engine])
    load(engine, folder.engine(engine))  # checks it
    files = {MODEL: folder.engine(engine).read_bytes(), folder.preprocess.name: folder.preprocess.read_bytes()}
    files["labels.txt"] = "".join(f"{label}\n" for label in steps["classes"]).encode()
    blobs = _blobs(files[MODEL])
    files["predict.py"] = python(steps, blobs, runs_in(engine)).encode()
    sums = {file: hashlib.sha256(files[file]).hexdigest() for file in sorted(files)}
    card = _card(folder, steps, blobs, column, made_with, sums)
    files["README.md"] = card.encode()
    files["SHA256SUMS"] = "".join(f"{digest}  {file}\n" for file, digest in sums.items()).encode()
    made_with.check(
        (*required, folder.engines), made_by
    )  # last, since what reads a damaged file can say what is wrong with it
    return files


def _blobs(model: bytes) -> Blobs:
    import onnx

    graph = onnx.load_from_string(model).graph
    return graph.input[0].name, graph.output[0].name


def _card(
    folder: ModelFolder,
    steps: Steps,
    blobs: Blobs,
    column: Column,
    made_with: Provenance,
    sums: dict[str, str],
) -> str:
    """README.md."""
    runs = runs_in(column.engine)
    layers = read_json(folder.engines / "layers.json", "the stage qdq makes it")[column.engine]
    in_float: dict[str, list[str]] = {}
    for layer, why in layers["float"].items():
        in_float.setdefault(why, []).append(layer)
    return fill(
        "engine.md.j2",
        steps,
        blobs,
        name=folder.name,
        octet=version("octet"),
        column=column,
        runs=runs,
        runs_version=_version(runs),
        summary=Summary.load(folder.summary, f"'make quantize MODEL={folder.name}' makes it"),
        split=made_with.split,
        source=made_with.source,
        calibration=made_with.calibration,
        images=made_with.calibration_images,
        int8_layers=layers["int8"],
        in_float=in_float,
        pip=" ".join(pip_names(needs(steps, runs))),
        geometry=[sentence(step, steps) for step in steps["geometry"]],
        sums=sums,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise OctetError(f"{package}: is not installed; 'make {package}' installs it") from None
