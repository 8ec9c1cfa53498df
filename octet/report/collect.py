"""Everything that the report shows of a model, read from the files that the pipeline left."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octet.core.files import read_json, require
from octet.core.folder import ModelFolder
from octet.data import preprocess
from octet.data.images import named_images
from octet.evaluate.predictions import Prediction
from octet.graph.layers import is_int8, quantizable
from octet.ncnn.net import load_net
from octet.project.provenance import used
from octet.summary.differences import SHOWN, differing, thumbnail
from octet.summary.pairs import read_pairs

JSONS = ("summary", "fp32", "int8", "latency")
TABLES = ("classes", "confusion", "activations", "latency_samples")
_EDGE = 96  # pixels of an image's longer edge, at most


@dataclass(frozen=True)
class Differing:
    """An image on which int8 and fp32 say something else. source: its data: address; small: are its pixels to be seen?"""

    source: str
    small: bool
    fp32: Prediction
    int8: Prediction


@dataclass(frozen=True)
class Found:
    """figures: by JSONS' names; tables: rows by TABLES' names; made: octet.used's parameters; topk: by k, the
    accuracies of fp32 and int8 in percent; differ: how many images the two differ on, of which `images` are some.
    layers: how many can be int8, of which fp32_layers are not. analysis and peers: None where nothing was measured.
    """

    name: str
    figures: dict[str, dict[str, Any]]
    tables: dict[str, list[dict[str, str]]]
    made: dict[str, Any]
    topk: dict[int, tuple[float, float]]
    differ: int
    images: list[Differing]
    layers: int
    fp32_layers: list[str]
    analysis: dict[str, Any] | None
    peers: dict[str, Any] | None


def collect(name: str, data: str) -> Found:
    """Reads a model's figures. data: its data set's folder. Raises OctetError where the pipeline did not run."""
    metrics, made_by = Path("metrics") / name, f"'make quantize MODEL={name}' makes it"
    paths = [metrics / f"{file}.json" for file in JSONS] + [metrics / f"{file}.csv" for file in TABLES]
    paths += [metrics / f"{precision}.predictions.csv" for precision in ("fp32", "int8")]
    models = Path("models") / name
    require([*paths, *(models / file for file in ("preprocess.json", "int8.param", "int8.bin"))], made_by)
    pairs, made = read_pairs(ModelFolder(name)), used(name)
    different = differing(pairs)
    layers = quantizable(load_net(models / "int8.param", models / "int8.bin").layers)
    return Found(
        name,
        {file: read_json(metrics / f"{file}.json", made_by) for file in JSONS},
        {file: list(csv.DictReader(io.StringIO((metrics / f"{file}.csv").read_text()))) for file in TABLES},
        made,
        {k: tuple(_top(said, k) for said in zip(*pairs, strict=True)) for k in range(1, len(pairs[0][0].top) + 1)},
        len(different),
        _images(different[:SHOWN], models, data, made["evaluate"]["split"]),
        len(layers),
        [layer.name for layer in layers if not is_int8(layer)],
        _if_there(metrics / "analyze.json"),
        _if_there(metrics / "peers.json"),
    )


def _top(said: tuple[Prediction, ...], k: int) -> float:
    return 100 * sum(row.actual in row.top[:k] for row in said) / len(said)


def _images(pairs: list, models: Path, folder: str, split: str) -> list[Differing]:
    steps = preprocess.load(models / "preprocess.json")
    images, found = named_images(folder, split, steps, [fp32.image for fp32, _ in pairs]), []
    for k, (fp32, int8) in enumerate(pairs):
        pixels = images.pixels(k)
        edge = max(pixels.shape[:2])
        buffer = io.BytesIO()
        thumbnail(pixels, min(edge, 2 * _EDGE)).save(buffer, "PNG")
        source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        found.append(Differing(source, edge < _EDGE, fp32, int8))
    return found


def _if_there(path: Path) -> dict[str, Any] | None:
    return read_json(path, "remove it") if path.is_file() else None
