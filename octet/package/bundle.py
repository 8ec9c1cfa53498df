"""The zip: its files, made from a model's folder and its figures, and the same bytes from the same inputs."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from octet.core.files import read_json, require, write_bytes
from octet.core.folder import PRECISIONS, ModelFolder
from octet.data import preprocess
from octet.device import runtimes_record
from octet.device.record import load_all
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.fidelity import Fidelity
from octet.ncnn.net import Net, load_net
from octet.package import sdk
from octet.package.card import card
from octet.package.examples import Blobs, cmake, cpp, python
from octet.package.geometry import Steps
from octet.project.environment import installed_version
from octet.project.provenance import provenance
from octet.quantize.fp32_layers import of_model
from octet.summary.summary import Summary


def package(name: str, checkpoint: str, out: Path, programs: Mapping[str, bytes] | None = None) -> list[str]:
    """Writes the zip, its files in a folder of the model's name; returns their names.

    Args:
        name: The model's.
        checkpoint: The file that its weights are from, whose name the bundle tells.
        out: The zip.
        programs: The runner and its licences, where the bundle is to carry them.

    Raises:
        OctetError: The model or its figures are missing, damaged, or not of each other.
    """
    return write(name, contents(ModelFolder(name), checkpoint, programs or {}), out)


def write(name: str, files: Mapping[str, bytes], out: Path) -> list[str]:
    """Writes the zip, its files in a folder of the model's name; returns their names."""
    write_bytes(out, zipped({f"{name}/{file}": data for file, data in files.items()}))
    return sorted(files)


def contents(folder: ModelFolder, checkpoint: str, programs: Mapping[str, bytes]) -> dict[str, bytes]:
    """The bundle's files by their names, which are all different even without folders: MMDeploy's SDK wants that."""
    made_by = f"'make quantize MODEL={folder.name}' makes it"
    figures = *map(folder.figures, PRECISIONS), folder.summary
    required = folder.fp32.param, *folder.int8, folder.preprocess, folder.plan, *figures
    require(required, made_by)
    parameters = provenance(folder.name)
    steps, net = _described(folder)
    blobs = net.input, net.output
    without_sdk = sdk.unfit(steps, net)
    jsons = (
        {}
        if steps["outputs"] or without_sdk
        else {
            "deploy.json": sdk.deploy(folder.name),
            "pipeline.json": sdk.pipeline(folder.name, steps, blobs),
            "detail.json": sdk.detail(
                parameters.codebase,
                installed_version(parameters.codebase),
                parameters.source,
                checkpoint,
                parameters.opset,
                parameters.calibrate,
            ),
        }
    )
    files = {path.name: path.read_bytes() for path in (*folder.int8, folder.preprocess)}
    files |= {file: (json.dumps(content, indent=4) + "\n").encode() for file, content in jsons.items()}
    if not steps["outputs"]:
        files |= labels(steps)
    files |= {"predict.py": python(steps, blobs).encode()} | _cpp_example(steps, blobs) | dict(programs)
    sums = checksums(files)
    summary = Summary.load(folder.summary, made_by)
    int8 = Fidelity.load(folder.figures("int8"), True) if steps["outputs"] else Accuracy.load(folder.figures("int8"))
    reasons = of_model(folder, net, parameters.target, parameters.keep_fp32)
    devices = [figures for figures in load_all(folder) if figures.is_of(folder)]
    runtimes = runtimes_record.load_all(folder)
    text = card(folder.name, parameters, steps, blobs, reasons, summary, int8, sums, devices, runtimes, without_sdk)
    parameters.check(required, made_by)  # last, since what reads a damaged file can say what is wrong with it
    return files | about(text, sums)


def labels(steps: Steps) -> dict[str, bytes]:
    """labels.txt, a line a class."""
    return {"labels.txt": "".join(f"{label}\n" for label in steps["classes"]).encode()}


def checksums(files: Mapping[str, bytes]) -> dict[str, str]:
    """The sha256 of each file of the bundle, sorted by name."""
    return {file: hashlib.sha256(files[file]).hexdigest() for file in sorted(files)}


def about(card: str, sums: Mapping[str, str]) -> dict[str, bytes]:
    """README.md and SHA256SUMS."""
    lines = "".join(f"{digest}  {file}\n" for file, digest in sums.items())
    return {"README.md": card.encode(), "SHA256SUMS": lines.encode()}


def cpp_example(folder: ModelFolder) -> dict[str, bytes]:
    """What of the bundle a C++ compiler needs: predict.cpp and its CMakeLists.txt.

    Raises:
        OctetError: The model is not made yet, or damaged.
    """
    require([*folder.int8, folder.preprocess], f"'make quantize MODEL={folder.name}' makes it")
    steps, net = _described(folder)
    return _cpp_example(steps, (net.input, net.output))


def _cpp_example(steps: Steps, blobs: Blobs) -> dict[str, bytes]:
    return {"predict.cpp": cpp(steps, blobs).encode(), "CMakeLists.txt": cmake().encode()}


def _described(folder: ModelFolder) -> tuple[Steps, Net]:
    """What preprocess.json holds, with the blob of each output where these are no class scores; and the int8 network."""
    preprocess.load(folder.preprocess)  # checks it
    steps, net = read_json(folder.preprocess, f"'make quantize MODEL={folder.name}' makes it"), load_net(*folder.int8)
    outputs = [{"blob": blob, **output} for blob, output in zip(net.outputs, steps.get("outputs", []), strict=False)]
    return {**steps, "outputs": outputs}, net


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of the files, sorted, all of one date, and as they are, since compression differs from one zlib to another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(files):
            entry = zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0))
            is_program = files[file].startswith(b"\x7fELF")
            entry.external_attr, entry.create_system = (0o755 if is_program else 0o644) << 16, 3
            archive.writestr(entry, files[file])
    return buffer.getvalue()
