"""The report of the tiny project in a real browser: nothing in its console, no request, no text that is cut or too faint."""

import csv
import io
import shutil
from dataclasses import replace

import pytest

from octet.core.folder import ModelFolder
from octet.core.logits import Divergence
from octet.device.figures import Against, DeviceSpeed, RunFigures
from octet.device.record import RUNS, DeviceFigures, fingerprints, write
from octet.report import peers
from octet.report.peers import EngineFigures, PeersFigures
from tests import browser

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(browser.find() is None, reason="no browser: Debian's package chromium has one"),
]

WIDTHS = (390, 1280)  # CSS pixels: a phone's, a desktop's
LONG = {"3": "a class whose name is longer than any room that a page has for it", "7": "虎斑猫的照片和很长的名字"}
CLASS_COLUMNS = ("actual", "predicted", "class")


@pytest.fixture(scope="module")
def chromium():
    with browser.browser() as started:
        yield started


def named(folder):
    """Gives two of the classes long names in all files that have them."""
    for path in folder.glob("metrics/tiny/*.csv"):
        rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
        for row in rows:
            row |= {key: LONG.get(row[key], row[key]) for key in CLASS_COLUMNS if key in row}
            if "top5" in row:
                row["top5"] = " | ".join(LONG.get(name, name) for name in row["top5"].split(" | "))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue())


def compared(folder):
    """Figures of other engines, as `make bench-peers` writes them; their numbers do not matter here."""
    engines = [EngineFigures(peers.BASE, 95.72, 100.0, 190.0, 44_000_000, 227.0)]
    for k, name in enumerate((peers.OCTET, peers.NCNN2INT8, "ONNX Runtime int8 (static QDQ)", "OpenVINO int8 (NNCF)")):
        far = Divergence(99.88 - k, 0.05, 3.7e-5 * 2**k, 2e-6)
        engines.append(EngineFigures(name, 95.64, 346.0 - 50 * k, 500.0, 11_000_000, 54.0, 2.11, far))
    machine = {"cpu": "a processor", "features": ["avx2"], "cores": 2, "system": "Linux x86_64"}
    peers.write(ModelFolder("tiny", folder).peers, PeersFigures(engines, machine, {"ncnn": "1"}, 500, 9, 32, 2))


def on_devices(folder):
    """Figures of five devices, as `make device` writes them, with long names and features."""
    far, close = Against(99.0, 1.0, 1e-4, 1e-5, 25.0), Against(100.0, 0.0, 0.0, 0.0, 200.0)
    features = ["asimdhp", "asimddp", "asimdfhm", "bf16", "i8mm", "sve", "sve2"]
    for name, cores in (("here", 2), ("raspberrypi5", 4), ("rock-5b", 8), ("qemu-a53", 0), ("qemu-max", 0)):
        speeds = {count: DeviceSpeed.of([100.0 / count] * 8) for count in {1, cores} if cores}
        run = RunFigures(far, close, 93.5, *((7.25, 12345) if cores else (None, None)), 2_500_000, 0, speeds)
        device = {"cpu": f"A long name of {name}", "cores": cores, "features": features, "ncnn": "1.0.20261020"}
        device |= {"emulated": not cores, "emulator": f"qemu-aarch64 -cpu {name}"}
        of = DeviceFigures(name, device, 100, fingerprints(folder), {key: run for key, _, _ in RUNS})
        write(
            folder,
            replace(of, runs=of.runs | {"fp32": replace(run, host_same=far), "fp16": replace(run, host_same=far)}),
        )


@pytest.fixture(scope="module")
def reports(finished, tmp_path_factory):
    """The report as it is, and one with long names and with peers."""
    project = finished.copy(tmp_path_factory.mktemp("browser") / "p")
    plain, full = (project.folder / f"reports/{name}.html" for name in ("plain", "full"))
    result = project.folder / "reports/tiny/report.html"
    project.python("-m", "octet", "report")
    shutil.copy(result, plain)
    named(project.folder)
    project.dvc("commit", "--force")  # the report holds figures against dvc.lock
    compared(project.folder)
    on_devices(ModelFolder("tiny", project.folder))
    project.python("-m", "octet", "report")
    shutil.copy(result, full)
    return {"plain": plain, "full": full}


def faults(chromium, path, width, dark):
    """All that is wrong with a page."""
    page = chromium.open(path.as_uri(), width, dark=dark)
    foreign = [f"request: {address}" for address in page.requests() if address != path.as_uri()]
    return page.run(browser.CUT_TEXT) + page.run(browser.FAINT_TEXT) + page.complaints() + foreign


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["plain", "full"])
def test_the_report_reads_in_a_browser(chromium, reports, name, width, dark):
    assert faults(chromium, reports[name], width, dark) == []


def test_five_devices_are_seen_at_once_on_a_desktop(chromium, reports):
    """No part of their table is behind its edge."""
    page = chromium.open(reports["full"].as_uri(), 1280)
    widths = page.run("""[...document.querySelectorAll('.wide')].filter(table => table.innerText.includes('raspberrypi5'))
        .map(table => [table.scrollWidth, table.clientWidth])""")
    assert len(widths) == 1
    assert widths[0][0] <= widths[0][1]


def test_light_and_dark_differ(chromium, reports):
    colours = {
        chromium.open(reports["plain"].as_uri(), 390, dark=dark).run("getComputedStyle(document.body).backgroundColor")
        for dark in (False, True)
    }
    assert len(colours) == 2


FAULTS = {
    "an error": ("<script>fall()</script>", "Uncaught"),
    "a complaint": ("<script>console.error('bad')</script>", "bad"),
    "a request": ("<img src='http://127.0.0.1:9/x.png'>", "request: http://127.0.0.1:9/x.png"),
    "a file": ("<link rel='stylesheet' href='other.css'>", "request: file://"),
    "a wide line": (f"<p style='white-space:nowrap'>{'wide ' * 400}</p>", "runs out of its p"),
    "a cut text": (
        "<div style='overflow:hidden;width:60px'><span style='white-space:nowrap'>a text that is cut</span></div>",
        "cut: a text that is cut",
    ),
    "a box that is too small": (
        "<div style='width:60px;white-space:nowrap'>too long for it</div>",
        "runs out of its div",
    ),
    "a text beside its figure": (
        "<svg viewBox='0 0 100 10'><text x='90'  y='9'>far too long</text></svg>",
        "cut by its figure",
    ),
    "a faint text": ("<p style='color:#8886'>hard to see</p>", "contrast"),
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_found(chromium, reports, tmp_path, fault, dark):
    """The checks above can fail: each finds the fault that it is for."""
    html, output = FAULTS[fault]
    spoiled = tmp_path / "report.html"
    spoiled.write_text(reports["plain"].read_text().replace("</body>", f"{html}</body>"))
    result = faults(chromium, spoiled, 390, dark)
    assert [fault for fault in result if output in fault], result
