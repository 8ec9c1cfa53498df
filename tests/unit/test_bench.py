"""The benchmarks, which take too long for a test: what they import, also within functions, is there; and their tables."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from octet.core.text import table
from tests.bench import cifar_jpeg
from tests.bench.zoo import engines, report
from tests.bench.zoo.networks import Network

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs"
FILES = sorted(path for path in (Path(__file__).parents[1] / "bench").rglob("*.py") if path.stem != "__init__")


def test_the_benchmarks_are_there():
    assert {"int8", "peers", "measure"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_benchmarks_import_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("octet", "tests"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@pytest.mark.parametrize("page", ["accuracy-recovery", "calibrators", "parameters", "zoo"])
def test_the_tables_of_the_generated_pages_are_as_their_commands_write_them(page):
    tables = re.findall(r"(?:^\|.*\n)+", (DOCS / f"{page}.md").read_text(), re.MULTILINE)
    assert tables
    for text in tables:
        head, rule, *rows = map(cells, text.splitlines())
        align = "".join("r" if mark.endswith(":") else "l" for mark in rule)
        assert table(rows, head, align, markdown=True) + "\n" == text


def test_the_zoo_s_page_follows_from_what_was_measured():
    text = (DOCS / "zoo.md").read_text()
    results = []
    for title, body in re.findall(r"^## (.+)\n\n((?:\|.*\n)+)", text, re.MULTILINE):
        family = re.sub(r" \([A-Z0-9]+\)$", "", title)
        for row in map(cells, body.splitlines()[2:]):
            name, (height, width) = row[0].strip("`"), map(int, row[1].split("x"))
            network = Network(family, [f"_base_/models/{name}.py"], (height, width))
            results.append((network, {"parameters_m": float(row[2].split()[0])} if row[2] else {}))
            if not row[4]:
                results[-1][1]["skipped"] = row[3]
                continue
            layers, decibels = re.findall(r"\d+", row[4]), re.findall(r"[\d.]+", row[5])
            results[-1][1].update(fp32_difference=float(row[3]), int8_sqnr_db=float(decibels[0]))
            results[-1][1].update(int8_layers=int(layers[0]), quantizable_layers=int(layers[1]))
            if decibels[1:]:
                results[-1][1]["onnx_runtime_sqnr_db"] = float(decibels[1])
    assert len(results) == 195

    def pieces(page: str) -> list[str]:  # where two networks have as many parameters on the page, either may come first
        return sorted(page.splitlines())

    assert pieces(report.markdown(results)) == pieces(text)


def test_mmdeploy_s_table_is_that_of_the_document():
    summary = {
        "threads_all": 2,
        "n_images": 10000,
        "top1_drop_pt": 0.1,
        "top1_drop_se_pt": 0.04,
        "agreement_pct": 99.77,
    }
    for precision, top1, one, both in (("fp32", 89.36, 131.6, 213.1), ("int8", 89.26, 426.0, 707.7)):
        keys = (f"{precision}_top1_pct", f"{precision}_fps_1_thread", f"{precision}_fps_all_threads")
        summary |= dict(zip(keys, (top1, one, both), strict=True))
    summary["machine"] = {"cpu": "a cpu", "cores": 2, "features": ["avx2"], "ncnn": "1.0.20261020"}
    text, _, below = cifar_jpeg.result(summary).partition("\n\n")
    assert f"\n\n{text}\n\n" in (DOCS / "benchmarks.md").read_text()
    assert below.startswith("drop +0.10 ± 0.04 points, agreement 99.77 %, n = 10,000; a cpu, 2 cores, avx2")


def test_the_page_of_the_zoo_in_other_engines_follows_from_its_table():
    text, results = (DOCS / "zoo-engines.md").read_text(), []
    for k, row in enumerate(map(cells, re.findall(r"^\|.+\n", text, re.MULTILINE)[2:])):
        layers, decibels = row[2:-1:2], row[3:-1:2]
        of = {
            name: {"int8_layers": int(part.split()[0]), "sqnr_db": float(figure)}
            for name, part, figure in zip(engines.PROFILES, layers, decibels, strict=True)
        }
        result = {"engines": of, "layers": int(layers[0].split()[-1]), "parameters_m": k}
        if remark := re.search(rf"^([A-Z].+): (?:`.+`, )?{re.escape(row[1])}(?:, `.+`)?\.$", text, re.MULTILINE):
            result["remark"] = remark[1]
        result["own_sqnr_db"] = None if row[-1] == "does not run" else float(row[-1])
        results.append((Network(row[0], [f"_base_/models/{row[1].strip('`')}.py"], (224, 224)), result))
    for name, error in re.findall(r"^- `(.+?)`: (.+)$", text.partition("Not measured:")[2], re.MULTILINE):
        results.append((Network("", [f"_base_/models/{name}.py"], (224, 224)), {"error": error}))
    assert engines.markdown(results) == text
