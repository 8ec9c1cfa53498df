"""Every file that the pipeline makes, damaged in turn: whoever reads it says which file it is, and writes nothing.

In this process: an OctetError is what ends a stage or a command with one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from octet import __main__ as commands
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.device.record import fingerprints
from octet.tune import command as tune
from tests.pipeline.project import ROOT

pytestmark = pytest.mark.pipeline

MOST_S = 60  # of one reader, by the clock: a pipe that it waits for has no end
EVALUATE = ("evaluate --precision fp32", "evaluate --precision int8")
BOTH = ("summary", "benchmark")
ENGINES = ("evaluate_engines", "benchmark")
SHOWN = ("octet summary", "report")
READERS = {
    "models/tiny/fp32.onnx": ["convert", "qdq"],
    "models/tiny/preprocess.json": [
        *("convert", "calibrate", "quantize", "qdq", *EVALUATE, *BOTH, "analyze", "evaluate_engines", "package", "tune")
    ],
    "models/tiny/fp32.param": ["calibrate", "quantize", EVALUATE[0], *BOTH, "analyze", "tune"],
    "models/tiny/fp32.bin": ["calibrate", "quantize", EVALUATE[0], *BOTH, "analyze", "tune"],
    "models/tiny/int8.table": ["quantize", "analyze", "tune"],
    "models/tiny/ranges.json": ["analyze"],
    "models/tiny/rounding.npz": ["quantize", "analyze"],
    "models/tiny/plan.json": ["quantize", "qdq", "package", "report"],
    "models/tiny/int8.param": [EVALUATE[1], *BOTH, "package", "report"],
    "models/tiny/int8.bin": [EVALUATE[1], *BOTH, "package", "report"],
    "models/tiny/engines/onnxruntime.onnx": [*ENGINES, "engine zip"],
    "models/tiny/engines/layers.json": [*ENGINES, "engine zip"],
    "metrics/tiny/fp32.json": ["summary", "package", "report"],
    "metrics/tiny/int8.json": ["summary", "package", "report"],
    "metrics/tiny/fp32.predictions.csv": ["summary", "evaluate_engines", *SHOWN, "dump"],
    "metrics/tiny/int8.predictions.csv": ["summary", *SHOWN, "dump"],
    "metrics/tiny/engines.json": ["check", *SHOWN, "engine zip"],
    "metrics/tiny/latency.json": ["summary", *SHOWN],
    "metrics/tiny/summary.json": ["check", *SHOWN, "package"],
    "metrics/tiny/activations.csv": ["report"],
    "metrics/tiny/latency_samples.csv": ["report"],
    "metrics/tiny/classes.csv": ["report"],
    "metrics/tiny/confusion.csv": ["report"],
    "metrics/tiny/analyze.json": ["report"],
    "metrics/tiny/devices/board.json": ["check", "package", "report"],
    "metrics/tiny/runtimes.json": ["package", "report"],
    "dvc.lock": ["check", "package", "report", "dump"],
    "params.yaml": ["settings", "quantize", "check", "package", "report", "dump"],
}
# What is no fault: a parameter of a calibrator that was not taken; figures that may be missing, which is said.
HARMLESS = [("infinite", "dvc.lock")]
HARMLESS += [
    (damage, f"metrics/tiny/{name}")
    for damage in ("a link to itself", "gone")
    for name in ("analyze.json", "devices/board.json", "runtimes.json")
]
SAID = [("{}", "metrics/tiny/engines.json", "octet summary")]  # no engine was run: it shows the rest, and says so
DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "cut off": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "empty": lambda path, whole: path.write_bytes(b""),
    "null": lambda path, whole: path.write_bytes(b"null"),
    "{}": lambda path, whole: path.write_bytes(b"{}"),
    "[]": lambda path, whole: path.write_bytes(b"[]"),
    "not UTF-8": lambda path, whole: path.write_bytes(b"\xe9" + whole),
    "infinite": lambda path, whole: path.write_bytes(re.sub(rb"(?<![\w.])\d+\.\d+(e[-+]\d+)?", b"1e999", whole)),
    "a folder": lambda path, whole: path.mkdir(),
    "a pipe": lambda path, whole: os.mkfifo(path),
    "a link to itself": lambda path, whole: path.symlink_to(path),
    "gone": lambda path, whole: None,
}


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """With another engine beside ncnn, and figures of a device."""
    result = finished.copy(tmp_path_factory.mktemp("damaged") / "p")
    result.edit("params.yaml", "engines: [ncnn]", "check: {device_max_drop_pt: 50}\nengines: [ncnn, onnxruntime]")
    result.repro()
    devices = result.folder / "metrics/tiny/devices"
    devices.mkdir()
    figures = json.loads((ROOT / "metrics/mobilenetv2_digits32/devices/qemu-a76.json").read_text())
    figures["sha256"] = fingerprints(ModelFolder("tiny", result.folder))
    (devices / "board.json").write_text(json.dumps(figures))
    figures["sha256"] = {}  # of other files: they have to be read to know
    against = figures["int8"]["host_fp32"]
    release = {"int8_vs_installed": against, "int8_vs_fp32": against, "fp32_ms": 2.5, "int8_ms": 1.5}
    machine = json.loads((result.folder / "metrics/tiny/latency.json").read_text())["machine"]
    content = {key: figures[key] for key in ("n_images", "sha256")} | {"machine": machine, "n_runs": 3}
    (result.folder / "metrics/tiny/runtimes.json").write_text(json.dumps(content | {"releases": {"1": release}}))
    return result


@pytest.fixture(autouse=True)
def _here(project, monkeypatch):
    """In the project's folder; what waits too long ends."""

    def too_long(number, frame):
        raise AssertionError(f"no end in {MOST_S} s")

    monkeypatch.chdir(project.folder)
    before = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(words: str) -> None:
    """A stage, or a command of `octet`, in this process."""
    name, *options = words.split()
    signal.alarm(MOST_S)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if name == "tune":
            sys.argv = ["octet.tune", "models/tiny", "--out", "configs/targets/tiny.yaml"]
            tune.main()
        elif name == "package":
            commands.package("tiny", "ncnn", runner=False)
        elif words == "engine zip":
            commands.package("tiny", "onnxruntime", runner=False)
        elif name == "octet" or name in ("check", "package", "report", "dump"):
            commands.COMMANDS[words.split()[-1]]("tiny")
        else:
            sys.argv = [f"stages.{name}", "--model", "tiny", *options]
            import_module(f"stages.{name}").main()
    signal.alarm(0)


def contents() -> dict[Path, bytes]:
    trees = ("models", "metrics", "reports", "dist", "configs")
    return {path: path.read_bytes() for tree in trees for path in Path(tree).rglob("*") if path.is_file()}


def remove(path: Path) -> None:
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file(name, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    path, problems = Path(name), []
    whole = path.read_bytes()
    for damage, harm in DAMAGES.items():
        remove(path)
        harm(path, whole)
        if (damage, name) in HARMLESS or (path.is_file() and path.read_bytes() == whole):  # or there is no such number
            continue
        before = contents()
        for reader in READERS[name]:
            if (damage, name, reader) in SAID:
                continue
            case = f"{damage}, {reader}"
            try:
                run(reader)
                problems.append(f"{case}: no error")
            except (OctetError, OSError) as error:  # octet.core.errors.run makes a line of either
                if path.name not in str(error) or ".partial" in str(error):
                    problems.append(f"{case}: {error}")
            except Exception as error:
                problems.append(f"{case}: {type(error).__name__}: {error}")
            if contents() != before:
                problems.append(f"{case}: files changed: {sorted(map(str, contents().keys() ^ before.keys()))}")
                before = contents()
    remove(path)
    path.write_bytes(whole)
    assert not problems, "\n".join(problems)


def test_the_files_are_all_that_the_pipeline_makes():
    """A stage's new file is damaged, too."""
    unread = ("differ.png", "int8_vs_fp32.json")
    made = {p for tree in ("models/tiny", "metrics/tiny") for p in Path(tree).rglob("*") if p.is_file()}
    assert {p.as_posix() for p in made if p.name not in unread and p.parent.name != "settings"} <= READERS.keys()
