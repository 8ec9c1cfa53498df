"""What a file says never reaches a shell: texts that a shell would run, in every place, by plain `dvc repro` and `dvc exp run`."""

import json
import shutil

import pytest

from tests.pipeline.project import PARAMS, Project

pytestmark = pytest.mark.pipeline

TEXTS = [
    "x; touch ran #",
    "x' ; touch ran; '",
    '"; touch ran; "',
    "$(touch ran)",
    "`touch ran`",
    "a\ntouch ran\n",
    "x|touch ran",
]
SHELL = "x; touch ran # $(touch ran) `touch ran` ' | touch ran"  # a file's name may be so


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The project with its data set drawn."""
    project = Project.make(tmp_path_factory.mktemp("injection"))
    project.dvc("repro", "data/dvc.yaml")
    return project


@pytest.fixture
def project(small, tmp_path):
    """A copy for one test to spoil; afterwards no file is there that a shell would have made."""
    copy = small.copy(tmp_path / "project")
    yield copy
    assert not list(tmp_path.rglob("ran"))


def test_models_of_such_names_are_refused(project):
    entry = PARAMS[PARAMS.index("    config") : PARAMS.index("target")]
    models = "models:\n" + "".join(f"  {json.dumps(text)}:\n{entry}" for text in [*TEXTS, "../../x", "a b", "a.b"])
    (project.folder / "params.yaml").write_text(models + PARAMS[PARAMS.index("target") :])
    done = project.python("-m", "dvc", "repro", "--keep-going", ok=False)
    assert done.returncode != 0
    assert done.stdout.count("Running stage 'settings@") >= len(TEXTS), "of a quote or a dot DVC itself makes an error"
    assert 'params.yaml: models.$(touch ran): "$(touch ran)" is no usable name.' in done.stderr
    assert 'params.yaml: models.../../x: "../../x" is no usable name.' in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(project.folder.parent.rglob("fp32.onnx"))
    done = project.python("-m", "dvc", "exp", "run", "--temp", ok=False)
    assert "is no usable name." in done.stderr


def test_files_of_such_names_are_files(project):
    for name, kind in (("models/tiny", ".pth"), ("configs/models/tiny", ".py"), ("data/digits32", "")):
        path = project.folder / f"{name}{kind}"
        (shutil.copytree if path.is_dir() else shutil.copy)(path, path.with_name(SHELL + kind))
    text = PARAMS.replace("  tiny:\n", f"  tiny:\n    zoo: {json.dumps(SHELL)}\n")
    text = text.replace("models/tiny.pth", json.dumps(f"models/{SHELL}.pth"))
    text = text.replace("configs/models/tiny.py", json.dumps(f"configs/models/{SHELL}.py"))
    text = text.replace("data/digits32", json.dumps(f"data/{SHELL}"))
    (project.folder / "params.yaml").write_text(text)
    assert "Running stage 'convert@tiny'" in project.dvc("repro", "convert@tiny")
    assert (project.folder / "models/tiny/fp32.bin").is_file()


def test_parameters_of_such_texts_are_refused(project):
    text = json.dumps(TEXTS[0])
    for old in ("target: dotprod", "method: minmax", "percentile: 99.99", "scheduler: null"):
        project.edit("params.yaml", old, f"{old.partition(':')[0]}: {text}")
    done = project.python("-m", "dvc", "repro", "export@tiny", ok=False)
    assert done.returncode != 0
    for problem in (
        f"error: params.yaml: target: unknown value {text}",
        f"params.yaml: calibrate.method: unknown value {text}",
        f"params.yaml: calibrate.percentile: expected a number from 50 to 100, found {text}",
        f"params.yaml: parallel.scheduler: expected an address as tcp://host:8786, or null, found {text}",
    ):
        assert problem in done.stderr, done.stderr


def test_a_config_that_leads_out_of_the_project_is_not_read(project):
    """Not by plain `dvc repro`, an experiment or a command either: a config is code, and DVC would not see that it changes."""
    code = "open('ran', 'w')\n" + (project.folder / "configs/models/tiny.py").read_text()
    (project.folder.parent / "x.py").write_text(code)
    (project.folder / "params.yaml").write_text(PARAMS.replace("configs/models/tiny.py", "../x.py"))
    for command in (("-m", "dvc", "repro", "export@tiny"), ("-m", "octet", "predict")):
        done = project.python(*command, ok=False)
        assert done.returncode != 0
        assert "error: params.yaml: models.tiny.config: ../x.py: lies outside configs/models" in done.stderr
    (project.folder / "params.yaml").write_text(PARAMS)
    done = project.python("-m", "dvc", "exp", "run", "--temp", "-S", "models.tiny.config=../../../../x.py", ok=False)
    assert "models.tiny.config: ../../../../x.py: leads out of configs/models" in done.stderr


@pytest.mark.slow
def test_the_queue_and_what_is_applied_from_it(project):
    """An experiment that was queued with such texts fails as any other; so does what is applied and run again."""
    entry = PARAMS[PARAMS.index("    config") : PARAMS.index("target")]
    places = ("configs/models/tiny.py", "models/tiny.pth", "data/digits32")
    for place in places:
        entry = entry.replace(place, json.dumps(f"{TEXTS[0]} {TEXTS[3]} {TEXTS[4]}"))
    models = f"models:\n  {json.dumps(TEXTS[3])}:\n    zoo: {json.dumps(TEXTS[4])}\n{entry}"
    (project.folder / "params.yaml").write_text(models + PARAMS[PARAMS.index("target") :])
    queued = project.python("-m", "dvc", "exp", "run", "--queue", "--name", "strange")
    assert "Queued experiment" in queued.stdout
    done = project.python("-m", "dvc", "exp", "run", "--run-all", ok=False)
    assert "Failed to reproduce experiment(s)" in done.stderr
    project.git("checkout", "params.yaml")
    project.python("-m", "dvc", "exp", "apply", "strange", ok=False)
    (project.folder / "params.yaml").write_text(models + PARAMS[PARAMS.index("target") :])
    assert project.python("-m", "dvc", "repro", ok=False).returncode != 0


def test_an_experiment_s_parameters_are_text(project):
    done = project.python(
        "-m", "dvc", "exp", "run", "--temp", "-S", f"models.tiny.config='{TEXTS[3]}'", "export@tiny", ok=False
    )
    assert "$(touch ran): no such config" in done.stderr, done.stderr


def test_what_is_downloaded_is_an_entry_that_octet_writes(project):
    entry = {"zoo": TEXTS[0], "file": f"models/zoo/{TEXTS[0]}"}
    content = {
        "weights": {"net": entry, "x; touch ran #": entry | {"file": "models/zoo/x"}},
        "data_sets": {"cifar10; touch ran #": {"folder": "data/x"}},
    }
    (project.folder / "downloads/params.yaml").write_text(json.dumps(content))
    done = project.python("-m", "dvc", "repro", "--keep-going", "downloads/dvc.yaml", ok=False)
    assert done.stdout.count("Running stage") == 3
    assert 'downloads/params.yaml: weights.x; touch ran #: "x; touch ran #" is no usable name.' in done.stderr
    (project.folder / "downloads/params.yaml").write_text(json.dumps({"weights": {"net": entry}, "data_sets": {}}))
    done = project.python("-m", "dvc", "repro", "downloads/dvc.yaml", ok=False)
    assert "error: x; touch ran #: no such model in mmcls's zoo." in done.stderr
    right = {"zoo": "resnet18_8xb16_cifar10", "file": "../x.pth"}
    (project.folder / "downloads/params.yaml").write_text(json.dumps({"weights": {"net": right}, "data_sets": {}}))
    done = project.python("-m", "stages.download", ok=False)
    assert "error: expected --weights NAME or --data cifar10|cifar100" in done.stderr
    project.env["DVC_STAGE"] = "downloads/dvc.yaml:weights@net"
    done = project.python("-m", "stages.download", ok=False)
    assert "error: downloads/params.yaml: weights.net: is no entry that Octet writes; 'make quantize'" in done.stderr


def test_the_drawn_data_set_s_numbers_are_numbers(project):
    text = json.dumps(TEXTS[0])
    (project.folder / "data/params.yaml").write_text(f"digits32:\n  train: {text}\n  test: 500\n  seed: {text}\n")
    done = project.python("-m", "dvc", "repro", "data/dvc.yaml", ok=False)
    assert done.returncode != 0
    for key in ("train", "seed"):
        assert f"data/params.yaml: digits32.{key}: expected a whole number" in done.stderr, done.stderr
