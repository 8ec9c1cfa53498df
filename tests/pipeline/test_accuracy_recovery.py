"""What wins accuracy back, through the stages: GPTQ, equalization, mixed precision under a budget."""

import json
import re

import pytest

from octet.graph.layers import is_int8
from octet.ncnn.net import load_net
from octet.quantize.gptq_weights import load as load_gptq_weights

pytestmark = pytest.mark.pipeline


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "p")


def read(project, name):
    return json.loads((project.folder / name).read_text())


def test_each_runs_where_it_is_on_and_its_layers_arrive(project):
    plain = read(project, "metrics/tiny/analyze.json")["model"]["kl"]
    project.edit("params.yaml", "method: nearest", "method: gptq")
    project.edit("params.yaml", "equalize: false", "equalize: true")
    project.edit("params.yaml", "metric: none\n  budget: 0.001", f"metric: kl\n  budget: {plain / 20}")
    ran = project.repro()
    assert "evaluate_fp32" not in ran
    assert {"calibrate", "round", "analyze", "plan", "quantize"} <= set(ran)
    assert read(project, "metrics/tiny/analyze.json")["model"]["kl"] < plain, "GPTQ alone"
    chosen, plan = (
        load_gptq_weights(project.folder / "models/tiny/rounding.npz"),
        read(project, "models/tiny/plan.json"),
    )
    assert len(chosen) == 15, "the int8 layers"
    assert plan["planned"] <= plain / 20 < plan["plain"]
    net = load_net(project.folder / "models/tiny/int8.param", project.folder / "models/tiny/int8.bin")
    assert plan["keep_fp32"]
    assert not any(is_int8(net.layer(name)) for name in plan["keep_fp32"])
    taken = next(name for name in chosen if name not in plan["keep_fp32"])
    assert (net.layer(taken).weights["weight"].data == chosen[taken].weight).all()
    files = [f"models/tiny/{name}" for name in ("rounding.npz", "plan.json", "int8.param", "int8.bin")]
    before = project.files(*files)
    for stage in ("round", "analyze", "plan", "quantize"):
        assert project.stage(stage).returncode == 0
    assert project.files(*files) == before, "the same bytes twice"


@pytest.mark.parametrize(
    ("old", "new", "stage", "message"),
    [
        ("  budget: ", "  budget: 0 # ", "plan", "mixed_precision.budget: 0 nats cannot be kept on 50 hold-out"),
        ("keep_fp32: []", "keep_fp32: [linear_3]", "analyze", "'linear_3' is no layer .*Did you mean 'linear_38'"),
    ],
)
def test_a_user_s_mistake(project, old, new, stage, message):
    project.edit("params.yaml", "metric: none", "metric: kl")
    project.edit("params.yaml", old, new)
    done = project.stage(stage)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr


def test_fewer_hold_out_images_than_asked_for(project):
    """Half of the split is taken, and it is said."""
    project.edit("params.yaml", "metric: none", "metric: kl")
    project.edit("params.yaml", "  images: 50", "  images: 300")
    done = project.stage("plan")
    assert done.returncode == 0, done.stderr
    said = "note: mixed_precision.images: 300 images asked for, half of the training split is 250; all are taken"
    assert done.stderr.count(said) == 1
