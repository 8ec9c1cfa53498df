"""The page: the figures that `collect` reads and the history that `history` reads, drawn and set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from octet.core.engines.files import EngineLayers
from octet.core.files import write_text
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.params import Model
from octet.core.text import shorten
from octet.device import runtimes_record
from octet.device.record import columns
from octet.project.environment import PACKAGES, installed_version
from octet.quantize.fp32_layers import by_reason
from octet.report import chart, figures, history, peers
from octet.report.collect import ReportData, collect
from octet.report.confusion import confusion, confusion_change
from octet.summary import engines
from octet.summary.differences import SHOWN

Table = tuple[list[str], list[list[str]]]  # headers and rows
COSTLY = 5  # layers of an engine that are shown


@dataclass(frozen=True)
class Figures:
    """The report's figures as SVG; of those that are not of all models, nothing where there is nothing to draw."""

    classes: str
    confusion: dict[str, str]
    confusion_change: str
    latency: dict[int, str]
    activations: list[tuple[str, str]]
    layers: str
    peers: str


def write(name: str, entry: Model, out: Path) -> None:
    """Writes the report of a model.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.
        out: The file to write.

    Raises:
        OctetError: The pipeline did not run, or not to its end.
    """
    report = collect(name, entry)
    write_text(out, page(report, Path("params.yaml").read_text(encoding="utf-8")))


def page(report: ReportData, params: str) -> str:
    """The page as HTML. params: params.yaml's text, whose changes since the last commit it names."""
    folder = ModelFolder(report.name)
    tracked = {
        "summary": report.summary.to_json(),
        **{precision: report.accuracy[precision].to_json() for precision in PRECISIONS},
    }
    return _ENVIRONMENT.get_template("report.html.j2").render(
        report=report,
        summary=report.summary,
        provenance=report.provenance,
        figures=draw(report),
        overview=overview(report),
        classes=classes(report),
        peers_table=peers.cells(report.peers) if report.peers else None,
        engines_table=engines.cells(report.engines) if report.engines else None,
        engine_costs=engine_costs(report.engine_layers),
        engine_layers_file=folder.engine_layers,
        engines_picks=engines.picks(report.engines, report.max_drop_pt) if report.engines else [],
        devices_table=columns(report.devices),
        runtimes_tables=[(of, runtimes_record.columns(of)) for of in report.runtimes],
        fp32_layers=by_reason(report.fp32_layers),
        change=history.last_change(report.name, tracked, params),
        experiments=history.experiments(report.name),
        versions={package: installed_version(package) for package in ("octet", *PACKAGES)},
        most_images=SHOWN,
        most_classes=figures.CLASSES,
        analysis_file=folder.analysis,
        peers_about=peers.ABOUT,
        shorten=shorten,
    )


def engine_costs(layers: Mapping[str, EngineLayers]) -> Table:
    """The layers that cost most, a column an engine."""
    worst = [sorted(of.kl_alone.items(), key=lambda pair: -pair[1])[:COSTLY] for of in layers.values()]
    rows = [[f"{name}: {kl:.1e} nats" for name, kl in row] for row in zip(*worst, strict=False)]
    return list(layers), rows


def draw(report: ReportData) -> Figures:
    """All figures."""
    names = list(dict.fromkeys(row["class"] for row in report.classes))
    dots = chart.dots(report.peers) if report.peers else []
    return Figures(
        classes=figures.classes(report.classes) if report.labelled else "",
        confusion={key: confusion(report.confusion, key, names) for key in PRECISIONS if report.labelled},
        confusion_change=confusion_change(report.confusion, names) if report.labelled else "",
        latency={
            threads: figures.latency(
                report.latency_samples, threads, {key: speeds[key].median_ms for key in PRECISIONS}
            )
            for threads, speeds in report.speeds.items()
        },
        activations=figures.activations(report.activations, report.fp32_layers),
        layers=figures.layers(report.analysis.layers) if report.analysis else "",
        peers=chart.chart({report.name: dots}) if dots else "",
    )


def overview(report: ReportData) -> Table:
    """The summary table. A figure that stands elsewhere, too, is the same figure here, rounded once."""
    s, rows = report.summary, list[list[str]]()
    for k, (fp32, int8) in report.topk_pct.items():
        if k == 1 and s.fp32_top1_pct is not None and s.int8_top1_pct is not None:
            fp32, int8 = s.fp32_top1_pct, s.int8_top1_pct
        rows.append([f"top-{k}", f"{fp32:.2f} %", f"{int8:.2f} %", f"{int8 - fp32:+.2f} points"])
    if s.top1_drop_pt is not None:
        error = "" if s.top1_drop_se_pt is None else f" ± {s.top1_drop_se_pt:.2f}"
        rows[0][3] = f"{0.0 - s.top1_drop_pt:+.2f}{error} points"
    for key, name in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")) if report.labelled else ():
        fp32, int8 = (
            getattr(report.accuracy[precision], f"{key}_pct") for precision in PRECISIONS
        )  # both are Accuracy
        points = f"{int8 - fp32:+.2f} points"
        rows.append([f"{name}, mean of the classes", f"{fp32:.2f} %", f"{int8:.2f} %", points])
    if s.agreement_pct is not None:
        agreement = f"{s.agreement_pct:.2f} ± {binomial_error_pct(s.agreement_pct, s.n_images):.2f} %"
        rows.append(["agreement with fp32", "", agreement, ""])
    for name, of in (s.outputs or {}).items():
        rows.append([f"{name}, SQNR", "", f"{of.sqnr_db:.1f} dB", ""])
        rows.append([f"{name}, cosine", "", f"{of.cosine:.5f}", f"at least {of.cosine_min:.5f}"])
    if s.kl_top5_nats is not None:
        rows.append(["KL divergence from fp32", "", f"{s.kl_top5_nats:.2g} nats", ""])
    for threads, speedup in sorted({1: s.speedup_1_thread, s.threads_all: s.speedup_all_threads}.items()):
        rows += _speed(report, threads, speedup)
    megabytes = [f"{size / 1e6:.1f} MB" for size in (s.fp32_bytes, s.int8_bytes)]
    rows.append(["size", *megabytes, f"{s.size_ratio:.2f} times smaller"])
    return ["", "fp32", "int8", "int8 is"], rows


def classes(report: ReportData) -> Table:
    """One row a class: support, and precision, recall and F1 of both, in percent."""
    rows: dict[str, list[str]] = {}
    measures = "precision", "recall", "f1"
    of = {(row["model"], row["class"]): row for row in report.classes}
    for row in report.classes:
        both = [float(of[key, row["class"]][f"{m}_pct"]) for m in measures for key in PRECISIONS]
        rows[row["class"]] = [row["class"], row["support"], *(f"{value:.2f}" for value in both)]
    headers = ["class", "support", "precision, fp32", "int8", "recall, fp32", "int8", "F1, fp32", "int8"]
    return headers, list(rows.values())


def binomial_error_pct(share_pct: float, count: int) -> float:
    """The standard error of a share of so many images, in percent.

    >>> binomial_error_pct(50, 100)
    5.0
    """
    return math.sqrt(share_pct * (100 - share_pct) / count)


def _speed(report: ReportData, threads: int, speedup: float) -> list[list[str]]:
    """Rows of the overview. speedup: the summary's, which is that of the medians."""
    fp32, int8 = (report.speeds[threads][precision] for precision in PRECISIONS)
    where, faster = f"{threads} thread{'s' * (threads > 1)}", f"{speedup:.2f} times as fast"
    p90 = f"{fp32.p90_ms / int8.p90_ms:.2f} times as fast"
    return [
        [f"frames/s, {where}", f"{fp32.fps:.1f}", f"{int8.fps:.1f}", faster],
        [f"median, {where}", f"{fp32.median_ms:.2f} ms", f"{int8.median_ms:.2f} ms", faster],
        [f"90th percentile, {where}", f"{fp32.p90_ms:.2f} ms", f"{int8.p90_ms:.2f} ms", p90],
    ]


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("octet.report"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
