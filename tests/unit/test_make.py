"""What a user gives make is a name and nothing else: neither make nor a shell expands it, in any target."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.unit

NAMES = [
    "Bob's photo (1).png",
    "O'Brien",
    'say "x"',
    "a; touch ran",
    "`touch ran`",
    "$(touch ran)",
    "$(shell touch ran)",
    "${MAKE}$$x$@",
    "a & touch ran | b > ran # c",
    "--help",
    "two\nlines",
    "spaces  around ",
    "back\\slash\\",
    "*",
    "名前.png",
]
# Each target that reads names, with them; the others stand beside them so that the recipe runs to its end.
TARGETS = {
    "quantize": ["MODEL", "ZOO", "CONFIG", "CHECKPOINT", "ONNX", "TIMM", "TORCHVISION", "PREPROCESS", "DATA"],
    "zoo": ["FIND"],
    "zoo-table": ["FIND"],
    "library-table": ["FIND"],
    "zoo-engines": ["FIND"],
    "tune": ["MODEL", "NAME", "DEVICE", "RUNTIME"],
    "best": ["MODEL", "DROP", "KL", "MINUTES", "IMAGES", "DEVICE"],
    "fuzz": ["MINUTES"],
    "predict": ["MODEL", "IMAGE"],
    "device": ["DEVICE", "MODEL", "IMAGES"],
    "device-clean": ["DEVICE"],
    "runtimes": ["MODEL", "IMAGES", "RUNTIMES", "DEVICE"],
    **{
        name: ["MODEL"]
        for name in (
            "track",
            "report",
            "package",
            "example",
            "dump",
            "check",
            "screenshots",
            "bench-best",
            "bench-peers",
            "bench-instructions",
        )
    },
    "bench-loop": ["OLD", "NEW", "MODEL"],
    **{name: ["MODEL"] for name in ("sweep-calibrators", "sweep-recovery")},
}
RECORD = """#!/bin/sh
[ "$1 $2" != "-S stages/start.py" ] || shift 2
exec "{python}" -c 'import json, sys
print(json.dumps(sys.argv[1:]), file=open("arguments", "a"))
if sys.argv[1:4] == ["-m", "octet", "add"]: print("net")' "$@"
"""


@pytest.fixture
def make(tmp_path):
    """Runs the real Makefile in an empty folder, whose .venv has a python that writes down what it is called with."""
    folder = tmp_path / "Anna's $(project) `x`"
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/timm").mkdir()
    (folder / ".venv/openvino").mkdir()
    (folder / ".venv/fuzz").mkdir()
    (folder / ".venv-bench").mkdir()
    (folder / ".venv-runner").mkdir()
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        "requirements.cuda.lock",
        "requirements-bench.lock",
        "requirements-runner.lock",
        "requirements-timm.lock",
        "requirements-openvino.lock",
        "requirements-fuzz.lock",
    ):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, (0, 0))
    (folder / ".venv/bin/python").write_text(RECORD.format(python=sys.executable))
    (folder / ".venv/bin/python").chmod(0o755)
    for name in (".venv", ".venv-bench", ".venv-runner", ".venv/timm", ".venv/openvino", ".venv/fuzz"):
        (folder / name / ".locked").touch()
    (folder / ".venv/.ready").touch()
    before = {path for path in tmp_path.rglob("*")} | {folder / "arguments"}

    def run(target, ok=True, **variables):
        """The calls of python; the variables stand on make's own command line."""
        (folder / "arguments").write_text("")
        words = [f"{name}={value}" for name, value in variables.items()]
        return calls(["make", target, *words], ok)

    def calls(words, ok=True, **environment):
        (folder / "arguments").write_text("")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | environment
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert (done.returncode == 0) == ok, done.stderr
        assert {path for path in tmp_path.rglob("*")} == before, "a name made a file"
        return [json.loads(line) for line in (folder / "arguments").read_text().splitlines()]

    run.calls = calls
    return run


def test_all_targets_that_read_names_are_tried():
    makefile = (ROOT / "Makefile").read_text()
    reads = re.compile(r"\$\$\{?[A-Z]{4,}|FOR_(MODEL|FIND)")
    rules = re.findall(r"^([a-z-]+):[^\n]*## [^\n]*\n((?:\t.*\n)+)", makefile, re.M)
    assert {name for name, recipe in rules if reads.search(recipe.replace("$$PWD", ""))} == set(TARGETS)
    assert not re.search(
        r"^\t.*\$\((MODEL|ZOO|CONFIG|CHECKPOINT|ONNX|TIMM|TORCHVISION|PREPROCESS|DATA|FIND|NAME|IMAGE|PYTHON|MINUTES|DEVICE|IMAGES|RUNTIMES?)\b",
        makefile,
        re.M,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_a_name_is_a_name(make, target):
    for variable in TARGETS[target]:
        for name in NAMES if target == "predict" else ["\"; touch ran; ' `touch ran` $(shell touch ran)\n#"]:
            given = {"MODEL": "net"} if target in ("tune", "best") else {}
            calls = make(target, **given | {variable: name})
            assert any(name in re.sub(r"^--[a-z]+=", "", word) for call in calls for word in call), (
                variable,
                name,
                calls,
            )


def test_the_words_of_each_call(make):
    name = 'a\'b "c" $(d)'
    assert make("predict", IMAGE=name, MODEL="net") == [["-m", "octet", "predict", "--model=net", f"--image={name}"]]
    assert make("predict") == [["-m", "octet", "predict"]]
    added, *others = [
        call for call in make("quantize", DATA=name, CONFIG="c.py", CHECKPOINT="c.pth") if "octet" in call
    ]
    assert added == [
        "-m",
        "octet",
        "add",
        "--model=",
        "--zoo=",
        "--config=c.py",
        "--checkpoint=c.pth",
        "--onnx=",
        "--timm=",
        "--torchvision=",
        "--preprocess=",
        f"--data={name}",
    ]
    assert others[0] == ["-m", "octet", "validate", "--model=net"]
    assert others[-1] == ["-m", "octet", "summary"]
    calls = make("tune", MODEL="net", NAME=name)
    assert ["-m", "octet", "validate", "--model=net", f"--profile={name}"] in calls
    assert ["-m", "octet.tune", "models/net", "--out", f"configs/targets/{name}.yaml"] in calls
    assert ["-m", "octet.tune", "models/net", "--out", "configs/targets/net.yaml"] in make("tune", MODEL="net")
    calls = make("tune", MODEL="net", NAME=name, DEVICE=name)
    assert calls[-1] == ["-m", "octet", "tune", "--model=net", f"--profile={name}", f"--device={name}"]
    assert make("tune", MODEL="net", RUNTIME=name)[-1] == ["-m", "octet", "tune", "--model=net", f"--runtime={name}"]
    assert make("runtimes", RUNTIMES=name) == [["-m", "octet", "runtimes", f"--runtimes={name}"]]
    assert make("check") == [["-m", "octet", "check"]]


def test_names_in_the_environment_are_names_too(make):
    for name in NAMES:
        calls = make.calls(["make", "check"], MODEL=name)
        assert calls == [["-m", "octet", "check", f"--model={name}"]]


def test_options_of_pytest_are_options(make):
    assert make("test-unit", PYTEST="-k 'a or b' -x") == [["-m", "pytest", "-m", "unit", "-k", "a or b", "-x"]]


def test_nothing_is_installed_for_a_device_that_is_none(make, tmp_path):
    (folder,) = (path.parent for path in tmp_path.glob("*/Makefile"))
    shutil.copytree(ROOT / "configs/devices", folder / "configs/devices")
    python = f'#!/bin/sh\nPYTHONPATH="{ROOT}" PYTHONDONTWRITEBYTECODE=1 exec "{sys.executable}" "$@"\n'
    (folder / ".venv/bin/python").write_text(python)
    (folder / ".venv-runner/.locked").unlink()
    done = subprocess.run(["make", "device", "DEVICE=qemu-a67"], cwd=folder, capture_output=True, text=True)
    assert done.returncode != 0
    assert "'qemu-a67' is no device" in done.stderr
    assert "qemu-a76" in done.stderr
    assert "Traceback" not in done.stderr
    assert "making it" not in done.stdout


@pytest.mark.parametrize("owner", ["another user", "nobody"])
def test_why_git_is_not_used(tmp_path, owner):
    """Of a checkout that belongs to another user git says so and nothing else, whatever it is asked."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements.cuda.lock"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (0, 0))
    for name in (".locked", ".ready"):
        (tmp_path / ".venv" / name).touch()
    (tmp_path / ".venv/bin/python").symlink_to(shutil.which("true"))
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    if owner == "another user":
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    done = subprocess.run(
        ["make", "git-or-not"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ("dubious ownership" in done.stdout) == (owner == "another user")
    assert ("No git work tree" in done.stdout) == (owner == "nobody")


def test_every_command_of_a_user_s_heeds_ctrl_c_at_its_start():
    """By stages/start.py; without it Ctrl-C at the start of `make device` gave a traceback."""
    assert re.findall(r"\$\(PY\) -m (?:octet|dvc)\b.*", (ROOT / "Makefile").read_text()) == []
