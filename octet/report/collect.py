"""Everything that the report shows of a model, read from the files that the pipeline left."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from octet.analyze.analyze import Analysis, LayerCost, ModelCost
from octet.benchmark.benchmark import Speed
from octet.core.engines.files import EngineLayers, check_models
from octet.core.errors import OctetError
from octet.core.files import read_bytes, read_json, require
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Model
from octet.data import preprocess
from octet.data.images import named_images
from octet.device import record, runtimes_record
from octet.device.record import DeviceFigures
from octet.device.runtimes_record import Runtimes
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.fidelity import Fidelity
from octet.evaluate.pairs import Pair, labelled, read_pairs
from octet.evaluate.predictions import Prediction
from octet.graph.layers import quantizable
from octet.graph.targets import Fp32Reason
from octet.ncnn.net import load_net
from octet.project.provenance import Provenance, check_current, provenance
from octet.quantize.fp32_layers import of_model
from octet.report import peers
from octet.report.figures import Rows
from octet.report.peers import PeersFigures
from octet.summary import engines
from octet.summary.differences import SHOWN, differing, thumbnail
from octet.summary.summary import Summary

_COLUMNS = {  # of the tables, by their names: texts and numbers
    "classes": (("model", "class"), ("f1_pct",)),
    "confusion": (("actual", "predicted"), ("fp32", "int8", "change")),
    "activations": (("layer",), ("value", "share_pct", "threshold")),
    "latency_samples": (("threads", "precision"), ("latency_ms",)),
}
_EDGE = 96  # pixels of an image's longer edge, at most


@dataclass(frozen=True)
class DifferingImage:
    """An image for which int8 and fp32 predict different classes.

    Args:
        source: The image itself, as a data: address.
        small: So few pixels that each is to be seen?
        fp32: What fp32 predicts.
        int8: What int8 predicts.
    """

    source: str
    small: bool
    fp32: Prediction
    int8: Prediction


@dataclass(frozen=True)
class ReportData:
    """What the report shows of a model.

    Args:
        name: The model's.
        summary: fp32 beside int8.
        accuracy: By precision: the accuracy, or of a network that gives no class scores its outputs.
        topk_pct: By k, the top-k accuracies of fp32 and int8; {}: the images have no labels.
        speeds: By number of threads and precision.
        classes: Rows of classes.csv; confusion, activations, latency_samples: alike.
        provenance: The parameters with which the model was made.
        n_differing: For how many images the two predict different classes.
        differing: Some of these images.
        n_quantizable: How many layers can be int8.
        fp32_layers: Those of them that are not, and why.
        analysis: What each int8 layer costs; None where that was not measured.
        engines: int8 in each engine that the model names; empty where that is ncnn alone.
        engine_layers: Which layers are int8 in those beside ncnn, and what each costs.
        max_drop_pt: How many points int8 may lose.
        analysis_problem: Why there is none, where the file is there: it is of files before.
        peers: int8 as other engines make it themselves; None where that was not measured.
        peers_before: Were other files of this model measured beside them?
        devices: The devices on which it was run.
        devices_before: The names of those that ran other files of this model.
        runtimes: The releases of ncnn on which these files were run, on this machine and on devices.
    """

    name: str
    summary: Summary
    accuracy: dict[str, Accuracy | Fidelity]
    topk_pct: dict[int, tuple[float, float]]
    speeds: dict[int, dict[str, Speed]]
    classes: Rows
    confusion: Rows
    activations: Rows
    latency_samples: Rows
    provenance: Provenance
    n_differing: int
    differing: list[DifferingImage]
    n_quantizable: int
    fp32_layers: dict[str, Fp32Reason]
    analysis: Analysis | None
    analysis_problem: str
    engines: list[engines.Column]
    engine_layers: dict[str, EngineLayers]
    max_drop_pt: float
    peers: PeersFigures | None
    peers_before: bool
    devices: list[DeviceFigures]
    devices_before: list[str]
    runtimes: list[Runtimes]

    @property
    def labelled(self) -> bool:
        """Have the images labels?"""
        return self.summary.top1_drop_pt is not None


def collect(name: str, entry: Model) -> ReportData:
    """Reads what there is of a model.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.

    Raises:
        OctetError: A file is missing or damaged, because the pipeline did not run.
    """
    folder, made_by = ModelFolder(name), f"'make quantize MODEL={name}' makes it"
    tables = folder.classes, folder.confusion, folder.activations, folder.latency_samples
    figures = folder.summary, *map(folder.figures, PRECISIONS), folder.latency, *map(folder.predictions, PRECISIONS)
    required = *figures, *tables, folder.preprocess, folder.plan, *folder.int8
    required += (folder.engine_figures,) if entry.onnx_engines else ()
    require(required, made_by)
    summary, made_with = Summary.load(folder.summary, made_by), provenance(name)
    pairs: list[Pair] = [] if summary.outputs else read_pairs(folder)
    figures_of = {
        p: Fidelity.load(folder.figures(p), p == "int8") if summary.outputs else Accuracy.load(folder.figures(p))
        for p in PRECISIONS
    }
    analysis = _analysis(folder.analysis) if folder.analysis.exists() else None
    analysis_problem = _problem(name, folder.analysis) if analysis else ""
    beside = peers.read(folder.peers) if folder.peers.exists() else None
    different, net, devices = differing(pairs), load_net(*folder.int8), record.load_all(folder)
    report = ReportData(
        name=name,
        summary=summary,
        accuracy=figures_of,
        topk_pct={k: _topk_pct(pairs, k) for k in range(1, len(pairs[0][0].top) + 1 if labelled(pairs) else 1)},
        speeds=_speeds(folder.latency, made_by),
        **{path.stem: _rows(path, made_by) for path in tables},
        provenance=made_with,
        n_differing=len(different),
        differing=_images(different[:SHOWN], folder, entry.data, made_with.split),
        n_quantizable=len(quantizable(net.layers)),
        fp32_layers=of_model(folder, net, made_with.target, made_with.keep_fp32),
        analysis=None if analysis_problem else analysis,
        analysis_problem=analysis_problem,
        engines=engines.columns(folder, entry.onnx_engines),
        engine_layers=check_models(folder, entry.onnx_engines),
        max_drop_pt=entry.max_drop_pt,
        peers=beside,
        peers_before=beside is not None and not beside.is_of(summary),
        devices=devices,
        devices_before=[of.name for of in devices if not of.is_of(folder)] if devices else [],
        runtimes=runtimes_record.load_all(folder),
    )
    made_with.check(required, made_by)  # last, since what reads a damaged file can say what is wrong with it
    return report


def _problem(name: str, path: Path) -> str:
    """Why a file of figures that no other stage waits for is not of the model's files; empty where it is."""
    try:
        check_current(name, [path])
    except OctetError as error:
        return str(error)
    return ""


def _topk_pct(pairs: Sequence[Pair], k: int) -> tuple[float, float]:
    """fp32's and int8's."""
    fp32, int8 = (
        100 * sum(row.actual in row.top[:k] for row in rows) / len(pairs) for rows in zip(*pairs, strict=True)
    )
    return fp32, int8


def _rows(path: Path, made_by: str) -> Rows:
    """The rows of one of the tables that the report draws. Raises OctetError where it is not as its stage writes it."""
    texts, numbers = _COLUMNS[path.stem]
    rows: list[dict[str, str]] = []
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, made_by).decode(), newline=""), strict=True))
        values = [float(row[key]) for row in rows for key in numbers]
    except (ValueError, LookupError, TypeError, csv.Error):
        values = [math.nan]
    if not all(map(math.isfinite, values)) or not all(row.get(key) is not None for row in rows for key in texts):
        raise OctetError(f"{path}: expected a table with the columns {', '.join((*texts, *numbers))}; {made_by}")
    of_each = {sum(key in (row.get("model"), row.get("precision")) for row in rows) for key in PRECISIONS}
    least = 1 if path.stem == "latency_samples" else 0  # classes.csv is empty where the images have no labels
    if path.stem in ("classes", "latency_samples") and (len(of_each) > 1 or min(of_each) < least):
        raise OctetError(f"{path}: lacks rows; {made_by}")
    return rows


def _speeds(path: Path, made_by: str) -> dict[int, dict[str, Speed]]:
    content = read_json(path, made_by)
    try:
        measured = {
            int(key.removeprefix("threads_")): TypeAdapter(dict[str, Speed]).validate_python(content[key])
            for key in content
            if key.startswith("threads_")
        }
        return {threads: {p: measured[threads][p] for p in PRECISIONS} for threads in sorted(measured)}
    except (AttributeError, KeyError, TypeError, ValueError):  # pydantic's error is a ValueError, too
        raise OctetError(f"{path}: not what the stage benchmark writes; {made_by}") from None


def _analysis(path: Path) -> Analysis:
    content = read_json(path, "'make quantize' makes it")
    try:
        rows = [{"kl_alone": None, "kl_without": None} | layer for layer in content["layers"]]
        layers = TypeAdapter(list[LayerCost]).validate_python(rows)
        figures = (("kl_alone", "kl_without"), ("output_sqnr_alone_db", "output_sqnr_without_db"))
        keys = figures["kl" not in content["model"]]
        if any(getattr(layer, key) is None for layer in layers for key in keys):
            raise ValueError(f"lacks {' and '.join(keys)}")
        return Analysis(layers, TypeAdapter(ModelCost).validate_python(content["model"]))
    except (KeyError, TypeError, ValueError):
        raise OctetError(f"{path}: not what the stage analyze writes; 'make quantize' makes it anew") from None


def _images(pairs: Sequence[Pair], folder: ModelFolder, data: str, split: str) -> list[DifferingImage]:
    steps = preprocess.load(folder.preprocess)
    images = named_images(data, split, steps, [fp32.image for fp32, _ in pairs])
    shown = []
    for k, (fp32, int8) in enumerate(pairs):
        pixels = images.pixels(k)
        edge = max(pixels.shape[:2])
        buffer = io.BytesIO()
        thumbnail(pixels, min(edge, 2 * _EDGE)).save(buffer, "PNG")
        source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        shown.append(DifferingImage(source, edge < _EDGE, fp32, int8))
    return shown
