"""The zip: its files, made from a model's folder and its figures, and the same bytes from the same inputs."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from importlib.metadata import version
from pathlib import Path

from octet.core.files import read_json, require, write_bytes
from octet.data import preprocess
from octet.graph.profiles import target
from octet.ncnn.net import load_net
from octet.package import sdk
from octet.package.texts import card, cmake, cpp, python
from octet.project.provenance import provenance
from octet.quantize.fp32_layers import by_reason, fp32_layers

MODEL = ("fp32.param", "int8.param", "int8.bin", "preprocess.json")
FIGURES = ("int8.json", "summary.json")


def package(name: str, checkpoint: str, out: Path) -> list[str]:
    """Writes the zip, its files in a folder of the model's name; returns their names.

    Raises OctetError where the model or its figures are missing.
    """
    models, metrics = Path("models") / name, Path("metrics") / name
    paths = [models / file for file in MODEL] + [metrics / file for file in FIGURES]
    require(paths, f"'make quantize MODEL={name}' makes it")
    found = contents(name, checkpoint, models, metrics)
    write_bytes(out, zipped({f"{name}/{file}": data for file, data in found.items()}))
    return sorted(found)


def contents(name: str, checkpoint: str, models: Path, metrics: Path) -> dict[str, bytes]:
    """The bundle's files by their names, which are all different even without folders: MMDeploy's SDK wants that."""
    made_with = provenance(name)
    preprocess.load(models / "preprocess.json")  # checks it
    steps = read_json(models / "preprocess.json", "the stage export makes it")
    net = load_net(models / "int8.param", models / "int8.bin")
    blobs = net.input, net.output
    jsons = {
        "deploy.json": sdk.deploy(name),
        "pipeline.json": sdk.pipeline(name, steps, blobs),
        "detail.json": sdk.detail(made_with.config, checkpoint, version("mmcls"), made_with.opset, made_with.calibrate),
    }
    found = {file: (models / file).read_bytes() for file in ("int8.param", "int8.bin", "preprocess.json")}
    found |= {file: (json.dumps(content, indent=4) + "\n").encode() for file, content in jsons.items()}
    found["labels.txt"] = "".join(f"{label}\n" for label in steps["classes"]).encode()
    found["predict.py"] = python(steps, blobs).encode()
    found["predict.cpp"] = cpp(steps, blobs).encode()
    found["CMakeLists.txt"] = cmake().encode()
    sums = {file: hashlib.sha256(found[file]).hexdigest() for file in sorted(found)}
    figures = {file.removesuffix(".json"): read_json(metrics / file, "'make quantize' makes it") for file in FIGURES}
    plan = models / "plan.json"
    planned = read_json(plan, "the stage plan makes it")["keep_fp32"] if plan.is_file() else []
    reasons = by_reason(fp32_layers(net, target(made_with.target), made_with.keep_fp32, planned))
    found["README.md"] = card(name, made_with, steps, blobs, reasons, figures, sums).encode()
    found["SHA256SUMS"] = "".join(f"{digest}  {file}\n" for file, digest in sums.items()).encode()
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of the files, sorted, all of one date, and as they are, since compression differs from one zlib to another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(files):
            entry = zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.create_system = 0o644 << 16, 3
            archive.writestr(entry, files[file])
    return buffer.getvalue()
