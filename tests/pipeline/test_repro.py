"""The real pipeline through real `dvc repro`, on a tiny model."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from octet.graph.layers import is_int8, quantizable
from octet.ncnn.engine import Engine
from octet.ncnn.net import load_net
from tests.pipeline.project import Project

pytestmark = pytest.mark.pipeline

INT8 = ["round", "analyze", "plan", "quantize", "evaluate_int8", "benchmark", "summary"]
ALL = ["settings", "export", "convert", "calibrate", "qdq", "evaluate_fp32", "evaluate_engines", *INT8]
SAME = [f"models/tiny/{name}" for name in ("fp32.onnx", "preprocess.json", "fp32.param", "fp32.bin")]
SAME += [f"models/tiny/{name}" for name in ("int8.table", "ranges.json", "rounding.npz", "plan.json")]
SAME += [f"models/tiny/{name}" for name in ("int8.param", "int8.bin")]
SAME += [
    f"metrics/tiny/{name}"
    for name in ("analyze.json", "fp32.json", "int8.json", "fp32.predictions.csv", "int8.predictions.csv")
]
SAME += [f"metrics/tiny/{name}" for name in ("activations.csv", "classes.csv", "confusion.csv", "differ.png")]


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished run, to change."""
    return finished.copy(tmp_path / "p")


def test_everything_is_there(finished):
    assert sorted(finished.ran) == sorted(["data/dvc.yaml:digits32", *ALL])
    project, folder = finished, finished.folder
    net = load_net(folder / "models/tiny/int8.param", folder / "models/tiny/int8.bin")
    layers = quantizable(net.layers)
    assert len(layers) == 21
    fp32 = ["conv_25", "conv_30", "conv_35", "convrelu_0", "convrelu_1", "linear_38"]
    assert sorted(layer.name for layer in layers if not is_int8(layer)) == fp32
    analyzed = json.loads((folder / "metrics/tiny/analyze.json").read_text())
    assert [row["layer"] for row in analyzed["layers"]] == [layer.name for layer in layers if is_int8(layer)]
    assert json.loads((folder / "models/tiny/plan.json").read_text()) == {"keep_fp32": []}
    summary = json.loads((folder / "metrics/tiny/summary.json").read_text())
    for key in ("top1_drop_pt", "top1_drop_se_pt", "agreement_pct", "speedup_1_thread", "size_ratio"):
        assert key in summary
    assert summary["n_images"] == 500
    assert summary["agreement_pct"] > 80
    for precision in ("fp32", "int8"):
        figures = json.loads((folder / f"metrics/tiny/{precision}.json").read_text())
        assert {"top1_pct", "top5_pct", "n_images"} <= figures.keys()
        engine = Engine(folder / f"models/tiny/{precision}.param", folder / f"models/tiny/{precision}.bin")
        assert engine.output == net.output
    assert project.git("status", "--porcelain") == "", "git sees what DVC keeps"


def test_a_second_run_does_nothing(project):
    assert project.repro() == []
    assert "up to date" in project.dvc("status")


def test_the_stage_leaves_the_table_to_the_command(project):
    """So that `make quantize`, which runs both, prints it once."""
    assert project.stage("summary").stdout.startswith("tiny: int8 loses ")
    assert project.stage("summary").stdout.count("\n") == 1
    assert "FPS, 1 thread" in project.python("-m", "octet", "summary").stdout


def test_plots_metrics_and_dag(project):
    assert "top1_pct" in project.dvc("metrics", "show")
    assert "quantize@tiny" in project.dvc("dag")
    project.dvc("plots", "show", "--out", "plots")
    page = (project.folder / "plots/index.html").read_text()
    for plot in ("fp32_predictions", "int8_predictions", "latency_samples", "activations", "classes", "confusion"):
        assert f"metrics_tiny_{plot}_csv" in page
    assert "metrics/tiny/differ.png" in page
    assert "metrics_tiny_analyze_json" in page


def test_nothing_waits_for_what_explains(project):
    project.edit("params.yaml", "analyze:\n  images: 16", "analyze:\n  images: 8")
    assert project.repro() == ["settings", "analyze"]


def test_another_method_reruns_int8_only(project):
    project.edit("params.yaml", "method: minmax", "method: kl")
    before = project.files("metrics/tiny/fp32.json", "models/tiny/fp32.bin")
    assert sorted(project.repro()) == sorted(["settings", "calibrate", "qdq", *INT8])
    assert project.files(*before) == before
    changed = project.dvc("metrics", "diff")
    assert "metrics/tiny/int8_vs_fp32.json" in changed
    assert not any(word in changed for word in ("fps", "speedup", "summary.json", "latency.json"))


def test_a_kept_layer_reruns_int8(project):
    project.edit("params.yaml", "keep_fp32: []", "keep_fp32: [conv_37]")
    assert sorted(project.repro()) == sorted(["settings", "qdq", *INT8])
    net = load_net(project.folder / "models/tiny/int8.param", project.folder / "models/tiny/int8.bin")
    assert not is_int8(net.layer("conv_37"))
    assert is_int8(net.layer("conv_34"))


def test_parameters_that_no_stage_reads(project):
    """`settings` looks at the whole entry, in a moment, and finds that nothing changed for the other stages."""
    project.edit("params.yaml", "max_drop_pt: 100", "max_drop_pt: 0")
    assert project.repro() == ["settings"]


@pytest.mark.parametrize(("most", "status"), [(0.2, 1), (0.3, 0)])
def test_the_gate(project, most, status):
    """A drop of 0.25 points, whatever the tiny network's is."""
    summary = project.folder / "metrics/tiny/summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"top1_drop_pt": 0.25}))
    project.dvc("commit", "-f", "summary@tiny")
    project.edit("params.yaml", "max_drop_pt: 100", f"max_drop_pt: {most}")
    check = project.python("-m", "octet", "check", ok=False)
    assert check.returncode == status
    assert f"tiny: int8 loses +0.25 points of top-1, allowed are {most:.2f}" in check.stderr
    assert "Traceback" not in check.stderr


@pytest.mark.slow
def test_figures_of_the_model_before(project):
    """`dvc repro` of one stage leaves them: no command shows, judges or ships them as the new model's."""
    project.edit("params.yaml", "method: minmax", "method: mse")
    project.repro("quantize@tiny")
    for command in ("check", "dump", "report", "package"):
        done = project.python("-m", "octet", command, ok=False)
        assert done.returncode == 1
        assert "dvc.lock: the pipeline did not run to its end for tiny" in done.stderr, command
    assert "tiny: these figures are not of its files. dvc.lock: " in project.python("-m", "octet", "summary").stdout
    project.repro("summary@tiny")  # for which `analyze` need not run
    for command in ("check", "dump", "summary", "package", "report"):
        assert "not of its files" not in project.python("-m", "octet", command).stdout
    page = (project.folder / "reports/tiny/report.html").read_text()
    assert "analyze.json</code> is not of these files. dvc.lock: " in page
    assert "Signal to quantization noise (SQNR) of the layer" not in page


def test_changed_library_code_reruns_the_stages_that_use_it(project):
    with (project.folder / "octet/summary/summary.py").open("a") as file:
        file.write("\n# changed\n")
    assert project.repro() == ["summary"]
    with (project.folder / "octet/evaluate/evaluate.py").open("a") as file:
        file.write("\n# changed\n")
    assert sorted(project.repro()) == ["evaluate_engines", "evaluate_fp32", "evaluate_int8", "summary"]


def test_an_experiment(project):
    """DVC and the report show how it differs from the last commit."""
    project.dvc("exp", "run", "-n", "with-mse", "-S", "calibrate.method=mse")
    assert "mse" in project.dvc("exp", "show", "--csv")
    project.python("-m", "octet", "report")
    page = (project.folder / "reports/tiny/report.html").read_text()
    cells = [cell.replace("\u200b", "") for cell in re.findall("<td>(.*?)</td>", page)]
    assert "with-mse" in cells
    assert cells[cells.index("calibrate.method") + 1 :][:2] == ["minmax", "mse"]


@pytest.mark.slow
def test_a_killed_run_recovers(project):
    """Killed at once, together with the stage that runs: the next `dvc repro` goes on and gives the same files."""
    wanted = project.files(*SAME)
    for name in ("fp32.param", "int8.table"):
        path = project.folder / "models/tiny" / name
        path.unlink()
        for entry in (project.folder / ".dvc/cache").rglob("*"):
            if entry.is_file() and entry.read_bytes() == wanted[f"models/tiny/{name}"]:
                entry.unlink()
        run = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "-f"],
            cwd=project.folder,
            env=project.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert path.exists()
    project.repro()
    assert project.files(*SAME) == wanted
    assert not list((project.folder / "models").rglob("*.partial"))


def test_another_clone_gives_the_same_bytes(finished, tmp_path):
    other = Project.make(tmp_path)
    other.repro()
    assert other.files(*SAME) == finished.files(*SAME)


@pytest.mark.slow
def test_one_image(finished, tmp_path):
    """Its drop has no standard error, which no file, table or page makes up."""
    project = finished.copy(tmp_path / "p")
    project.edit("params.yaml", "limit: null", "limit: 1")
    assert sorted(project.repro()) == ["evaluate_engines", "evaluate_fp32", "evaluate_int8", "settings", "summary"]
    summary = json.loads((project.folder / "metrics/tiny/summary.json").read_text())
    assert (summary["n_images"], summary["top1_drop_se_pt"]) == (1, None)
    shown = project.python("-m", "octet", "summary").stdout
    assert "1 image; int8 agrees with fp32 on" in shown
    assert "±" not in shown
    assert "top1_drop_pt" in project.dvc("metrics", "show")
    assert "top1_drop_se_pt" in project.dvc("metrics", "diff")
    for command in ("check", "report", "package"):
        project.python("-m", "octet", command)
