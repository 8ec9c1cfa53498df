"""The page: what collect and history found, drawn and set."""

from __future__ import annotations

from pathlib import Path

import jinja2

from octet.core.files import write_text
from octet.project.environment import PACKAGES, installed_version
from octet.project.provenance import calibration
from octet.report import figures, history
from octet.report.collect import Found, collect
from octet.summary.differences import SHOWN


def write(name: str, data: str, out: Path) -> None:
    """Writes the report of a model. data: its data set's folder. Raises OctetError where the pipeline did not run."""
    found = collect(name, data)
    params = Path("params.yaml").read_text()
    page = _ENVIRONMENT.get_template("report.html.j2").render(
        m=found,
        s=found.figures["summary"],
        drawn=drawn(found),
        overview=overview(found),
        by_class=by_class(found),
        change=history.last_change(name, {key: found.figures[key] for key in history.FILES}, params),
        experiments=history.experiments(name),
        calibration=calibration(found.made),
        versions={package: installed_version(package) for package in ("octet", *PACKAGES)},
        shown=SHOWN,
        limit=figures.CLASSES,
        short=figures.short,
    )
    write_text(out, page)


def drawn(found: Found) -> dict:
    """All figures, as SVG."""
    names = list(dict.fromkeys(row["class"] for row in found.tables["classes"]))
    confusion, samples = found.tables["confusion"], found.tables["latency_samples"]
    threads = sorted({int(row["threads"]) for row in samples})
    return {
        "classes": figures.classes(found.tables["classes"]),
        "confusion": {key: figures.confusion(confusion, key, names) for key in ("fp32", "int8")},
        "change": figures.confusion_change(confusion, names),
        "latency": {count: figures.latency(samples, count) for count in threads},
        "layers": figures.layers(found.analysis["layers"]) if found.analysis else None,
        "activations": figures.activations(found.tables["activations"], found.fp32_layers),
    }


def overview(found: Found) -> list[tuple[str, str, str, str]]:
    """The summary table: what, fp32, int8, and how they differ."""
    s, fp32, int8, latency = (found.figures[key] for key in ("summary", "fp32", "int8", "latency"))
    rows = []
    for k, (a, b) in found.topk.items():
        error = f" ± {s['top1_drop_se_pt']:.2f}" if k == 1 and s["top1_drop_se_pt"] is not None else ""
        rows.append((f"top-{k}", f"{a:.2f} %", f"{b:.2f} %", f"{b - a:+.2f}{error} points"))
    for key in ("precision", "recall", "f1"):
        a, b = fp32[f"{key}_pct"], int8[f"{key}_pct"]
        name = {"f1": "F1"}.get(key, key)
        rows.append((f"{name}, mean of the classes", f"{a:.2f} %", f"{b:.2f} %", f"{b - a:+.2f} points"))
    for threads in sorted({1, s["threads_all"]}):
        pair = latency[f"threads_{threads}"]
        where = f"{threads} thread{'s' * (threads > 1)}"
        for key, name, form in (
            ("fps", "frames/s", ".1f"),
            ("median_ms", "median", ".2f"),
            ("p90_ms", "90th percentile", ".2f"),
        ):
            a, b = pair["fp32"][key], pair["int8"][key]
            ratio = b / a if key == "fps" else a / b
            unit = "" if key == "fps" else " ms"
            rows.append((f"{name}, {where}", f"{a:{form}}{unit}", f"{b:{form}}{unit}", f"{ratio:.2f} times as fast"))
    rows.append(
        (
            "size",
            f"{s['fp32_bytes'] / 1e6:.1f} MB",
            f"{s['int8_bytes'] / 1e6:.1f} MB",
            f"{s['size_ratio']:.2f} times smaller",
        )
    )
    return rows


def by_class(found: Found) -> list[dict[str, str]]:
    """One row a class: support, and precision, recall and F1 of both."""
    both: dict[str, dict[str, str]] = {}
    for row in found.tables["classes"]:
        entry = both.setdefault(row["class"], {"class": row["class"], "support": row["support"]})
        entry |= {f"{row['model']}_{key}": f"{float(row[f'{key}_pct']):.2f}" for key in ("precision", "recall", "f1")}
    return list(both.values())


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("octet.report"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
