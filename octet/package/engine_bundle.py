"""The zip of a model for an engine beside ncnn: its ONNX file, examples in Python and C++, the model card."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from octet.core.engines.engine import load, runs_in
from octet.core.engines.files import EngineLayers, check_models
from octet.core.files import read_bytes, read_json, require
from octet.core.folder import ModelFolder
from octet.core.onnx_bytes import parse
from octet.data import preprocess
from octet.package.bundle import about, checksums, labels, write
from octet.package.card import pip_names
from octet.package.examples import TITLES, Blobs, cpp, fill, python
from octet.package.geometry import Steps, needs, resizes, sentence
from octet.project.environment import installed_version
from octet.project.provenance import Provenance, provenance
from octet.qdq.mobile import lacking
from octet.summary.engines import Column, columns
from octet.summary.summary import Summary, latency

MODEL = "int8.onnx"  # its name in the zip
WITH_CPP = ("onnxruntime", "openvino")  # TensorRT's C++ needs its own GPU


def package(name: str, engine: str, out: Path) -> list[str]:
    """Writes the zip, its files in a folder of the model's name; returns their names.

    Args:
        name: The model's.
        engine: The engine's name, as `engines` in params.yaml has it.
        out: The zip.

    Raises:
        OctetError: The model or its figures are missing, damaged, or not of each other, or the engine cannot run it.
    """
    return write(name, contents(ModelFolder(name), engine), out)


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
    layers, path = check_models(folder, [engine])[engine], folder.engine(engine)
    load(engine, path)  # checks it
    files = {MODEL: read_bytes(path, made_by), folder.preprocess.name: read_bytes(folder.preprocess, made_by)}
    model = parse(files[MODEL], f"{path}: no ONNX model; {made_by} anew")
    blobs = model.graph.input[0].name, model.graph.output[0].name
    files |= labels(steps) | {"predict.py": python(steps, blobs, runs_in(engine)).encode()}
    if engine in WITH_CPP:
        files["predict.cpp"] = cpp(steps, blobs, engine).encode()
    sums = checksums(files)
    mobile = lacking(model) if engine == "onnxruntime" else ""
    card = _card(folder, steps, blobs, column, layers, made_with, sums, mobile)
    made_with.check(
        (*required, folder.engines), made_by
    )  # last: what reads a damaged file can say what is wrong with it
    return files | about(card, sums)


def _card(
    folder: ModelFolder,
    steps: Steps,
    blobs: Blobs,
    column: Column,
    layers: EngineLayers,
    made_with: Provenance,
    sums: dict[str, str],
    mobile: str,
) -> str:
    """README.md."""
    runs = runs_in(column.engine)
    in_float: dict[str, list[str]] = {}
    for layer, why in layers.float.items():
        in_float.setdefault(why, []).append(layer)
    return fill(
        "engine.md.j2",
        steps,
        blobs,
        name=folder.name,
        octet=version("octet"),
        column=column,
        title=TITLES[column.engine],
        fp32_fps={threads: fps["fp32"] for threads, fps in latency(folder.latency)[1].items()},
        runs=runs,
        runs_version=installed_version(runs),
        summary=Summary.load(folder.summary, f"'make quantize MODEL={folder.name}' makes it"),
        split=made_with.split,
        source=made_with.source,
        calibration=made_with.calibration,
        images=made_with.calibration_images,
        rounded=made_with.rounded(column.engine),
        int8_layers=layers.int8,
        in_float=in_float,
        pip=" ".join(pip_names(needs(steps, runs))),
        filters=" and ".join(way.words for way in resizes(steps) if not way.plain),
        geometry=[sentence(step, steps) for step in steps["geometry"]],
        sums=sums,
        mobile=mobile,
    )
