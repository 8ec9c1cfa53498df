"""The report's figures and its comparison with git's history."""

import json
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from octet.report import figures, history, svg

pytestmark = pytest.mark.unit


def rows(text):
    head, *lines = [line.split(",") for line in text.split()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def texts(drawn):
    """The texts of a figure that is well-formed XML, in order."""
    return [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(drawn).iter() if node.tag.endswith("text")
    ]


def test_a_figure_takes_its_colours_and_its_font_from_the_page():
    made, axis = svg.figure(2, 1)
    axis.plot([0, 1], [0, 1], color=svg.INT8)
    axis.set_xlabel("x < y & z")
    drawn = svg.svg(made, "a line")
    assert "x < y & z" in texts(drawn)
    assert "var(--int8)" in drawn
    assert "currentColor" in drawn
    assert 'viewBox="0 0 144 72"' in drawn
    assert "#01010" not in drawn
    assert "DejaVu" not in drawn
    assert "metadata" not in drawn


def test_of_many_classes_those_that_differ_most():
    names = [f"class-{k}" for k in range(100)]
    table = [{"model": "fp32", "class": name, "f1_pct": "90"} for name in names]
    table += [{"model": "int8", "class": name, "f1_pct": "80" if k >= 70 else "90"} for k, name in enumerate(names)]
    assert [t for t in texts(figures.classes(table)) if t.startswith("class-")] == names[70:]


def test_confusions_in_the_order_of_the_classes():
    table = rows("actual,predicted,fp32,int8,change b,b,7,6,-1 b,a,0,1,1 a,a,5,5,0")
    assert texts(figures.confusion(table, "int8", ["b", "a"]))[:4] == ["b", "a", "predicted", "b"]
    cells = [t for t in texts(figures.confusion_change(table, ["b", "a"])) if t[0] in "+-"]
    assert cells == ["-1", "+1"]
    assert "var(--good)" not in figures.confusion_change(table, ["b", "a"])  # both changes are for the worse
    many = [{"actual": f"c{k}", "predicted": f"c{k % 7}", "fp32": "1", "int8": "1", "change": "0"} for k in range(200)]
    assert len([t for t in texts(figures.confusion(many, "fp32", [f"c{k}" for k in range(200)])) if t[0] == "c"]) == 60


def test_latency_names_the_medians():
    table = [{"threads": "1", "precision": p, "latency_ms": str(v)} for p, v in (("fp32", 9), ("fp32", 7), ("int8", 2))]
    shown = texts(figures.latency(table, 1))
    assert "8.00" in shown
    assert "2.00" in shown
    assert "fp32" in shown


def test_a_histogram_for_every_layer():
    table = rows("layer,value,share_pct,threshold a,0,90,1.5 a,1,9,1.5 a,2,1,1.5 b,0,100,3")
    found = dict(figures.activations(table, []))
    assert list(found) == ["a", "b"]
    assert "var(--bad)" in found["a"]
    assert "var(--bad)" not in found["b"]
    kept = dict(figures.activations(table, ["a"]))
    assert list(kept) == ["a (fp32)", "b"]
    assert kept["b"] == found["b"]
    assert "var(--bad)" not in kept["a (fp32)"]
    assert "var(--int8)" not in kept["a (fp32)"]


def test_every_layer_s_error_in_the_network_s_order():
    table = [
        {"layer": f"l{k}", "sqnr_db": 30.0 + k, "kl_alone": kl} for k, kl in enumerate((1e-6, 1e-2, 0.0, 1e-3, 1e-5))
    ]
    drawn = figures.layers(table)
    assert [t for t in texts(drawn) if t[0] == "l"] == ["l0", "l1", "l2", "l3", "l4"]
    assert drawn.count("var(--bad)") >= 3
    assert drawn.count("var(--int8)") >= 2


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder in git with the figures of one model, and how to write and commit others."""
    monkeypatch.chdir(tmp_path)
    for key, value in (("AUTHOR", "t"), ("COMMITTER", "t")):
        monkeypatch.setenv(f"GIT_{key}_NAME", value)
        monkeypatch.setenv(f"GIT_{key}_EMAIL", "t@t.invalid")
    subprocess.run(["git", "init", "-q", "."], check=True)
    (tmp_path / "metrics/m").mkdir(parents=True)

    def write(top1, method, commit=True):
        now = {
            "summary": {"int8_top1_pct": top1, "size_ratio": 4.0, "machine": {"cpu": "c"}},
            "fp32": {"top1_pct": 95.0, "f1_pct": 94.0},
            "int8": {"top1_pct": top1, "f1_pct": 93.0},
        }
        for file, content in now.items():
            (tmp_path / f"metrics/m/{file}.json").write_text(json.dumps(content))
        params = f"models: {{m: {{data: d}}, other: {{data: {method}}}}}\ncalibrate: {{method: {method}}}\n"
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
    found = history.last_change("m", now, params)
    assert (found.before, found.after) == (commit("HEAD"), "the workspace")
    assert found.rows == [
        ("calibrate.method", "kl", "mse", ""),
        ("summary: int8_top1_pct", "95.5", "95.25", "-0.25"),
    ]


def test_a_committed_workspace_against_the_commit_before(project):
    project(95.5, "kl")
    now, params = project(95.75, "kl")
    found = history.last_change("m", now, params)
    assert (found.before, found.after) == (commit("HEAD~1"), commit("HEAD"))
    assert found.rows == [("summary: int8_top1_pct", "95.5", "95.75", "+0.25")]


def test_nothing_to_compare_with(project, tmp_path, monkeypatch):
    now, params = project(95.5, "kl", commit=False)
    assert history.last_change("m", now, params) is None
    project(95.5, "kl")
    assert history.last_change("m", now, params).rows == []
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert history.last_change("m", now, params) is None
