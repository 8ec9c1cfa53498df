"""The command line: `octet`, by its entry in pyproject.toml."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def octet(tmp_path):
    """Runs the entry point in a process of its own, in an empty folder."""
    module, _, name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["octet"].partition(":")

    def run(*args, **settings):
        code = f"from {module} import {name}; {name}()"
        settings = {"stdout": subprocess.PIPE, "cwd": tmp_path} | settings
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-c", code, *args], env=environment, stderr=subprocess.PIPE, text=True, **settings
        )

    return run


def test_its_help_has_a_sentence_for_each_command(octet):
    done = octet("--help")
    assert done.returncode == 0
    for name, function in runpy.run_module("octet.__main__", run_name="not main")["COMMANDS"].items():
        assert function.__doc__.endswith(".")
        assert f"    {name}" in done.stdout
        assert function.__doc__ in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("check",), 1, "error: params.yaml: no such file; run this in the project's top folder"),
        (
            ("add", "--config", "a.py"),
            1,
            "error: a new model needs ZOO=name, or CONFIG=file.py and CHECKPOINT=file.pth",
        ),
        (("validate", "--profile", "../../x"), 1, "error: NAME=../../x: no usable name. Names are text"),
        (("validate", "--profile", "x" * 300), 1, "error: NAME=xxxxxxxxxxxxxxxxxxxx…: 300 characters; expected 200"),
        (
            ("add", "--model", "../x", "--config", "a.py", "--checkpoint", "b.pth"),
            1,
            "error: MODEL=../x: no usable name. Names are text",
        ),
        (("nothing",), 2, "invalid choice: 'nothing'"),
        ((), 2, "the following arguments are required: COMMAND"),
        (("check", "--image", "x"), 2, "unrecognized arguments: --image x"),
    ],
)
def test_mistakes(octet, args, code, message):
    done = octet(*args)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_profile_is_told_before_any_stage_runs(octet, tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name in ("data", "models"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "dvc.yaml", tmp_path / name)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("target: dotprod", "target: mine"))
    profile = tmp_path / "configs/targets/mine.yaml"
    profile.write_text("base: dotprod\n")
    done = octet("validate")
    assert (done.returncode, done.stderr) == (0, "")
    profile.write_text("base: dotprod\nlayers: []\n")
    done = octet("validate")
    assert done.returncode == 1
    assert done.stderr.startswith("error: configs/targets/mine.yaml: layers: expected a mapping with entries like ")
    assert octet("validate", "--profile", "mine").returncode == 0  # make tune writes it anew


def test_one_summary_of_all_models_and_what_comes_next(octet, tmp_path):
    """With this it is that `make quantize` ends, also where it made one of several models."""
    for name in ("params.yaml", "configs", "metrics"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    shown = octet("summary").stdout
    assert shown.index("resnet18_digits32") < shown.index("mobilenetv2_digits32") < shown.index("Next: make check (")
    (tmp_path / "metrics/mobilenetv2_digits32/summary.json").unlink()
    assert octet("summary").stdout.splitlines()[-4:] == [
        "",
        "mobilenetv2_digits32: not quantized yet; make quantize MODEL=mobilenetv2_digits32",
        "",
        "Next: make check MODEL=resnet18_digits32 (is the drop allowed?), make report MODEL=resnet18_digits32 (a page), "
        "make package MODEL=resnet18_digits32 (a zip to ship)",
    ]
    (tmp_path / "metrics/resnet18_digits32/summary.json").unlink()
    assert "summary.json: no such file; 'make quantize MODEL=resnet18_digits32' makes it" in octet("summary").stderr


def test_who_reads_its_output_may_stop(octet):
    read, write = os.pipe()
    os.close(read)
    done = octet("summary", stdout=write, cwd=ROOT)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
