"""Other releases of ncnn: where their wheels come from, a model on one of them, its figures' file, report and card."""

import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import ncnn
import numpy as np
import pytest
from PIL import Image

from octet.core import params
from octet.core.errors import OctetError
from octet.core.folder import PRECISIONS, ModelFolder
from octet.data import preprocess
from octet.data.preprocess import Preprocess
from octet.device import releases, runtimes, runtimes_record, source
from octet.device.answers import processor_of
from octet.device.devices import Command
from octet.device.figures import Against
from octet.device.runtimes_record import OnRelease, Runtimes, columns
from octet.device.tuning import tune_elsewhere
from octet.ncnn.engine import Engine
from octet.ncnn.net import save_net
from octet.package.examples import _ENVIRONMENT as card_environment
from octet.report.page import _ENVIRONMENT as page_environment
from tests import nets

pytestmark = pytest.mark.unit
RELEASE = "1.0.20250101"
MACHINE = {"cpu": "Xeon", "cores": 2, "features": ["avx512_vnni"], "ncnn": "1.0.20261020", "system": "Linux"}
QEMU = Command(
    kind="command", command=("qemu", "-cpu", "a76"), architecture="aarch64", folder="x", emulated=True, cpu="A76"
)
ON_DEVICE = {
    "cpu": "Xeon",
    "cores": 2,
    "big_cores": 2,
    "memory_kib": 9,
    "features": ["asimddp"],
    "ncnn": "1.0.20261020",
}
EMULATED = processor_of(QEMU, ON_DEVICE)  # which has no cores: they would be this machine's


def wheel(folder, version=RELEASE, init=None):
    """The installed ncnn as a wheel of another release, or a package with nothing but this `__init__.py`."""
    package = Path(ncnn.__file__).parent
    with zipfile.ZipFile(folder / f"ncnn-{version}-py3-none-any.whl", "w") as archive:
        for path in [] if init else [*package.glob("ncnn.*.so"), *(package.parent / "ncnn.libs").glob("*")]:
            archive.write(path, path.relative_to(package.parent))
        archive.writestr("ncnn/__init__.py", init or f"from .ncnn import *\n\n__version__ = '{version}'\n")
        about = f"ncnn-{version}.dist-info/"
        archive.writestr(f"{about}METADATA", f"Metadata-Version: 2.1\nName: ncnn\nVersion: {version}\n")
        archive.writestr(
            f"{about}WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that is pip's only package index, beside the folder in which the test works."""
    work, links = tmp_path / "it's work", tmp_path / "links"
    for path in (work, links):
        path.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return links


@pytest.mark.parametrize(
    "text", ["", "1.0", "latest", "1.0.2025", "../1.0.20250101", "1.0.20250101; touch x", "--help"]
)
def test_what_is_no_release(text):
    with pytest.raises(OctetError, match="is no release of ncnn; expected the day of one, such as 1.0.20221128"):
        releases.release(text)


def test_a_release_is_fetched_once_and_its_files_stay_apart(index):
    wheel(index, init="pass\n")
    folder = releases.unpacked(RELEASE)
    assert (folder / "ncnn/__init__.py").is_file()
    assert not list(releases.FOLDER.glob("*.partial"))
    (index / f"ncnn-{RELEASE}-py3-none-any.whl").unlink()
    assert releases.unpacked(RELEASE) == folder
    assert releases.unpacked(ncnn.__version__) is None, "the installed one is there"


def test_releases_that_have_a_wheel(index):
    for version in ("1.0.20221128", "1.0.20230101", "1.0.20230601"):
        wheel(index, version, init="pass\n")
    assert releases.with_wheel() == ["1.0.20221128", "1.0.20230101", "1.0.20230601"]
    assert releases.one_a_year(releases.with_wheel()) == ["1.0.20221128", "1.0.20230601"]
    with pytest.raises(
        OctetError, match=r"^ncnn 1.0.20990101: there is no wheel of it for Python 3.* one of 1.0.20221128, "
    ):
        releases.unpacked("1.0.20990101")
    assert not releases.FOLDER.exists()


def test_without_a_network(index, monkeypatch):
    """The error says what to do, and a wheel that was put there by hand is taken."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for call in (releases.with_wheel, lambda: releases.unpacked(RELEASE)):
        with pytest.raises(
            OctetError, match=r"cannot be reached: .*Try again with a network, or put .* into \.runtimes/"
        ):
            call()
    releases.FOLDER.mkdir()
    wheel(releases.FOLDER, init="pass\n")
    assert releases.unpacked(RELEASE).is_dir()


def test_a_damaged_wheel(index):
    releases.FOLDER.mkdir()
    (releases.FOLDER / f"ncnn-{RELEASE}-py3-none-any.whl").write_bytes(b"PK damaged")
    with pytest.raises(OctetError, match="is no wheel, or damaged; remove it"):
        releases.unpacked(RELEASE)
    assert [path.suffix for path in releases.FOLDER.iterdir()] == [".whl"]


@pytest.fixture
def model(index):
    """A model's folder with both precisions (of which one is as good as the other here), and what it answers."""
    folder, net = index.parent / "model", nets.small()
    folder.mkdir()
    for precision in PRECISIONS:
        save_net(net, folder / f"{precision}.param", folder / f"{precision}.bin")
    images = np.stack(nets.images(3))
    np.save(folder / "inputs.npy", images)
    return folder, np.stack([Engine.of(net)(image) for image in images])


def test_a_model_on_a_release(index, model, monkeypatch):
    monkeypatch.setattr(runtimes, "TIMED_RUNS", 4)
    wheel(index)
    of = runtimes.run_on(RELEASE, releases.unpacked(RELEASE), *model)
    assert of.problem == ""
    assert (of.against_int8.agreement_pct, of.against_int8.sqnr_db) == (100, 200)
    assert of.fp32_ms > 0
    assert runtimes.run_on(ncnn.__version__, None, *model).against_int8 == of.against_int8
    assert runtimes.run_on(RELEASE, releases.unpacked(RELEASE), model[0], model[1][:2]).problem.startswith(
        "its answers are"
    )


@pytest.mark.parametrize("changes", [False, True])
def test_figures_are_of_the_files_that_were_run(index, monkeypatch, changes):
    """What changes while they run, as by make quantize, is not passed as what was run."""
    folder, classes, run_on = ModelFolder("net"), ["ant", "bee", "cat", "dog"], runtimes.run_on
    folder.models.mkdir(parents=True)
    for precision in PRECISIONS:
        save_net(nets.small(), *folder.ncnn(precision))
    preprocess.save(Preprocess("RGB", [128.0] * 3, [64.0] * 3, [8, 8], classes), folder.preprocess)
    for name in classes:
        Path("data/test", name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(Path("data/test", name, "0.png"))

    def and_quantize(*given):
        if changes:
            folder.int8.param.write_text(folder.int8.param.read_text() + "\n")
        return run_on(*given)

    monkeypatch.setattr(runtimes, "TIMED_RUNS", 2)
    monkeypatch.setattr(runtimes, "run_on", and_quantize)
    loaded = params.load(Path(__file__).parents[2] / "params.yaml")
    entry = next(iter(loaded.models.values())).model_copy(update={"data": "data"})
    loaded = loaded.model_copy(update={"models": {"net": entry}})
    if changes:
        with pytest.raises(OctetError, match=r"^models/net/int8.param: changed while it was measured"):
            runtimes.measure("net", loaded, 4, [ncnn.__version__])
        assert not folder.metrics.exists()
    else:
        runtimes.measure("net", loaded, 4, [ncnn.__version__])
        assert [of.n_images for of in runtimes_record.load_all(folder)] == [4]


def test_a_release_that_does_not_run_here(index, model):
    wheel(index, init="raise ImportError('numpy.core.multiarray failed to import')\n")
    of = runtimes.run_on(RELEASE, releases.unpacked(RELEASE), *model)
    assert of == OnRelease("ImportError: numpy.core.multiarray failed to import")
    wheel(index, "1.0.20250102", init="import os\nos.kill(os.getpid(), 11)\n")
    assert "signal 11" in runtimes.run_on("1.0.20250102", releases.unpacked("1.0.20250102"), *model).problem


def test_a_folder_with_another_release_than_its_name_says(index, model, monkeypatch):
    monkeypatch.setattr(runtimes, "TIMED_RUNS", 4)
    wheel(index)
    folder = releases.unpacked(RELEASE)
    with pytest.raises(OctetError, match="is ncnn 1.0.20250101, expected 1.0.20250102; remove the folder"):
        runtimes.run_on("1.0.20250102", folder, *model)


@pytest.mark.parametrize(
    ("content", "words"), [("python", "has no C\\+\\+ in it; take a later release"), ("", "or damaged")]
)
def test_a_source_package_without_source(tmp_path, content, words):
    """Until 2025 ncnn's source packages held the Python part alone."""
    archive = tmp_path / f"ncnn-{RELEASE}.tar.gz"
    archive.write_bytes(b"damaged")
    if content:
        (tmp_path / f"ncnn-{RELEASE}-src").mkdir()
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(tmp_path / f"ncnn-{RELEASE}-src", f"ncnn-{RELEASE}")
    with pytest.raises(OctetError, match=words):
        source.unpacked(tmp_path, Path("python"), RELEASE)
    assert not (tmp_path / f"ncnn-{RELEASE}").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_tuning_needs_a_device_or_a_release():
    for device, runtime in ((None, None), ("board", "1.0.20221128")):
        with pytest.raises(OctetError, match="give one of them"):
            tune_elsewhere("net", None, device, runtime)
    with pytest.raises(OctetError, match="'new' is no release of ncnn"):
        tune_elsewhere("net", None, None, "new")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = ModelFolder("net")
    folder.models.mkdir(parents=True)
    for path in (*folder.fp32, *folder.int8, folder.preprocess):
        path.write_text(path.name)
    return folder


def figures(folder, device=""):
    same, near = Against(100.0, 0.0, 0.0, 0.0, 200.0), Against(99.5, 0.5, 1e-5, 1e-6, 40.0)
    of = {
        "1.0.20221128": OnRelease("", same, near, 5.0, 4.0),
        "1.0.20230601": OnRelease("ended with status 4"),
        "1.0.20261020": OnRelease("", near, near, 5.0, 2.0),
    }
    return Runtimes(device, MACHINE, 200, 100, runtimes_record.fingerprints(folder), of)


def test_what_is_written_is_read(folder):
    assert runtimes_record.load(folder) is None
    given, of = figures(folder), Against(99.5, 0.5, 1e-5, 1e-6, 40.0)
    path = given.write(folder)
    assert path == folder.metrics / "runtimes.json"
    assert runtimes_record.load(folder) == given
    assert given.is_of(folder)
    assert given.checked_on() == ["1.0.20221128"]
    assert json.loads(path.read_text())["releases"]["1.0.20261020"]["speedup_1_thread"] == 2.5
    on_device = replace(
        figures(folder, "board"),
        machine=EMULATED,
        releases={"1.0.20221128": OnRelease("", *2 * [of])},
    )
    assert on_device.write(folder) == folder.metrics / "runtimes-board.json"
    assert runtimes_record.load_all(folder) == [given, on_device]
    assert columns(on_device)[1] == [["1.0.20221128", "99.50 %", "40.0 dB", "99.50 %", "", "", ""]]
    folder.int8.bin.write_bytes(b"other")
    assert not given.is_of(folder)
    assert runtimes_record.load_all(folder) == []


def test_the_table_of_report_and_card(folder):
    head, rows = columns(figures(folder))
    assert all(len(row) == len(head) for row in rows)
    assert rows[0] == ["1.0.20221128", "100.00 %", "same bits", "99.50 %", "5.00 ms", "4.00 ms", "1.25"]
    assert rows[1][:2] == ["1.0.20230601", "ended with status 4"]


@pytest.mark.parametrize("damage", ["[]", "{}", "null", '{"releases": 3}', "machine", "time", "infinite"])
def test_a_damaged_file_is_named(folder, damage):
    path = figures(folder).write(folder)
    content = json.loads(path.read_text())
    if damage == "machine":
        content["machine"] = {"cpu": 3}
    elif damage == "time":
        content["releases"]["1.0.20221128"]["int8_ms"] = 0
    elif damage == "infinite":
        content["releases"]["1.0.20221128"]["int8_vs_fp32"]["sqnr_db"] = float("inf")
    path.write_text(json.dumps(content) if damage.isalpha() and damage != "null" else damage)
    with pytest.raises(OctetError, match=r"runtimes.json: .*make runtimes MODEL=net"):
        runtimes_record.load(folder)


@pytest.mark.parametrize("emulated", [False, True])
def test_the_text_of_report_and_card(folder, emulated):
    """The parts of both templates that show releases, with undefined names refused as in the whole."""
    of = figures(folder, "board")
    of = replace(of, machine=EMULATED) if emulated else of
    tables = [(of, columns(of))]
    page, _, _ = page_environment.loader.get_source(page_environment, "report.html.j2")
    part = (
        page[: page.index("{% macro captioned")]
        + page[page.index("<h3>Releases of ncnn") : page.index('<h2 id="peers">')]
    )
    report = {"runtimes": [of], "name": "net"}
    shown = page_environment.from_string(part).render(report=report, runtimes_tables=tables)
    card, _, _ = card_environment.loader.get_source(card_environment, "README.md.j2")
    part = card[card.index("{% if runtimes %}") : card.index("{% include")]
    written = card_environment.from_string(part).render(runtimes=tables)
    assert "make runtimes DEVICE=board</code>" in shown
    assert "| 1.0.20221128 | 100.00 % | same bits | 99.50 % |" in written
    assert "Checked on ncnn 1.0.20221128: there int8 predicts" in written
    for text in (shown, written):
        assert ("Emulated, so there are no times: A76" in text) == emulated
        assert ("100 runs of each, on Xeon" in text) != emulated
