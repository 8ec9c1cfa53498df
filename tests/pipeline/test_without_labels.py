"""Test images without labels: no top-1 anywhere, and int8 judged by how it agrees with fp32."""

import json
import zipfile

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.pipeline


def test_a_test_split_without_labels_gives_agreement_divergence_and_speed(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 60)):
        (project.folder / "data/plain" / split).mkdir(parents=True)
        for k in range(count):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            cv2.imwrite(str(project.folder / "data/plain" / split / f"{k}.png"), pixels)
    project.edit("params.yaml", "data: data/digits32", "data: data/plain")
    told = project.python("-m", "octet", "validate")
    assert "note: tiny: the test split has no labels: int8 is judged by how it agrees with fp32" in told.stderr
    printed = project.dvc("repro")
    assert "tiny: int8 no labels, so no top-1, on 60 images" in printed
    metrics = project.folder / "metrics/tiny"
    for precision in ("fp32", "int8"):
        figures = json.loads((metrics / f"{precision}.json").read_text())
        assert figures == {"n_images": 60, "n_unreadable": 0, "split_source": "test (images without labels)"}
    summary = json.loads((metrics / "summary.json").read_text())
    assert not [key for key in summary if "top1" in key]
    assert summary["n_images"] == 60
    assert 0 < summary["kl_top5_nats"] < 1
    disagreement = 100 - summary["agreement_pct"]
    table = project.python("-m", "octet", "summary").stdout
    assert "top-1" not in table.splitlines()[2]
    assert "60 images; they have no labels, so no top-1. KL divergence of int8 from fp32:" in table
    for most, verdict in ((100, "fine"), (0, "too much" if disagreement else "fine")):
        project.edit("params.yaml", "max_drop_pt: 100", f"max_drop_pt: {most}")
        done = project.python("-m", "octet", "check", ok=False)
        assert (
            f"tiny: int8 disagrees with fp32 on {disagreement:.2f} % of images without labels, allowed are {most:.2f} "
            f"(max_drop_pt counts disagreement here): {verdict}"
        ) in done.stderr
        assert done.returncode == (verdict != "fine")
    project.python("-m", "octet", "dump")
    lines = (project.folder / "reports/tiny/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == [None] * 60
    assert "label" not in project.python("-m", "octet", "predict").stdout
    project.python("-m", "octet", "report")
    page = (project.folder / "reports/tiny/report.html").read_text()
    assert "The images have no labels" in page
    assert 'id="confusion"' not in page
    project.python("-m", "octet", "package")
    archive = next((project.folder / "dist").glob("*.zip"))
    with zipfile.ZipFile(archive) as files:
        card = files.read("tiny/README.md").decode()
    assert "| agreement with fp32 | | " in card
    assert "have no labels, so nothing is known of the accuracy" in card
    assert "top-1" not in card
    project.dvc("plots", "show")
    project.dvc("metrics", "diff")
