"""What a user looks at and hands over, made from a finished run of the tiny project."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import ncnn
import pytest
from PIL import Image

from octet.data.cifar import Cifar
from octet.data.dataset import indices_of
from octet.evaluate.predictions import read_predictions

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    return finished.copy(tmp_path_factory.mktemp("hand_over") / "p")


@pytest.fixture
def spoiled(finished, tmp_path):
    """A copy for one test to spoil."""
    return finished.copy(tmp_path / "p")


def octet(project, *args, ok=True):
    return project.python("-m", "octet", *args, ok=ok)


def fails(project, *args, say):
    result = octet(project, *args, ok=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for words in say:
        assert words in result.stderr, result.stderr


def test_predict_says_what_the_pipeline_said(project, tmp_path):
    """On images of the test split as files: the answers of ncnn are those in the predictions files."""
    data = Cifar(project.folder / "data/digits32", "test")
    for k in range(3):
        Image.fromarray(data.image(k)).save(tmp_path / f"{k}.png")
    shown = octet(project, "predict", "--image", str(tmp_path)).stdout
    output = [read_predictions(project.folder / f"metrics/tiny/{p}.predictions.csv") for p in ("fp32", "int8")]
    blocks = shown.split("\n\n")
    for k in range(3):
        first = blocks[k].splitlines()[2].split()
        assert blocks[k].startswith(str(tmp_path / f"{k}.png"))
        assert first[0] == output[0][k].top[0]  # torch
        for engine, precision in ((1, 0), (2, 1)):
            row = output[precision][k]
            assert first[3 * engine : 3 * engine + 2] == [row.top[0], f"{100 * row.probabilities[0]:.2f}"]
    with Image.open(project.folder / "reports/tiny/predict.png") as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 1000


def test_a_weight_that_was_changed_is_named_by_check_and_predict(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    path = project.folder / "models/tiny/int8.bin"
    whole = bytearray(path.read_bytes())
    whole[2500] ^= 0x55
    path.unlink()  # DVC may have linked it to its cache
    path.write_bytes(whole)
    for command in ("check", "predict"):
        done = project.python("-m", "octet", command, "--model", "tiny", ok=False)
        assert done.returncode == 1
        assert "models/tiny/int8.bin: changed since the pipeline made it" in done.stderr


def test_predict_finds_images_of_its_own(project):
    fp32, int8 = (read_predictions(project.folder / f"metrics/tiny/{p}.predictions.csv") for p in ("fp32", "int8"))
    differ = sum(a.top[0] != b.top[0] for a, b in zip(fp32, int8, strict=True))
    shown = octet(project, "predict", "--model", "tiny").stdout
    assert "tiny: 8 images" in shown
    assert shown.count("  differ: ") == min(differ, 4) > 0


def test_dump(project):
    octet(project, "dump")
    lines = (project.folder / "reports/tiny/predictions.jsonl").read_text().splitlines()
    rows = read_predictions(project.folder / "metrics/tiny/int8.predictions.csv")
    assert len(lines) == 500
    result = json.loads(lines[7])["int8"]
    assert [entry["class"] for entry in result] == rows[7].top


class Page(HTMLParser):
    """The texts of a page, by element, and every address that it would load."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.open, self.texts = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        self.loads += [
            value for key, value in attributes if key in ("src", "href") and not value.startswith(("#", "data:"))
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


def test_the_report_stands_alone_and_shows_the_figures(project):
    octet(project, "report")
    text = (project.folder / "reports/tiny/report.html").read_text()
    page = Page(text)
    assert page.loads == []
    assert page.open == []
    assert "url(http" not in text
    assert "@import" not in text
    summary = json.loads((project.folder / "metrics/tiny/summary.json").read_text())
    assert f"{summary['int8_top1_pct']:.2f} %" in page.texts["b"]
    assert page.texts["h2"] == [
        "Summary",
        "What changed",
        "Classes",
        "Confusion",
        "Images on which the two differ",
        "Error of every layer",
        "What the layers read",
        "Latency",
        "Devices",
        "Peers",
        "How it was made",
    ]
    differ = round(500 * (1 - summary["agreement_pct"] / 100))
    assert text.count("<img src=") == min(24, differ) > 0
    assert "minmax, weights by absmax; 32 training images" in text
    assert '<td>weights</td><td class="text">rounded to the nearest</td>' in text
    assert "make bench-peers MODEL=tiny" in text
    assert str(project.folder) not in text
    assert len(text) < 5e6


@pytest.fixture(scope="module")
def bundle(project, tmp_path_factory):
    """The zip, unpacked."""
    octet(project, "package")
    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(project.folder / "dist/tiny-int8.zip") as archive:
        archive.extractall(folder)
    return folder / "tiny"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python that has ncnn, numpy and Pillow, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    there = Path(importlib.util.find_spec("numpy").origin).parents[1]
    here = next(folder.glob("lib/python*/site-packages"))
    for package in ("ncnn", "ncnn.libs", "numpy", "numpy.libs", "PIL", "pillow.libs"):
        if (there / package).is_dir():
            (here / package).symlink_to(there / package)
    return folder / "bin/python"


def test_the_bundle_s_example_needs_only_ncnn_numpy_and_pillow(project, bundle, bare, tmp_path):
    data = Cifar(project.folder / "data/digits32", "test")
    rows = read_predictions(project.folder / "metrics/tiny/int8.predictions.csv")[:20]
    for row, k in zip(rows, indices_of(data, [row.image for row in rows]), strict=True):
        Image.fromarray(data.image(k)).save(tmp_path / f"{row.image}.png")
    names = [f"{row.image}.png" for row in rows]
    command = [bare, bundle / "predict.py", *names]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()
    for k, (name, row) in enumerate(zip(names, rows, strict=True)):
        output = [line.removeprefix(f"{name}: ").split() for line in shown[5 * k : 5 * k + 5]]
        assert [label for label, _, _ in output] == row.top
        assert [float(share) for _, share, _ in output] == pytest.approx(
            [100 * p for p in row.probabilities], abs=0.006
        )
    result = subprocess.run([bare, "-c", "import cv2"], capture_output=True, text=True)
    assert "No module named 'cv2'" in result.stderr


def test_the_bundle_says_what_it_holds(project, bundle):
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, check=True)
    summary = json.loads((project.folder / "metrics/tiny/summary.json").read_text())
    card = (bundle / "README.md").read_text()
    assert f"{summary['int8_top1_pct']:.2f} % | drop {summary['top1_drop_pt']:+.2f}" in card
    assert (
        "by minmax, weights by absmax, from\n32 training images; kernels for the target `dotprod`.\nWeights: " in card
    )
    assert "\nWeights: rounded to the nearest.\n" in card
    assert (
        "All layers with weights are int8 but these:\n\n- convrelu_0: reads the network's input, where int8 loses"
        in card
    )
    model = json.loads((bundle / "deploy.json").read_text())["models"][0]
    for file in (model["net"], model["weights"]):
        assert (bundle / file).read_bytes() == (project.folder / "models/tiny" / file).read_bytes()
    before = (project.folder / "dist/tiny-int8.zip").read_bytes()
    octet(project, "package")
    assert (project.folder / "dist/tiny-int8.zip").read_bytes() == before
    assert "{{" not in card
    assert str(project.folder) not in card


def test_releases_of_ncnn_in_report_and_card(spoiled):
    """The installed release needs no package index; the others are in tests/unit/test_runtimes.py."""
    shown = octet(spoiled, "runtimes", "--images", "20", "--runtimes", ncnn.__version__).stdout
    row = rf"{ncnn.__version__} +100.00 % +same bits +\d+\.\d\d % +\d+\.\d\d ms +\d+\.\d\d ms +\d+\.\d\d"
    assert re.search(row, shown)
    octet(spoiled, "report")
    wrapped = ncnn.__version__.replace(".", ".\u200b")
    assert f"<td>{wrapped}</td>" in (spoiled.folder / "reports/tiny/report.html").read_text()
    octet(spoiled, "package")
    with zipfile.ZipFile(spoiled.folder / "dist/tiny-int8.zip") as archive:
        card = archive.read("tiny/README.md").decode()
    assert (
        f"Checked on ncnn {ncnn.__version__}: there int8 predicts what it does with ncnn {ncnn.__version__} on all 20"
        in card
    )
    figures = spoiled.folder / "metrics/tiny/runtimes.json"
    figures.write_text("{}")
    for command in ("report", "package"):
        fails(spoiled, command, say=["runtimes.json: not what 'make runtimes' writes"])


def test_what_is_not_there_yet(spoiled):
    for command, path in (
        ("predict", "models/tiny/int8.bin"),
        ("predict", "metrics/tiny/int8.predictions.csv"),
        ("dump", "metrics/tiny/fp32.predictions.csv"),
        ("package", "models/tiny/int8.param"),
        ("package", "metrics/tiny/summary.json"),
        ("package", "dvc.lock"),
        ("report", "metrics/tiny/summary.json"),
        ("report", "metrics/tiny/activations.csv"),
        ("report", "dvc.lock"),
    ):
        whole = (spoiled.folder / path).read_bytes()
        (spoiled.folder / path).unlink()
        fails(spoiled, command, say=[f"{path}: no such file", "'make quantize MODEL=tiny' makes it"])
        (spoiled.folder / path).write_bytes(whole)
    assert not (spoiled.folder / "dist").exists()
    assert not (spoiled.folder / "reports").exists()


def test_images_that_are_none(project, tmp_path):
    fails(project, "predict", "--image", str(tmp_path), say=[f"{tmp_path}: no image in this folder"])
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff")
    fails(project, "predict", "--image", str(tmp_path), say=["x.jpg: not an image"])
