"""make bench-loop OLD=commit: how long a change takes to show its figures, at an older commit and at the newest.

Each is a clone in a temporary folder, with the data set and the checkpoints of this folder and its environment. They run in turn:
all stages of all models, analyze alone, and an experiment that changes the calibrator of one model, up to the last of its
stages. What is not committed does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from octet.core.errors import OctetError, run
from octet.core.parallel import cores
from octet.core.text import table
from octet.ncnn.machine import machine

ROOT = Path(__file__).parents[2]
METHODS = (
    "minmax",
    "percentile",
    "kl",
)  # each round another: DVC would take the figures of one it has seen from its cache


@dataclass(frozen=True)
class Clone:
    """The project at a commit, in a folder of its own."""

    folder: Path

    @classmethod
    def at(cls, commit: str, folder: Path) -> Clone:
        """A clone with what git does not have: data set, checkpoints, environment.

        Raises:
            OctetError: The commit or the data set is missing.
        """
        clone = cls(folder)
        clone.run("git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), ".")
        clone.run("git", "checkout", "--quiet", "--detach", commit)
        if not (ROOT / "data" / "digits32").is_dir():
            raise OctetError("data/digits32: there is none; 'make quantize' makes it")
        shutil.copytree(ROOT / "data" / "digits32", folder / "data" / "digits32")
        (folder / ".venv").symlink_to(ROOT / ".venv")
        clone.run("dvc", "commit", "--quiet", "--force", "data/dvc.yaml")
        clone.run("dvc", "freeze", "--quiet", "data/dvc.yaml:digits32")
        return clone

    def run(self, *command: str) -> str:
        """Runs a command there.

        Returns:
            What it prints.

        Raises:
            OctetError: It fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": paths, "PYTHONPATH": str(self.folder)}
        ran = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise OctetError(
                f"'{' '.join(command)}' failed in {self.folder}:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
            )
        return ran.stdout

    def repro(self, *arguments: str) -> float:
        """Seconds that `dvc repro` takes."""
        start = time.perf_counter()
        self.run("dvc", "repro", "--quiet", *arguments)
        return time.perf_counter() - start

    def stages_of(self, model: str) -> list[str]:
        """The pipeline's stages of a model."""
        names = self.run("dvc", "stage", "list", "--name-only").split()
        return [name for name in names if name.endswith(f"@{model}")]

    def calibrator(self, method: str) -> None:
        """Writes the calibrator into params.yaml."""
        params = self.folder / "params.yaml"
        lines = params.read_text().splitlines(keepends=True)
        at = next(k for k, line in enumerate(lines) if line.startswith("calibrate:"))
        at += next(k for k, line in enumerate(lines[at:]) if line.startswith("  method:"))
        params.write_text("".join([*lines[:at], f"  method: {method}\n", *lines[at + 1 :]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", required=True, help="the older commit")
    parser.add_argument("--new", default="HEAD", help="the newer one")
    parser.add_argument("--model", default="resnet18_digits32", help="of analyze and of the experiment")
    parser.add_argument("--rounds", type=int, default=1, choices=range(1, len(METHODS) + 1))
    args = parser.parse_args()
    commits = [
        subprocess.check_output(["git", "rev-parse", "--short", commit], cwd=ROOT, text=True).strip()
        for commit in (args.old, args.new)
    ]
    with tempfile.TemporaryDirectory(prefix="octet-loop-") as name:
        clones = [Clone.at(commit, Path(name) / which) for which, commit in zip(("old", "new"), commits, strict=True)]
        rounds = [one_round(clones, args.model, METHODS[k]) for k in range(args.rounds)]
        same = figures(clones[0]) == figures(clones[1])
    about = machine()
    print(
        f"{about['cpu']}, {cores()} cores, ncnn {about['ncnn']}, medians of {args.rounds} rounds, old and new in turn\n"
    )
    rows = []
    for what in rounds[0]:
        old, new = (statistics.median(seconds[what][k] for seconds in rounds) for k in (0, 1))
        rows.append([what, f"{old:.1f} s", f"{new:.1f} s", f"{new / old:.2f}"])
    print(table(rows, ["", f"{commits[0]} (old)", f"{commits[1]} (new)", "ratio"], markdown=True))
    print(
        f"\nanalyze.json, fp32.json and int8.json are {'the same' if same else 'NOT the same'} bytes at both commits."
    )


def one_round(clones: list[Clone], model: str, method: str) -> dict[str, list[float]]:
    """Seconds of both clones, by what ran; they are printed as they come, too."""

    def in_turn(what: str, work: Callable[[Clone], float]) -> list[float]:
        seconds = [work(clone) for clone in clones]
        print(f"{what}: {', '.join(f'{value:.1f} s' for value in seconds)}", flush=True)
        return seconds

    def another_calibrator(clone: Clone) -> float:
        clone.calibrator(method)
        return clone.repro(*clone.stages_of(model))

    for clone in clones:
        clone.run("git", "checkout", "--quiet", "params.yaml")
    works: dict[str, Callable[[Clone], float]] = {
        "all stages of all models": lambda clone: clone.repro("--force", "dvc.yaml"),
        f"analyze of {model}": lambda clone: clone.repro("--force", "--single-item", f"analyze@{model}"),
        f"another calibrator, {model}": another_calibrator,
    }
    return {what: in_turn(what, work) for what, work in works.items()}


def figures(clone: Clone) -> dict[str, object]:
    """What must not depend on how fast it is computed, by the file; without what an older commit does not write."""
    files = [path for name in ("analyze", "fp32", "int8") for path in clone.folder.glob(f"metrics/*/{name}.json")]
    contents = {f"{path.parent.name}/{path.name}": json.loads(path.read_text()) for path in files}
    for content in contents.values():
        content.pop("split_source", None)
    return contents


if __name__ == "__main__":
    run(main)
