"""A newcomer's clone: `make quantize` from nothing, on the embedded model, and then every calibrator."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = [
    f"models/resnet18_digits32/{name}" for name in ("fp32.param", "fp32.bin", "int8.table", "int8.param", "int8.bin")
]
FILES += [f"metrics/resnet18_digits32/{name}.json" for name in ("fp32", "int8")]


class Clone:
    def __init__(self, folder: Path, venv: Path | None = None):
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        self.folder = folder
        if venv:
            (folder / ".venv").symlink_to(venv)

    def run(self, *command: str) -> str:
        """The output of a command with the clone's own environment active."""
        env = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        env |= {"PATH": f"{self.folder}/.venv/bin{os.pathsep}{env['PATH']}", "PYTHONPATH": str(self.folder)}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def summary(self) -> dict:
        return json.loads((self.folder / "metrics/resnet18_digits32/summary.json").read_text())

    def files(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    made = Clone(tmp_path_factory.mktemp("newcomer") / "octet")
    start = time.monotonic()
    shown = made.run("make", "quantize")
    print(f"make quantize from nothing: {time.monotonic() - start:.0f} s\n{shown[-800:]}")
    return made


def test_make_quantize_really_evaluates_and_times(clone):
    summary = clone.summary()
    assert summary["n_images"] == 5000
    assert 92 < summary["fp32_top1_pct"] < 98
    assert abs(summary["top1_drop_pt"]) < 0.3
    assert summary["speedup_1_thread"] > 1
    assert "is in sync" in clone.run("dvc", "status") or "up to date" in clone.run("dvc", "repro")
    clone.run("make", "check")


def test_a_second_clone_gives_the_same_bytes(clone, tmp_path):
    other = Clone(tmp_path / "other", clone.folder / ".venv")
    other.run("python", "-m", "dvc", "repro")
    assert other.files() == clone.files()


@pytest.mark.parametrize("method", ["minmax", "kl", "ppq"])
def test_every_method_loses_less_than_three_tenths_of_a_point(clone, method):
    params = clone.folder / "params.yaml"
    params.write_text(re.sub(r"(?ms)(^calibrate:.*?^  method:) \w+$", rf"\1 {method}", params.read_text()))
    said = clone.run("dvc", "repro", "summary@resnet18_digits32")
    ran = [line for line in said.splitlines() if line.startswith("Running stage")]
    assert {line.split("'")[1].split("@")[0] for line in ran} == {
        "calibrate",
        "round",
        "analyze",
        "plan",
        "quantize",
        "evaluate_int8",
        "benchmark",
        "summary",
    }
    print(method, clone.summary()["top1_drop_pt"])
    assert clone.summary()["top1_drop_pt"] < 0.3
