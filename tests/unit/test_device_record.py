"""A model's figures on devices: their file, DVC's view of it, the table of report and card, and what make check asks."""

import json
from dataclasses import replace

import pytest
from dvc.repo import Repo

from octet.core.errors import OctetError
from octet.core.files import checksum
from octet.core.folder import ModelFolder
from octet.core.params import Check
from octet.device.check import shortfalls
from octet.device.figures import Against, DeviceSpeed, RunFigures
from octet.device.record import RUNS, DeviceFigures, check_unchanged, columns, fingerprints, load_all, write

pytestmark = pytest.mark.unit
SPEEDS_MS = {"fp32": 10.0, "fp16": 5.0, "int8": 4.0, "int8_fp16": 8.0}
BOARD = {"cpu": "Cortex-A76", "cores": 4, "features": ["asimdhp", "asimddp"], "ncnn": "1.0.20261020", "emulated": False}


def measured(folder):
    """What decides a model's answers. A tuned profile's masks are in the .param alone."""
    return [*folder.fp32, *folder.int8, folder.preprocess]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = ModelFolder("net")
    folder.models.mkdir(parents=True)
    for path in measured(folder):
        path.write_text(path.name)
    return folder


def figures(
    folder,
    name="board",
    agreement_pct=100.0,
    top1_pct=95.0,
    threads=(1, 4),
    speeds_ms=SPEEDS_MS,
    n_not_finite=0,
    **device,
):
    runs = {
        run: RunFigures(
            Against(99.0, 1.0, 1e-4, 1e-5, 40.0),
            Against(agreement_pct, 0.5, 1e-6, 1e-7, 60.0),
            None if top1_pct is None else top1_pct - 1.5 * (precision == "int8"),
            *(None if device.get("emulated") else 3.0, None if device.get("emulated") else 2048, 100, n_not_finite),
            {count: DeviceSpeed.of([speeds_ms[run] / count] * 8) for count in threads},
        )
        for run, precision, _ in RUNS
    }
    for run in ("fp32", "fp16"):  # their files are fp32's, so both comparisons are the same
        runs[run] = replace(runs[run], host_same=runs[run].host_fp32)
    return DeviceFigures(name, BOARD | device, 100, fingerprints(folder), runs)


def test_what_is_written_is_read(folder):
    for given in (figures(folder), figures(folder, "emulator", top1_pct=None, threads=(), emulated=True)):
        path = write(folder, given)
        assert DeviceFigures.load(path, "x") == given
    content = json.loads((folder.devices / "board.json").read_text())
    assert content["speedup_over_fp32_threads_1"] == 2.5
    assert content["int8_speedup_over_default_threads_4"] == 1.25
    assert content["int8_fp16_speedup_over_default_threads_4"] == 0.625
    assert content["int8"]["peak_kib"] == 2048
    assert [of.name for of in load_all(folder)] == ["board", "emulator"]


def test_figures_are_of_these_files_until_one_of_them_changes(folder):
    of = figures(folder)
    assert of.is_of(folder)
    for path in measured(folder):
        path.write_text("other")
        assert not of.is_of(folder), path
        with pytest.raises(
            OctetError, match=f"^models/net/{path.name}: changed while it was measured, .*; measure anew"
        ):
            check_unchanged(folder, of.sha256)
        path.write_text(path.name)
        assert of.is_of(folder)
        check_unchanged(folder, of.sha256)
    folder.fp32.param.unlink()
    with pytest.raises(OctetError, match=r"fp32.param: no such file; 'make quantize MODEL=net' makes it"):
        of.is_of(folder)


def test_figures_of_the_weights_alone_are_not_known_to_be_of_these_files(folder):
    """As they were written before the graphs and preprocess.json counted."""
    of = figures(folder)
    weights = {precision: checksum(folder.ncnn(precision).bin, "sha256")[:16] for precision in ("fp32", "int8")}
    assert not replace(of, sha256=weights).is_of(folder)


def test_of_an_emulator_neither_times_nor_memory_are_told(folder):
    """Both would be this machine's and the emulator's own."""
    content = json.loads(write(folder, figures(folder, "emulator", threads=(), emulated=True)).read_text())
    assert not [key for run, _, _ in RUNS for key in content[run] if key in ("load_ms", "peak_kib")]


DAMAGES = {
    "top1": (["int8", "top1_pct"], "high"),
    "infinite": (["int8", "threads_1", "median_ms"], float("inf")),
    "features": (["device", "features"], [3]),
    "larger than any float": (["int8", "load_ms"], 10**400),
    "no time": (["int8", "threads_1", "median_ms"], 0),
    "no runs": (["int8", "threads_1", "n_runs"], 0),
    "half an image": (["n_images"], 1.5),
    "no images": (["n_images"], 0),
    "images as text": (["n_images"], "100"),
    "checksums as a number": (["sha256"], 5),
    "checksums as a list": (["sha256"], [1]),
}


@pytest.mark.parametrize("damage", ["[]", "{}", '{"device": 3}', "null", *DAMAGES])
def test_a_damaged_file_is_named(folder, damage):
    path = write(folder, figures(folder))
    content = json.loads(path.read_text())
    if damage in DAMAGES:
        keys, value = DAMAGES[damage]
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    path.write_text(json.dumps(content) if damage in DAMAGES else damage)
    with pytest.raises(OctetError, match=r"devices/board.json: .*make device DEVICE=board MODEL=net"):
        load_all(folder)


def test_dvc_shows_the_figures_and_what_changed(folder, tmp_path):
    write(folder, figures(folder))
    write(folder, figures(folder, "phone"))
    with Repo.init(no_scm=True) as repo:
        shown = repo.metrics.show()[""]["data"]
    assert sorted(shown) == ["metrics/net/devices/board.json", "metrics/net/devices/phone.json"]
    assert shown["metrics/net/devices/phone.json"]["data"]["int8"]["threads_1"]["median_ms"] == 4.0


def test_the_table_has_a_column_for_each_device(folder):
    header, rows = columns([figures(folder), figures(folder, "emulator", threads=(), emulated=True)])
    assert header == ["", "board", "emulator"]
    table = {row[0]: row[1:] for row in rows}
    assert table["processor"] == ["Cortex-A76", "Cortex-A76 (emulated)"]
    assert table["median, int8, 1 thread"] == ["4.00 ms", ""]
    assert table["int8: speed beside default float, all big cores"] == ["1.25 times as fast", ""]
    assert table["int8, default: speed beside default float, all big cores"] == ["0.62 times as fast: slower", ""]
    assert table["big cores"] == ["4", ""]
    assert table["int8: agrees with this machine's"] == ["100.00 %"] * 2
    assert table["top-1, int8"] == ["93.50 %"] * 2
    assert table["time to load, int8"] == ["3.0 ms", ""]
    assert table["peak memory, default float"] == ["2.0 MiB", ""]
    assert all(len(row) == 3 for row in rows)
    assert not [name for name in dict(columns([figures(folder, top1_pct=None)])[1]) if name.startswith("top-1")]


def test_the_table_says_what_emulates(folder):
    rows = columns(
        [
            figures(folder, emulated=True, emulator="qemu -cpu a76"),
            figures(folder, emulated=True, cpu="q", emulator="q"),
        ]
    )
    assert dict((row[0], row[1:]) for row in rows[1])["processor"] == [
        "Cortex-A76 (emulated: qemu -cpu a76)",
        "q (emulated)",
    ]


SLOW_MS = {"fp32": 10.0, "fp16": 5.0, "int8": 8.0, "int8_fp16": 6.0}


def test_a_slower_int8_is_shown_as_such(folder):
    """By make device itself, in the table of report and card, and by make check."""
    slow = figures(folder, threads=(1,), speeds_ms=SLOW_MS)
    assert slow.warnings() == [
        "int8: is slower than the device's default float: 0.62 times as fast at 1 thread",
        "int8_fp16: is slower than the device's default float: 0.83 times as fast at 1 thread",
    ]
    rows = dict((row[0], row[1:]) for row in columns([slow, figures(folder)])[1])
    assert rows["int8: speed beside default float, 1 thread"] == ["0.62 times as fast: slower", "1.25 times as fast"]
    assert rows["int8, default: speed beside default float, 1 thread"][0] == "0.83 times as fast: slower"
    assert rows["int8: speed beside fp32, 1 thread"][0] == "1.25 times as fast"
    write(folder, slow)
    verdicts = shortfalls(folder, Check(**NOTHING | {"device_min_speedup": 1.0}))
    assert verdicts.short == ["board"]
    assert verdicts.lines == [
        "board: int8 is 0.62 times as fast as the default float, asked is 1.00: not enough",
        "board: int8_fp16 is 0.83 times as fast as the default float, asked is 1.00: not enough",
    ]
    assert figures(folder, speeds_ms=SPEEDS_MS | {"int8_fp16": 4.5}).warnings() == []


def test_answers_that_are_none_or_others_are_shown_as_such(folder):
    wrong = figures(folder, agreement_pct=12.0, n_not_finite=3, threads=(), emulated=True)
    path = write(folder, wrong)
    assert DeviceFigures.load(path, "x") == wrong
    lines = wrong.warnings()
    assert "int8: on 3 of 100 images its outputs are not finite" in lines[2]
    assert "int8: predicts what this machine does on 12.00 % of images alone" in lines[3]
    rows = dict((row[0], row[1:]) for row in columns([wrong, figures(folder)])[1])
    assert rows["int8: images with outputs that are not finite"] == ["3", ""]
    assert not [row for row in columns([figures(folder)])[1] if "not finite" in row[0]]


def test_a_drift_that_rounds_to_nothing_has_no_sign(folder):
    of = figures(folder)
    little = {1: DeviceSpeed.of([4.0] * 40 + [3.988] * 40)}
    of = replace(of, runs={run: replace(figures, speeds=little) for run, figures in of.runs.items()})
    assert dict(columns([of])[1])["slower at the end, at most, 1 thread"] == "+0 %"


NOTHING = {"device_max_drop_pt": None, "device_min_agreement_pct": None, "device_min_speedup": None}


@pytest.mark.parametrize(
    ("asked", "line", "good"),
    [
        ({"device_max_drop_pt": 1.5}, "int8 loses +1.50 points of top-1 there, allowed are 1.50", True),
        ({"device_max_drop_pt": 1.4}, "int8 loses +1.50 points of top-1 there, allowed are 1.40", False),
        ({"device_min_agreement_pct": 99.5}, "on 99.50 % of images, asked are 99.50", True),
        ({"device_min_agreement_pct": 99.6}, "on 99.50 % of images, asked are 99.60", False),
        ({"device_min_speedup": 1.25}, "int8 is 1.25 times as fast as the default float, asked is 1.25", True),
        ({"device_min_speedup": 1.3}, "int8 is 1.25 times as fast as the default float, asked is 1.30", False),
    ],
)
def test_what_check_asks(folder, asked, line, good):
    write(folder, figures(folder, agreement_pct=99.5))
    verdicts = shortfalls(folder, Check(**NOTHING | asked))
    assert len(verdicts.lines) == (1 if good else 2)  # where neither way to run int8 will do, both are told of
    assert verdicts.lines[0].startswith("board: int8 ")
    assert verdicts.lines[-1].startswith("board: int8 " if good else "board: int8_fp16 ")
    assert f"{line}: {'fine' if good else 'not enough'}" in verdicts.lines[0]
    assert verdicts.short == ([] if good else ["board"])


FAST, SLOW, WRONG = 4.0, 8.0, 0.0
ALL = {"device_max_drop_pt": 2.0, "device_min_agreement_pct": 99.0, "device_min_speedup": 1.0}


@pytest.mark.parametrize(
    ("int8", "int8_fp16", "good", "told"),
    [  # milliseconds, where the default float takes 5; on how many images it answers as here; how many points it loses
        ((SLOW, 100.0, 0.0), (FAST, WRONG, 90.0), False, ["int8"] * 3 + ["int8_fp16"] * 3),
        ((FAST, WRONG, 90.0), (SLOW, 100.0, 0.0), False, ["int8"] * 3 + ["int8_fp16"] * 3),
        ((SLOW, 100.0, 0.0), (FAST, 100.0, 5.0), False, ["int8"] * 3 + ["int8_fp16"] * 3),
        ((FAST, WRONG, 0.0), (SLOW, 100.0, 0.0), False, ["int8"] * 3 + ["int8_fp16"] * 3),
        ((SLOW, 100.0, 0.0), (FAST, 99.0, 2.0), True, ["int8_fp16"] * 3),
        ((FAST, 99.0, 2.0), (SLOW, WRONG, 90.0), True, ["int8"] * 3),
    ],
)
def test_one_way_to_run_int8_has_to_be_fast_and_right_at_once(folder, int8, int8_fp16, good, told):
    """Where one is fast and wrong and the other right and slow, no app can have both."""
    of = figures(folder)
    runs = dict(of.runs)
    for run, (median_ms, agreement_pct, drop_pt) in (("int8", int8), ("int8_fp16", int8_fp16)):
        runs[run] = replace(
            runs[run],
            host_same=replace(runs[run].host_same, agreement_pct=agreement_pct),
            top1_pct=runs["fp32"].top1_pct - drop_pt,
            speeds={count: DeviceSpeed.of([median_ms] * 8) for count in of.threads},
        )
    of = replace(of, runs=runs)
    write(folder, of)
    verdicts = shortfalls(folder, Check(**ALL))
    assert verdicts.short == ([] if good else ["board"])
    assert [line.split()[1] for line in verdicts.lines] == told
    assert all(line.endswith(": fine") for line in verdicts.lines) == good
    slow = [run for run, (median_ms, *_) in (("int8", int8), ("int8_fp16", int8_fp16)) if median_ms == SLOW]
    assert [line.split(":")[0] for line in of.warnings() if "1 thread" in line] == slow


def test_check_judges_neither_emulators_speeds_nor_other_files(folder):
    write(folder, figures(folder, "emulator", threads=(), emulated=True))
    assert shortfalls(folder, Check(**NOTHING | {"device_min_speedup": 9.0})).short == []
    folder.int8.bin.write_bytes(b"another")
    verdicts = shortfalls(folder, Check(**NOTHING | {"device_max_drop_pt": 0.0}))
    assert verdicts.short == []
    assert "of other files of this model; make device DEVICE=emulator MODEL=net" in verdicts.lines[0]
    (folder.devices / "emulator.json").write_text("damaged")
    assert shortfalls(folder, Check()).lines == []
