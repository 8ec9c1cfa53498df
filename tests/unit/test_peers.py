"""Other engines beside Octet: the figures, their file and their tables, and the chart of them."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.logits import Divergence, divergence
from octet.report.chart import NAMES, Dot, chart, dots
from octet.report.chart import write as write_chart
from octet.report.peers import BASE, NCNN2INT8, OCTET, EngineFigures, PeersFigures, markdown, read, write
from octet.summary.summary import Summary
from tests.bench.compare import rows

pytestmark = pytest.mark.unit

MACHINE = {"cpu": "c", "features": ["avx2"], "cores": 2, "system": "Linux x86_64"}


def figures():
    return PeersFigures(
        engines=[
            EngineFigures(BASE, 95.72, 100.0, 190.0, 44_000_000, 227.0),
            EngineFigures(OCTET, 95.64, 346.0, 500.0, 11_000_000, 54.0, 2.11, Divergence(99.88, 0.05, 3.7e-5, 2e-6)),
            EngineFigures(NCNN2INT8, 95.6, 140.0, 200.0, 11_000_000, 54.0, 2.2, Divergence(99.7, 0.07, 1.1e-4, 1e-5)),
        ],
        machine=MACHINE,
        versions={"ncnn": "1"},
        n_images=5000,
        n_rounds=400,
        calibration_images=256,
        threads_all=2,
    )


def test_divergence_by_hand():
    fp32, int8 = np.log([[0.5, 0.5], [0.8, 0.2]]), np.log([[0.25, 0.75], [0.8, 0.2]])
    fp32[0, 0] += 1e-6  # fp32 says the first class, int8 the second
    result = divergence(fp32, int8)
    assert (result.agreement_pct, result.agreement_se_pct) == (50, 50)
    each = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75), 0
    assert result.kl_nats == pytest.approx(np.mean(each), abs=1e-6)
    assert result.kl_se_nats == pytest.approx(np.std(each, ddof=1) / 2**0.5, abs=1e-6)


def test_the_rows_of_the_comparison():
    """Each int8 model is set beside its own engine's fp32; ncnn2int8's where Octet's is another."""
    for target, mine in (("dotprod", [OCTET, NCNN2INT8]), ("ncnn2int8", [OCTET])):
        table = rows(target)
        assert [row.title for row in table if row.fp32 == BASE] == mine
        names = [row.name for row in table]
        assert len(set(names)) == len(names)
        assert all(row.fp32 is None or row.fp32 in names for row in table)
        assert {row.title for row in table if row.fp32} <= set(NAMES), "the chart has a name for each int8 model"


def test_figures_are_read_as_they_were_written(tmp_path):
    write(tmp_path / "peers.json", figures())
    assert read(tmp_path / "peers.json") == figures()


def test_figures_of_other_models_are_known():
    """`make bench-peers` is run by hand: the report tells where the models are others since."""
    other = {field.name: 1 for field in fields(Summary) if field.default is MISSING}
    sizes = {"fp32_bytes": 44_000_000, "int8_bytes": 11_000_000}
    summary = Summary(**other | sizes, fp32_top1_pct=95.72, int8_top1_pct=95.64)
    assert figures().is_of(summary)
    for change in ({"int8_top1_pct": 95.62}, {"int8_bytes": 11_000_004}, {"fp32_top1_pct": None}):
        assert not figures().is_of(replace(summary, **change))


def test_a_file_of_another_version_is_named(tmp_path):
    path = tmp_path / "peers.json"
    with pytest.raises(OctetError, match=r"peers.json: no such file; 'make bench-peers' makes it"):
        read(path)
    for content in ({"engines": [{"engine": "x", "speed": 1}]}, {"rows": []}, [], {"engines": 1}):
        path.write_text(json.dumps(content))
        with pytest.raises(OctetError, match=r"peers.json: not what this version of Octet writes .* makes it anew"):
            read(path)


def test_the_table_has_each_divergence_with_its_standard_error():
    lines = [re.sub(" +", " ", line) for line in markdown(figures()).splitlines()]
    assert lines[3].startswith(f"| {OCTET} | 95.64 % | 99.88 ± 0.05 % | 3.7 ± 0.2 | 346.0 | 3.46 | 500.0 | 11.0 MB |")
    assert lines[2].startswith(f"| {BASE} | 95.72 % | | | 100.0 | 1.00 | 190.0 |")


def test_the_chart_s_dots():
    assert dots(figures()) == [
        Dot("Octet", 3.46, pytest.approx(3.7), pytest.approx(0.2)),
        Dot("ncnn2int8", 1.4, pytest.approx(11.0), pytest.approx(1.0)),
    ]
    older = replace(figures(), engines=[replace(engine, divergence=None) for engine in figures().engines])
    assert dots(older) == []


CROWDED = [
    Dot(name, 2 + 0.05 * k, 10 + k, 0.5) for k, name in enumerate(("Octet", "ncnn2int8", "ONNX Runtime", "OpenVINO"))
]
APART = [Dot("Octet", 3.4, 3.7, 0.2), Dot("ncnn2int8", 1.5, 11.2, 1), Dot("OpenVINO", 4.4, 31.5, 1.4)]


@pytest.mark.parametrize("panel", [CROWDED, APART])
def test_no_label_of_the_chart_covers_another_or_a_dot(panel):
    drawn = chart({"a <net> & more": panel, "b": APART})
    assert drawn == chart({"a <net> & more": panel, "b": APART})
    root = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    assert "a <net> & more" in [node.text for node in root.iter(f"{space}text")]
    first = root.find(f"{space}g")
    labels = [node for node in first.iter(f"{space}text") if node.get("class") == "label"]
    assert [label.text for label in labels] == [f"{dot.name} {dot.kl:.1f}" for dot in panel]
    boxes = []
    for label in labels:
        x, y, wide = float(label.get("x")), float(label.get("y")), 8.4 * len(label.text)
        x -= {"start": 0, "middle": wide / 2, "end": wide}[label.get("text-anchor")]
        boxes.append((x, y - 15, x + wide, y + 4))
    for circle in first.iter(f"{space}circle"):
        x, y = float(circle.get("cx")), float(circle.get("cy"))
        boxes.append((x - 6, y - 6, x + 6, y + 6))
    count = len(labels)
    for k, a in enumerate(boxes[:count]):
        assert a[0] >= 0
        for n, b in enumerate(boxes):
            if n != k:
                apart = a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
                assert apart, (labels[k].text, n)


def test_the_chart_has_a_panel_for_each_model_that_was_measured(tmp_path):
    folders = [ModelFolder(name, tmp_path) for name in ("a", "b", "c")]
    out = tmp_path / "peers.svg"
    with pytest.raises(OctetError, match=r"c/peers.json: nothing to draw; 'make bench-peers' measures it"):
        write_chart(folders, out)
    write(folders[0].peers, replace(figures(), engines=figures().engines[:1]))  # of an older version: no divergence
    write(folders[2].peers, figures())
    write_chart(folders, out)
    titles = re.findall(r'class="title"[^>]*>([^<]*)<', out.read_text())
    assert titles == ["c"]
