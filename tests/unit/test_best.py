"""make best: the order of candidates, what is chosen of them, and what a search that goes on remembers."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from octet.best import experiments
from octet.best.candidates import Budget, Candidate, Space, fastest, next_candidate
from octet.best.command import MOST_MINUTES, _hold_out, find_best
from octet.best.experiments import check_git
from octet.best.front import choose, front, front_table
from octet.best.loss import Loss
from octet.best.plot import write
from octet.best.process import output
from octet.best.project_copy import ProjectCopy
from octet.best.record import Measurement, Record, alone
from octet.best.search import Search, Task
from octet.best.tuning import fitting_targets
from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.core.logits import kl_divergences_expected
from octet.data import cifar
from octet.data.preprocess import Preprocess
from octet.data.preprocess import save as save_preprocess
from octet.evaluate.predictions import Prediction
from octet.ncnn.net import loads

pytestmark = pytest.mark.unit

BUDGET = Budget("kl", 1e-4)
START = Candidate("dotprod")
SPACE = Space(START, ["dotprod", "ncnn2int8"], ["kl", "minmax"])
SPEEDUPS = {"dotprod": 2.0, "ncnn2int8": 1.5}


@dataclass(frozen=True)
class World:
    """What measuring would give: each change of the start adds its share to the loss; mixed precision costs speed."""

    shares: dict[str, float]
    speedups: dict[str, float]

    def measure(self, one: Candidate) -> Measurement:
        loss = 1.0 + self.shares.get(one.target, 0) + self.shares.get(one.method, 0)
        is_gptq = one.rounding == "gptq" or (one.rounding == "auto" and one.target != "ncnn2int8")
        loss += self.shares.get(one.weights, 0) + self.shares.get("gptq" if is_gptq else "nearest", 0)
        loss += self.shares.get("equalize", 0.0) if one.equalize else 0.0
        speedup = self.speedups[one.target] * (0.9 - 0.01 * loss if one.budget else 1)
        kl = one.budget.most if one.budget else 1e-4 * loss
        return Measurement(one, Loss(1000, 99.5, kl, 0.0), "k", 20, speedup=speedup)

    def search(self, space: Space = SPACE, budget: Budget = BUDGET, most: int = 99) -> dict[Candidate, Measurement]:
        measured: dict[Candidate, Measurement] = {}
        while len(measured) < most and (one := next_candidate(space, measured, budget)):
            assert one not in measured
            measured[one] = self.measure(one)
        return measured


def names(measured) -> list[str]:
    return [str(one) for one in measured]


def test_the_targets_come_first_then_one_change_at_a_time_and_those_that_win_together():
    measured = World(
        {"kl": -0.2, "nearest": -0.3, "minmax": 0.1, "mse-weights": 0.1, "equalize": 0.5}, SPEEDUPS
    ).search(budget=Budget("kl", 0.6e-4))
    assert names(measured) == [
        "dotprod-mse",
        "ncnn2int8-mse",
        "dotprod-mse-mixed-kl-6e-05",
        "dotprod-mse-mse-weights-mixed-kl-6e-05",
        "dotprod-kl-mixed-kl-6e-05",
        "dotprod-minmax-mixed-kl-6e-05",
        "dotprod-mse-equalized-mixed-kl-6e-05",
        "dotprod-mse-nearest-mixed-kl-6e-05",
        "dotprod-mse-mse-weights",
        "dotprod-kl",
        "dotprod-minmax",
        "dotprod-mse-equalized",
        "dotprod-mse-nearest",
        "dotprod-kl-nearest",
    ]
    assert str(fastest(measured, Budget("kl", 0.6e-4))) == "dotprod-kl-nearest"


def test_mixed_precision_starts_from_what_loses_least_and_a_slower_target_is_left_out():
    measured = World({"nearest": -0.2, "kl": 0.1, "minmax": 0.1, "mse": 0.0, "equalize": 0.1}, SPEEDUPS).search(
        budget=(budget := Budget("kl", 0.5e-4))
    )
    assert names(measured)[2] == "dotprod-mse-mixed-kl-5e-05"  # an answer soon
    changes = ("mse-mse-weights", "kl", "minmax", "mse-equalized", "mse-nearest")
    assert names(measured)[3:8] == [f"dotprod-{change}-mixed-kl-5e-05" for change in changes]
    assert names(measured)[8:] == [f"dotprod-{change}" for change in changes]  # when nothing else is left
    assert not [name for name in names(measured) if name.startswith("ncnn2int8-") and name != "ncnn2int8-mse"]
    assert fastest(measured, budget) == replace(START, rounding="nearest", budget=budget)


def test_mixed_precision_from_settings_that_lose_more_may_be_faster():
    """Which layers stay in fp32 depends on what they lose with these settings, and not all cost the same."""
    world, measured = World({"nearest": -0.2, "equalize": 0.2}, SPEEDUPS), {}
    while one := next_candidate(SPACE, measured, budget := Budget("kl", 0.5e-4)):
        is_cheaper = one.budget and one.equalize
        measured[one] = replace(world.measure(one), speedup=1.9 if is_cheaper else world.measure(one).speedup)
    assert str(fastest(measured, budget)) == "dotprod-mse-equalized-mixed-kl-5e-05"


def test_a_slower_target_is_searched_where_mixed_precision_costs_more():
    world = World({"dotprod": 1.0}, {"dotprod": 2.0, "ncnn2int8": 1.95})
    measured = world.search(budget=Budget("kl", 1.5e-4))
    assert fastest(measured, Budget("kl", 1.5e-4)) == Candidate("ncnn2int8")
    assert "dotprod-mse-mixed-kl-0.00015" in names(measured)


def test_once_the_fastest_target_keeps_the_budget_the_rest_of_the_time_goes_to_losing_less():
    measured = World({"nearest": -0.4}, SPEEDUPS).search(budget=Budget("kl", 2e-4))
    assert {one.target for one in measured if one != Candidate("ncnn2int8")} == {"dotprod"}
    assert not [one for one in measured if one.budget]
    assert choose(measured, Budget("kl", 2e-4)).candidate == replace(START, rounding="nearest")


def test_a_failed_candidate_is_passed_over():
    measured = {START: World({}, SPEEDUPS).measure(START)}
    measured[Candidate("ncnn2int8")] = Measurement(Candidate("ncnn2int8"), failure="why")
    mixed = replace(START, budget=Budget("kl", 1e-5))
    measured[mixed] = Measurement(mixed, failure="why")
    assert next_candidate(SPACE, measured, Budget("kl", 1e-5)) == replace(mixed, weights="mse")
    everything = {one: Measurement(one, failure="why") for one in map(Candidate, SPEEDUPS)}
    assert next_candidate(SPACE, everything, BUDGET) is None


def test_the_order_finds_at_least_what_any_of_the_combinations_would():
    """In worlds where what each change wins adds up; by exhaustion, not by the function's own reasoning."""
    random = np.random.Generator(np.random.PCG64(3))
    for _ in range(50):
        shares = {key: float(random.normal(0, 0.3)) for key in ("dotprod", "kl", "minmax", "gptq", "equalize")}
        world = World(shares, {"dotprod": 2.0, "ncnn2int8": float(random.uniform(1, 3))})
        budget = Budget("kl", float(random.uniform(0.2e-4, 2e-4)))
        found = world.search(budget=budget)
        every = [
            Candidate(target, method, "absmax", rounding, equalize, mixed)
            for target in SPACE.targets
            for method in ("mse", *SPACE.methods)
            for rounding in ("nearest", "gptq")
            for equalize in (False, True)
            for mixed in (None, budget)
        ]
        kept = [one for one in map(world.measure, every) if one.upper("kl") <= budget.most]
        chosen = fastest(found, budget)
        assert chosen
        assert found[chosen].speedup == max(one.speedup or 0 for one in kept)


def test_other_engines_are_tried_by_what_reaches_them():
    space = replace(SPACE, engines=["openvino"])
    world = World({"kl": -0.3}, SPEEDUPS | {"": 3.0})
    measured = world.search(space, budget := Budget("kl", 0.8e-4))
    of_engine = [name for name in names(measured) if name.startswith("openvino")]
    assert of_engine == ["openvino-mse", "openvino-mse-mse-weights", "openvino-kl", "openvino-minmax"]
    chosen = fastest(measured, budget)
    assert chosen == Candidate("", "kl", engine="openvino")
    assert chosen.settings(100) == {"calibrate": {"method": "kl", "weights": "absmax"}}
    measured = world.search(space, Budget("kl", 0.5e-4))  # no mixed precision there: ncnn's layers have to do
    assert fastest(measured, Budget("kl", 0.5e-4)).budget


def test_a_search_goes_on_wherever_it_stopped():
    world = World({"nearest": -0.2, "kl": 0.1}, SPEEDUPS)
    whole = world.search(budget=Budget("kl", 0.5e-4))
    for stop in range(len(whole)):
        measured = world.search(budget=Budget("kl", 0.5e-4), most=stop)
        while one := next_candidate(SPACE, measured, Budget("kl", 0.5e-4)):
            measured[one] = world.measure(one)
        assert list(measured) == list(whole)


def measurement(name: str, speedup: float, kl: float) -> Measurement:
    return Measurement(Candidate(name), Loss(1000, 99.0, kl, 0.0), name, 3, speedup=speedup)


def test_the_front_has_what_no_other_beats_in_both():
    rows = [("a", 3.0, 3e-4), ("b", 2.0, 1e-4), ("c", 1.9, 2e-4), ("d", 1.0, 1e-5), ("e", 3.0, 5e-4)]
    measured = {Candidate(name): measurement(name, speedup, kl) for name, speedup, kl in rows}
    measured[Candidate("f")] = Measurement(Candidate("f"), failure="why")
    assert [one.target for one in front(measured, "kl")] == ["a", "b", "d"]
    choice = choose(measured, Budget("kl", 2e-4))
    assert choice.candidate == Candidate("b")
    assert choice.why == (
        "b-mse: 3 of 6 candidates keep the budget of 0.0002 nats, and it is the fastest of these: 2.00 times as fast as fp32, "
        "up to 0.0001 nats on 1,000 hold-out images"
    )
    table = front_table(measured, Budget("kl", 2e-4), choice.candidate).splitlines()
    assert [line.split()[0] for line in table[2:]] == ["a-mse", "b-mse", "d-mse"]
    assert table[2].endswith("over the budget")
    assert table[3].endswith("chosen")


def test_of_those_as_fast_the_one_that_loses_least_is_chosen():
    measured = {
        Candidate(name): measurement(name, speedup, kl) for name, speedup, kl in [("a", 2.0, 3e-4), ("b", 1.99, 1e-4)]
    }
    choice = choose(measured, Budget("kl", 1e-3))
    assert choice.candidate == Candidate("b")
    assert "2 of 2 candidates keep the budget" in choice.why
    assert "of the 2 fastest, equal within 1 %, it loses least" in choice.why
    assert "1 of 2 candidates keeps the budget" in choose(measured, Budget("kl", 2e-4)).why
    assert choose(measured, Budget("kl", 1e-5)).candidate is None


def test_a_choice_without_an_int8_layer_says_so():
    """As of a network whose layers ncnn has no int8 for, or where mixed precision leaves all of them in fp32."""
    measured = {START: replace(measurement("a", 1.01, 0.0), candidate=START, n_int8=0)}
    assert choose(measured, BUDGET).why.endswith(
        " on 1,000 hold-out images. None of its layers is int8: docs/accuracy.md says why a layer stays in fp32"
    )
    assert "int8" not in choose({START: measurement("a", 1.01, 0.0)}, BUDGET).why


def test_a_record_is_read_back_and_only_what_counts_today(tmp_path):
    record, mixed = Record(), replace(START, budget=Budget("top1", 0.1))
    record.measurements["old"] = Measurement(START, Loss(10, 99.0, 1e-3, 1e-4), "k0", 5)
    record.measurements[f"new-{mixed}"] = Measurement(mixed, Loss(10, 99.0, 1e-3, 1e-4, 0.1, 0.05), "k1", 5)
    record.measurements[f"new-{Candidate('x')}"] = Measurement(Candidate("x"), failure="why")
    record.speedups["here"] = {"k0": 2.0, "k1": 1.5}
    record.save(tmp_path / "best.json")
    again = Record.load(tmp_path / "best.json")
    assert again == record
    today = again.on("here", lambda one: f"new-{one}")
    assert list(today) == [mixed, Candidate("x")]
    assert today[mixed].speedup == 1.5
    assert today[Candidate("x")].speedup is None
    assert list(again.on("elsewhere", lambda one: f"new-{one}")) == [Candidate("x")]
    record.measurements[f"new-{mixed}"] = Measurement(mixed, kernels="k1")  # that failed without a word
    assert record.on("here", lambda one: f"new-{one}")[mixed].speedup is None
    assert Record.load(tmp_path / "none.json") == Record()
    for damaged in ('{"measurements": 3}', '{"speedups": {"here": {"k0": -2.0}}}'):
        (tmp_path / "best.json").write_text(damaged)
        with pytest.raises(
            OctetError, match=r"best.json: expected the keys .*; remove it, and make best measures anew"
        ):
            Record.load(tmp_path / "best.json")


def test_two_searches_do_not_write_one_record(tmp_path):
    path = tmp_path / "net" / "best.json"
    with (
        alone(path),
        pytest.raises(OctetError, match=r"best.json: another make best of this model is at work"),
        alone(path),
    ):
        pass
    with alone(path):
        assert Record.load(path) == Record()


def test_the_loss_of_pairs_is_their_mean_with_twice_its_error_to_spare():
    right, wrong = Prediction("1", "a", ["a", "b"], [0.9, 0.1]), Prediction("1", "a", ["b", "a"], [0.6, 0.4])
    loss = Loss.of([(right, right), (right, wrong), (right, right), (right, right)])
    assert (loss.n_images, loss.agreement_pct, loss.drop_pt) == (4, 75.0, 25.0)
    assert loss.upper("top1") == pytest.approx(25 + 2 * 50 / 2, rel=1e-5)  # 50: with n - 1, as everywhere
    kl = float(kl_divergences_expected(np.log([[0.9, 0.1]]), np.log([[0.4, 0.6]]))[0])  # as mixed precision has it
    assert loss.kl_nats == pytest.approx(kl / 4, rel=1e-5)
    assert Loss.of([(right, wrong)]).kl_se_nats == 0  # of one image there is none
    blind = Loss.of([(replace(right, actual=""), replace(right, actual=""))])
    with pytest.raises(OctetError, match="give KL"):
        blind.upper("top1")


def test_profiles_of_other_models_are_no_targets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/targets").mkdir(parents=True)
    net = loads("7767517\n2 2\nInput in0 0 1 in0\nInnerProduct fc 1 1 in0 out0 0=2 1=0 2=6\n", bytes(4 + 4 * 6))
    for name, layer in (("mine", "fc"), ("other", "conv_3")):
        Path(f"configs/targets/{name}.yaml").write_text(f"base: dotprod\nlayers:\n  {layer}: {{int8: false}}\n")
    Path("configs/targets/same.yaml").write_text("base: dotprod\nlayers: {}\n")
    Path("configs/targets/damaged.yaml").write_text("base: [")
    assert fitting_targets(net, "ncnn2int8") == ["ncnn2int8", "dotprod", "mine"]


def test_the_plot_reads_in_light_and_dark(tmp_path):
    measured = {
        Candidate(name): measurement(name, speedup, kl) for name, speedup, kl in [("a", 3.0, 3e-4), ("b", 2.0, 1e-5)]
    }
    write(measured, Budget("kl", 1e-4), Candidate("b"), "net", tmp_path / "best.svg")
    text = (tmp_path / "best.svg").read_text()
    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox=')
    assert "prefers-color-scheme: dark" in text
    assert "b-mse" in text
    assert "budget 0.0001 nats" in text
    assert ">10⁻⁴<" in text
    assert "mathdefault" not in text


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    return params.load().models["resnet18_digits32"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"drop": 0.1, "kl": 1e-4}, "give one of them"),
        ({"drop": 0.0}, "DROP=0: expected a number above 0"),
        ({"kl": float("nan")}, "KL=nan: expected a number above 0"),
        ({"kl": 1.7e308}, r"KL=1.7e\+308: expected a number above 0 and up to 100"),
        ({"minutes": -1.0}, "MINUTES=-1: expected a number of minutes above 0"),
        ({"minutes": 1e308}, r"MINUTES=1e\+308: expected a number of minutes above 0 and up to 100,000"),
        ({"n_images": 0}, "IMAGES=0: expected 1 at least"),
        ({"device": "nosuch"}, "nosuch"),
        ({"name": "resnet"}, "models.resnet: no such model. Did you mean 'resnet18_digits32'"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(project, given, message):
    arguments = {
        "name": "resnet18_digits32",
        "drop": None,
        "kl": None,
        "minutes": 1.0,
        "n_images": None,
        "device": None,
    }
    with pytest.raises(OctetError, match=message):
        find_best(**(arguments | given), folder=Path("reports"))


@pytest.mark.parametrize(
    ("wanted", "most", "advice"),
    [
        (20, 5.0, "give IMAGES=40 or more, a larger DROP, or KL"),
        (5000, 1.0, "already; give a larger DROP, or KL"),
        (5000, 1e-320, "already; give a larger DROP, or KL"),
    ],
)
def test_too_few_hold_out_images_for_a_budget(project, wanted, most, advice):
    """More can be asked for where there are more: half of the training split."""
    _small_data_set()
    with pytest.raises(OctetError, match=advice):
        _hold_out("resnet18_digits32", project, Budget("top1", most), wanted)


def _small_data_set():
    steps = Preprocess("RGB", [128.0] * 3, [64.0] * 3, [32, 32], ["a", "b"])
    labels = np.arange(100, dtype=np.uint8) % 2
    pixels = np.zeros((100, 3, 32, 32), np.uint8)
    cifar.write(Path("data/digits32"), (pixels, labels), (pixels, labels), steps.classes)
    path = ModelFolder("resnet18_digits32").preprocess
    path.parent.mkdir(parents=True)
    save_preprocess(steps, path)


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        ({"calibrate": {"images": 80}}, 20),
        ({"calibrate": {"images": 256}}, 40),
        ({"calibrate": {"images": 80, "method": "file"}}, 4),
        ({"calibrate": {"images": 60}, "rounding": {"images": 70}}, 10),
        ({"calibrate": {"images": 60}, "rounding": {"images": 70, "method": "nearest"}}, 10),
        ({"calibrate": {"images": 60}, "rounding": {"images": 60, "method": "finetune"}}, 0),
    ],
)
def test_a_note_says_how_many_of_those_that_judge_int8_learns_from(project, capsys, settings, both):
    _small_data_set()
    path = Path("params.yaml")
    values = yaml.load(path, "") | {}
    for section, given in settings.items():
        values[section] |= given
    path.write_text(json.dumps(values))
    _hold_out("resnet18_digits32", params.load().models["resnet18_digits32"], Budget("kl", 1e-4), 40)
    note = f"IMAGES: int8 learns from {both} of these 40 hold-out images, too, since the training split has 100"
    assert (note in capsys.readouterr().err) == bool(both)


def test_fine_tuning_does_not_learn_from_those_that_judge():
    assert Candidate("dotprod", rounding="finetune").settings(5000)["rounding"] == {
        "method": "finetune",
        "finetune": {"hold_out": 5000},
    }


def test_the_reason_of_a_failure_is_the_stage_s_own():
    output = "line\nerror: ncnn2int8 cannot do this; take dotprod\nERROR: failed to reproduce 'quantize@net'\n"
    assert experiments._reason(output) == "ncnn2int8 cannot do this; take dotprod"
    assert experiments._reason("ERROR: no such stage\n") == "ERROR: no such stage"
    crashed = (
        "Traceback (most recent call last):\nValueError: no stage should\nERROR: failed to reproduce 'round@net'\n"
    )
    assert experiments._reason(crashed) == "ValueError: no stage should"
    assert experiments._reason("error:\n") == "error:"


def test_an_experiment_may_take_longer_than_the_system_waits_at_once():
    assert output([sys.executable, "-c", "print(1)"], Path(), 60.0 * MOST_MINUTES) == "1\n"


COMMIT = ("-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "-qam", "all")


def test_an_experiment_that_is_ended_leaves_changed_files_as_they_were(project, monkeypatch):
    """With a DVC that takes params.yaml away and does not come to its end."""
    experiments.git("init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    Path("dvc").mkdir()
    Path("dvc/__init__.py").touch()
    Path("dvc/__main__.py").write_text(
        "import time, os\nos.rename('params.yaml', 'away')\nprint('x', flush=True)\ntime.sleep(60)\n"
    )
    experiments.git("add", ".")
    experiments.git(*COMMIT)
    Path("params.yaml").write_text(mine := Path("params.yaml").read_text() + "# mine\n")
    copy = ProjectCopy()
    with pytest.raises(experiments.OutOfTime):
        experiments.run(copy, "resnet18_digits32", {}, experiments.STAGES, "label", [], seconds=3)
    assert (copy.folder / "away").read_text().endswith("# mine\n")
    assert Path("params.yaml").read_text() == mine
    copy.remove()
    assert not copy.folder.exists()
    assert experiments.git("status", "--short").text == " M params.yaml\n"


PIPELINE = """
stages:
  evaluate_int8:
    foreach: ${models}
    do:
      cmd: python judge.py
      params:
        - models.${key}
      deps: [judge.py, images, profiles]
      outs:
        - models/${key}/result
"""
JUDGE = """
import os, sys
target = open('params.yaml').read().split('target: ')[1].split()[0]
if target == 'bad':
    sys.exit('error: bad cannot be had')
folder = 'models/' + os.environ['DVC_STAGE'].rpartition('@')[2]
os.makedirs(folder, exist_ok=True)
open(folder + '/result', 'w').write(f"{target} {open('images').read()} {sorted(os.listdir('profiles'))}")
"""


def judged_project(folder: Path, monkeypatch, model: str = "net") -> None:
    """A DVC project in a folder of git's work tree, in which the process is from now on."""
    (folder / "project" / "profiles").mkdir(parents=True)
    monkeypatch.chdir(folder / "project")
    experiments.git("init", "-q", "..")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--subdir"], check=True)
    contents = {
        "dvc.yaml": PIPELINE,
        "judge.py": JUDGE,
        "images": "1",
        "profiles/a": "",
        "gone": "",
        ".gitignore": "/models",
        "params.yaml": f"models:\n  '{model}':  # mine\n    target: dotprod\n",
    }
    for name, content in contents.items():
        Path(name).write_text(content)
    experiments.git("add", ".")
    experiments.git(*COMMIT)


def test_experiments_run_in_one_copy_with_what_is_changed_and_are_handed_over(tmp_path, monkeypatch):
    """With the project in a folder of git's work tree, a file that git does not have, and one that fails."""
    judged_project(tmp_path, monkeypatch)
    ProjectCopy().remove()  # of what is as in the commit
    Path("images").write_text("2")
    Path("gone").unlink()
    Path("profiles/b").touch()
    before = experiments.git("status", "--short").text
    copy = ProjectCopy()

    def result(target: str, *copied: str) -> str:
        given = ({"target": target}, ["evaluate_int8"], f"best-{target}", list(map(Path, copied)))
        there = experiments.run(copy, "net", *given, seconds=60)
        return (there.root / "models/net/result").read_text() if there else "is there"

    assert result("one") == "one 2 ['a']"
    assert result("two", "profiles/b") == "two 2 ['a', 'b']"
    assert result("three") == "three 2 ['a']"
    assert result("one") == "is there"
    with pytest.raises(experiments.Failed, match="^bad cannot be had$"):
        result("bad")
    assert result("four") == "four 2 ['a']"
    left = Path(".dvc/tmp/octet-best-killed")
    left.mkdir()
    (left / "file").touch()
    ProjectCopy().remove()
    assert not left.exists(), "a copy of a search that was killed"
    assert copy.folder.exists(), "a copy in which a search is at work"
    copy.remove()
    assert experiments.git("status", "--short").text == before
    listed = experiments.git("for-each-ref", "--format=%(refname)", "refs/exps").text.split()
    assert [name.rpartition("/")[2] for name in listed] == ["best-four", "best-one", "best-three", "best-two"]
    assert {name.split("/")[2] + name.split("/")[3] for name in listed} == {
        experiments.git("rev-parse", "HEAD").text.strip()
    }
    tree = experiments.git("ls-tree", "--name-only", listed[0]).text.split()
    assert "gone" not in tree
    with pytest.raises(OctetError, match="'dvc exp remove best-one', and make best runs it again"):
        experiments.fetch("net", "best-one", "ncnn", tmp_path / "scratch")  # DVC has no such files


@pytest.mark.parametrize("model", ["3d_net", "2024", "true", "net-4"])
def test_settings_reach_an_experiment_whatever_the_model_is_called(tmp_path, monkeypatch, model):
    """By what DVC says of the experiment, and what `dvc exp apply` would bring."""
    judged_project(tmp_path, monkeypatch, model)
    copy = ProjectCopy()
    settings = {"target": "2024", "calibrate": {"method": "kl"}, "engines": ["ncnn"], "equalize": True}
    there = experiments.run(copy, model, settings, ["evaluate_int8"], "label", [], seconds=60)
    assert (there.root / "models" / model / "result").read_text().startswith("'2024' 1")
    copy.remove()
    shown = json.loads(
        subprocess.run(
            [sys.executable, "-m", "dvc", "exp", "show", "--json"], capture_output=True, check=True, text=True
        ).stdout
    )
    experiment = next(revision for line in shown for one in line["experiments"] or [] for revision in one["revs"])
    assert experiment["name"] == "label"
    assert experiment["data"]["params"]["params.yaml"]["data"]["models"] == {model: settings}
    reference = experiments.git("for-each-ref", "--format=%(refname)", "refs/exps").text.split()[0]
    assert "# mine" in experiments.git("show", f"{reference}:./params.yaml").text


def test_settings_of_a_section_join_those_that_are_there(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("models:\n  net:\n    calibrate:\n      images: 3 # few\n      method: mse\n    rounding:\n")
    experiments._write_settings(path, "net", {"calibrate": {"method": "kl"}, "rounding": {"method": "auto"}})
    assert path.read_text() == (
        "models:\n  net:\n    calibrate:\n      images: 3 # few\n      method: kl\n    rounding:\n      method: auto\n"
    )


def test_experiments_in_a_shallow_clone_with_what_is_changed(tmp_path, monkeypatch):
    judged_project(tmp_path / "whole", monkeypatch)
    Path("gone").unlink()
    experiments.git(*COMMIT)
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{tmp_path}/whole", tmp_path / "shallow"], check=True)
    monkeypatch.chdir(tmp_path / "shallow" / "project")
    assert experiments.git("rev-parse", "--is-shallow-repository").text == "true\n"
    Path("images").write_text("2")
    copy = ProjectCopy()
    there = experiments.run(copy, "net", {"target": "one"}, ["evaluate_int8"], "label", [], seconds=60)
    assert (there.root / "models/net/result").read_text() == "one 2 ['a']"
    copy.remove()
    reference = experiments.git("for-each-ref", "--format=%(refname)", "refs/exps").text.split()[0]
    assert experiments.git("show", f"{reference}:./images").text == "2"
    assert experiments.git("rev-list", "--count", reference).text == "2\n"


def test_a_copy_that_git_cannot_make_is_not_left(tmp_path, monkeypatch):
    judged_project(tmp_path, monkeypatch)
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "config").write_text("[")
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))  # whose files each new repository gets
    with pytest.raises(OctetError, match=r"^make best: git (init|clone): "):
        ProjectCopy()
    assert not list(Path(".dvc/tmp").glob("octet-best-*"))


INCOMPLETE = "  new:\n    preprocess: configs/models/new one.yaml\n  resnet18_digits32:"


def test_what_experiments_need_of_git(project, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    with pytest.raises(
        OctetError, match="not in a git work tree. Its candidates are DVC experiments, which hang on a commit"
    ):
        check_git("net", project)
    experiments.git("init", "-q")
    with pytest.raises(OctetError, match="make best: no commit"):
        check_git("net", project)
    experiments.git("add", "params.yaml")
    experiments.git(*COMMIT)
    elsewhere = project.model_copy(update={"data": "/data", "checkpoint": "/mine.pth"})
    check_git("net", elsewhere)
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("  resnet18_digits32:", INCOMPLETE, 1))
    Path("configs/models").mkdir(parents=True)
    Path("configs/models/new one.yaml").write_text("{channel_order: RGB, mean: 127.5, std: 64}")
    with pytest.raises(OctetError, match=r"lacks it: git add 'configs/models/new one.yaml'$"):
        check_git("net", elsewhere)
    experiments.git("add", "configs")
    check_git("net", elsewhere)
    with pytest.raises(OctetError, match="make track MODEL=net"):
        check_git("net", project.model_copy(update={"data": "data/mine", "checkpoint": "mine.pth"}))


def test_what_another_engine_s_candidate_leaves_to_the_entry_is_part_of_its_experiment_s_name(project):
    """A record of the entry's rounding or plan before is not taken for today's."""

    def name(entry: params.Model, candidate: Candidate) -> str:
        search = object.__new__(Search)  # without a model's files
        search.task, search._inputs = Task("net", entry, Budget("kl", 1e-4), 1, []), "inputs"
        return search.experiment(candidate)

    rounded = project.model_copy(update={"rounding": project.rounding.model_copy(update={"method": "gptq"})})
    engine, ncnn = Candidate("", engine="onnxruntime"), Candidate("dotprod")
    assert name(project, engine) != name(rounded, engine)
    assert name(project, ncnn) == name(rounded, ncnn)
