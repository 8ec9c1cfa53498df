"""The report's figures and its comparison with git's history."""

import json
import subprocess
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from octet.analyze.analyze import LayerCost
from octet.benchmark.benchmark import Speed
from octet.core.errors import OctetError
from octet.evaluate.accuracy import Accuracy
from octet.project.provenance import Provenance
from octet.report import collect, figures, history, svg
from octet.report.collect import ReportData
from octet.report.confusion import confusion, confusion_change
from octet.report.page import classes, overview
from octet.summary.summary import Summary

pytestmark = pytest.mark.unit


def rows(text):
    head, *lines = [line.split(",") for line in text.split()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def texts(drawn):
    """The texts of a figure that is well-formed XML, in order."""
    return [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(drawn).iter() if node.tag.endswith("text")
    ]


@svg.styled
def test_a_figure_takes_its_colours_and_its_font_from_the_page():
    result, axis = svg.figure(2, 1)
    axis.plot([0, 1], [0, 1], color=svg.INT8)
    axis.set_xlabel("x < y & z")
    drawn = svg.svg(result, "a line")
    assert "x < y & z" in texts(drawn)
    assert "var(--int8)" in drawn
    assert "currentColor" in drawn
    assert 'viewBox="0 0 144 72"' in drawn
    assert "#01010" not in drawn
    assert "DejaVu" not in drawn
    assert "metadata" not in drawn


def test_names_in_any_script_and_with_dollars():
    names = ["虎斑猫", "$5 or $10", "a_{b}^c$x$"]
    of = [{"model": key, "class": name, "f1_pct": "90"} for key in ("fp32", "int8") for name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [name for name in texts(figures.classes(of)) if name in names] == names


def test_of_many_classes_those_that_differ_most():
    names = [f"class-{k}" for k in range(100)]
    table = [{"model": "fp32", "class": name, "f1_pct": "90"} for name in names]
    table += [{"model": "int8", "class": name, "f1_pct": "80" if k >= 70 else "90"} for k, name in enumerate(names)]
    assert [t for t in texts(figures.classes(table)) if t.startswith("class-")] == names[70:]


def test_confusions_in_the_order_of_the_classes():
    table = rows("actual,predicted,fp32,int8,change b,b,7,6,-1 b,a,0,1,1 a,a,5,5,0")
    assert texts(confusion(table, "int8", ["b", "a"]))[:4] == ["b", "a", "predicted", "b"]
    cells = [t for t in texts(confusion_change(table, ["b", "a"])) if t[0] in "+-"]
    assert cells == ["-1", "+1"]
    assert "var(--good)" not in confusion_change(table, ["b", "a"])  # both changes are for the worse
    many = [{"actual": f"c{k}", "predicted": f"c{k % 7}", "fp32": "1", "int8": "1", "change": "0"} for k in range(200)]
    assert len([t for t in texts(confusion(many, "fp32", [f"c{k}" for k in range(200)])) if t[0] == "c"]) == 60


def test_confusions_of_100_000_classes_take_no_matrix_of_all():
    """It was of 75 GB. Class 3 is taken for 99,999, and all else is right."""
    names = [f"c{k}" for k in range(100_000)]
    table = [{"actual": name, "predicted": name, "fp32": "1", "int8": "1", "change": "0"} for name in names[:500]]
    table[3] |= {"predicted": names[-1]}
    shown = [t for t in texts(confusion(table, "fp32", names)) if t[0] == "c" and t[1:].isdecimal()]
    assert shown == ([f"c{k}" for k in range(29)] + ["c99999"]) * 2
    assert len(texts(confusion_change(table, names))) == 62


def test_latency_names_the_medians():
    table = [{"threads": "1", "precision": p, "latency_ms": str(v)} for p, v in (("fp32", 9), ("fp32", 7), ("int8", 2))]
    shown = texts(figures.latency(table, 1, {"fp32": 8.004, "int8": 2.0}))
    assert "8.00" in shown
    assert "2.00" in shown
    assert "fp32" in shown


def test_a_histogram_for_every_layer():
    table = rows("layer,value,share_pct,threshold a,0,90,1.5 a,1,9,1.5 a,2,1,1.5 b,0,100,3")
    result = dict(figures.activations(table, []))
    assert list(result) == ["a", "b"]
    assert "var(--bad)" in result["a"]
    assert "var(--bad)" not in result["b"]
    kept = dict(figures.activations(table, ["a"]))
    assert list(kept) == ["a (fp32)", "b"]
    assert kept["b"] == result["b"]
    assert "var(--bad)" not in kept["a (fp32)"]
    assert "var(--int8)" not in kept["a (fp32)"]


def test_every_layer_s_error_in_the_network_s_order():
    table = [
        LayerCost(f"l{k}", "Convolution", 1, 30.0 + k, kl, kl, 1.0)
        for k, kl in enumerate((1e-6, 1e-2, 0.0, 1e-3, 1e-5))
    ]
    drawn = figures.layers(table)
    assert [t for t in texts(drawn) if t[0] == "l"] == ["l0", "l1", "l2", "l3", "l4"]
    assert drawn.count("var(--bad)") >= 3
    assert drawn.count("var(--int8)") >= 2


SUMMARY = Summary(
    n_images=5000,
    fp32_top1_pct=95.72,
    int8_top1_pct=95.64,
    top1_drop_pt=0.08,
    top1_drop_se_pt=0.0374,
    agreement_pct=99.88,
    probability_shift_pct=0.1,
    fp32_bytes=44_680_778,
    int8_bytes=11_212_734,
    size_ratio=3.985,
    threads_all=2,
    machine={},
    fp32_fps_1_thread=112.0,
    int8_fps_1_thread=388.1,
    speedup_1_thread=3.465,
    fp32_fps_all_threads=188.0,
    int8_fps_all_threads=626.9,
    speedup_all_threads=3.335,
)


def report_data(**changes):
    accuracy = {
        "fp32": Accuracy(5000, 95.72, 99.1, 95.73, 95.72, 95.72),
        "int8": Accuracy(5000, 95.64, 99.12, 95.66, 95.64, 95.64),
    }
    one, two = (
        {"fp32": Speed(1000 / fps, 9.5, fps, 100), "int8": Speed(1000 / fast, 2.9, fast, 100)}
        for fps, fast in ((112.0, 388.1), (188.0, 626.9))
    )
    given = {
        "name": "m",
        "summary": SUMMARY,
        "accuracy": accuracy,
        "topk_pct": {1: (95.71999, 95.63999), 2: (97.5, 97.25)},
        "speeds": {1: one, 2: two},
        **{key: [] for key in ("classes", "confusion", "activations", "latency_samples", "differing")},
        "provenance": Provenance("c.py", "mmcls", [], 13, "dotprod", {}, "test", 100),
        "n_differing": 0,
        "n_quantizable": 1,
        "fp32_layers": {},
        "analysis": None,
        "analysis_problem": "",
        "engines": [],
        "engine_layers": {},
        "max_drop_pt": 0.3,
        "peers": None,
        "peers_before": False,
        "devices": [],
        "devices_before": [],
        "runtimes": [],
    }
    return ReportData(**given | changes)


def test_a_figure_is_rounded_once():
    """388.1 / 112.0 is 3.4652, and its tile, from the 3.465 of summary.json, has 3.46: so does the table."""
    tile = f"{SUMMARY.speedup_1_thread:.2f}"
    table = {row[0]: row[1:] for row in overview(report_data())[1]}
    assert tile == "3.46"
    assert table["frames/s, 1 thread"] == ["112.0", "388.1", f"{tile} times as fast"]
    assert table["median, 1 thread"] == ["8.93 ms", "2.58 ms", f"{tile} times as fast"]
    assert table["90th percentile, 1 thread"][2] == "3.28 times as fast"
    assert table["frames/s, 2 threads"][2] == f"{SUMMARY.speedup_all_threads:.2f} times as fast"
    assert table["top-1"] == ["95.72 %", "95.64 %", "-0.08 ± 0.04 points"]
    assert table["top-2"] == ["97.50 %", "97.25 %", "-0.25 points"]
    assert table["agreement with fp32"] == ["", "99.88 ± 0.05 %", ""]
    assert table["size"] == ["44.7 MB", "11.2 MB", "3.98 times smaller"]


def test_one_thread_and_one_image():
    alone = replace(SUMMARY, threads_all=1, n_images=1, top1_drop_pt=0.0, top1_drop_se_pt=None)
    table = {row[0]: row[1:] for row in overview(report_data(summary=alone))[1]}
    assert table["top-1"][2] == "+0.00 points"
    assert [name for name in table if "thread" in name] == [
        "frames/s, 1 thread",
        "median, 1 thread",
        "90th percentile, 1 thread",
    ]


def test_classes_of_both_models_in_one_row():
    of = rows("model,class,precision_pct,recall_pct,f1_pct,support fp32,a,90,80,85,5 int8,a,91,81,86,5")
    assert classes(report_data(classes=of))[1] == [["a", "5", "90.00", "91.00", "80.00", "81.00", "85.00", "86.00"]]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder in git with the figures of one model, and how to write and commit others."""
    monkeypatch.chdir(tmp_path)
    for key, value in (("AUTHOR", "t"), ("COMMITTER", "t")):
        monkeypatch.setenv(f"GIT_{key}_NAME", value)
        monkeypatch.setenv(f"GIT_{key}_EMAIL", "t@t.invalid")
    subprocess.run(["git", "init", "-q", "."], check=True)
    (tmp_path / "metrics/m").mkdir(parents=True)

    def write(top1, method, commit=True, cpu="c", own="{}"):
        now = {
            "summary": {"int8_top1_pct": top1, "size_ratio": 4.0, "machine": {"cpu": cpu}},
            "fp32": {"top1_pct": 95.0, "f1_pct": 94.0},
            "int8": {"top1_pct": top1, "f1_pct": 93.0},
        }
        for file, content in now.items():
            (tmp_path / f"metrics/m/{file}.json").write_text(json.dumps(content))
        models = f"m: {{data: d, calibrate: {own}}}, other: {{data: {method}}}"
        params = f"models: {{{models}}}\ncalibrate: {{method: {method}}}\n"
        (tmp_path / "params.yaml").write_text(params)
        if commit:
            subprocess.run(["git", "add", "-A"], check=True)
            subprocess.run(["git", "commit", "-q", "-m", "x"], check=True)
        return now, params

    return write


def commit(ref):
    return (
        "commit "
        + subprocess.run(["git", "log", "-1", "--format=%h", ref], capture_output=True, text=True).stdout.strip()
    )


def test_the_workspace_against_the_last_commit(project):
    project(95.5, "kl")
    now, params = project(95.25, "mse", commit=False)
    result = history.last_change("m", now, params)
    assert (result.before, result.after) == (commit("HEAD"), "the workspace")
    assert result.rows == [
        ("calibrate.method", "kl", "mse", ""),
        ("summary: int8_top1_pct", "95.5", "95.25", "-0.25"),
    ]


def test_a_committed_workspace_against_the_commit_before(project):
    project(95.5, "kl")
    now, params = project(95.75, "kl")
    result = history.last_change("m", now, params)
    assert (result.before, result.after) == (commit("HEAD~1"), commit("HEAD"))
    assert result.rows == [("summary: int8_top1_pct", "95.5", "95.75", "+0.25")]


def test_another_machine_s_speeds_are_flagged(project):
    project(95.5, "kl")
    assert history.last_change("m", *project(95.25, "kl", commit=False)).other_machine == ""
    assert history.last_change("m", *project(95.25, "kl", commit=False, cpu="d")).other_machine == "cpu c, then d"


def test_an_entry_s_own_setting_is_what_counts(project):
    project(95.5, "kl", own="{method: mse}")
    assert history.last_change("m", *project(95.5, "aciq", commit=False, own="{method: mse}")).rows == []
    now, params = project(95.5, "aciq", commit=False, own="{method: minmax}")
    assert history.last_change("m", now, params).rows == [("calibrate.method", "mse", "minmax", "")]


def test_nothing_to_compare_with(project, tmp_path, monkeypatch):
    now, params = project(95.5, "kl", commit=False)
    assert history.last_change("m", now, params) is None
    project(95.5, "kl")
    assert history.last_change("m", now, params).rows == []
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert history.last_change("m", now, params) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes", "model,class,f1_pct\nfp32,cat,95\nint8,cat,94\n"),
        ("confusion", "actual,predicted,fp32,int8,change\ncat,cat,3,3,0\n"),
        ("activations", "layer,value,share_pct,threshold\nconv,0,2,1.5\n"),
        ("latency_samples", "threads,precision,latency_ms\n1,fp32,0.8\n1,int8,0.5\n"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, name, text):
    path = tmp_path / f"{name}.csv"
    path.write_text(text)
    assert len(collect._rows(path, "made")) == text.count("\n") - 1
    number = text.strip().rpartition(",")[2]
    for damaged in (
        *(f"{text[: -1 - len(number)]}{value}\n" for value in ("", "x", "nan", "1e999", "9" * 5000)),
        *(text.replace(",", ";"), f"{text}x\n", text.partition(",")[2], f'{text}"'),
    ):
        path.write_text(damaged)
        with pytest.raises(OctetError, match=rf"{name}\.csv: .*; made"):
            collect._rows(path, "made")
    path.write_bytes(text.encode() + b"\xe9")
    with pytest.raises(OctetError, match=rf"{name}\.csv: expected a table with the columns"):
        collect._rows(path, "made")


def test_a_table_without_one_of_the_models_is_named(tmp_path):
    tables = {"classes": "model,class,f1_pct\nfp32,a,1\n", "latency_samples": "threads,precision,latency_ms\n"}
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
        with pytest.raises(OctetError, match=rf"{name}\.csv: lacks rows; made"):
            collect._rows(tmp_path / f"{name}.csv", "made")
