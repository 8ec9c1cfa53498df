"""The bundle's C++ example and its runner, built as a user builds them, and run on images: they answer as the pipeline does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octet.data import preprocess
from octet.data.cifar import Cifar
from octet.data.dataset import indices_of
from octet.device.build import ENVIRONMENT, FOLDER, build, build_program
from octet.device.inputs import write_inputs
from octet.evaluate.predictions import read_predictions
from tests.pipeline.project import CONFIG, ENTRY, ROOT, Project

pytestmark = pytest.mark.slow
COUNT = 50
EMULATOR = {"aarch64": ["qemu-aarch64", "-cpu", "cortex-a76"], "x86_64": []}
MODELS = ("tiny", "resized")
RESIZED = f"\n  resized:\n{ENTRY.replace('tiny.py', 'resized.py')}target: dotprod\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two models, evaluated: one takes images as they are, the other resizes them; the runner is built in this checkout."""
    if not (ROOT / ENVIRONMENT / "bin" / "ninja").exists():
        pytest.skip("no compilers: 'make runner' installs them")
    result = Project.make(tmp_path_factory.mktemp("example") / "p")
    resize = 'test_pipeline = [\n    dict(type="Resize", size=(40, 24)),'
    (result.folder / "configs/models/resized.py").write_text(CONFIG.replace("test_pipeline = [", resize))
    result.edit("params.yaml", "\ntarget: dotprod\n", RESIZED)
    result.dvc("repro", *(f"summary@{name}" for name in MODELS))
    before = Path.cwd()
    os.chdir(ROOT)
    for architecture in EMULATOR:
        build(architecture)
    for folder in (ENVIRONMENT, FOLDER):
        (result.folder / folder).symlink_to(ROOT / folder)
    yield result
    os.chdir(before)


@pytest.fixture(scope="module")
def bundles(project, tmp_path_factory):
    """The zips with the runner in them, unpacked."""
    project.python("-m", "octet", "package", "--runner")
    folder = tmp_path_factory.mktemp("bundles")
    for name in MODELS:
        with zipfile.ZipFile(project.folder / f"dist/{name}-int8.zip") as archive:
            for entry in archive.infolist():  # as unzip does it
                Path(archive.extract(entry, folder)).chmod(entry.external_attr >> 16)
    return folder


def needs_emulator(architecture):
    if EMULATOR[architecture] and shutil.which(EMULATOR[architecture][0]) is None:
        pytest.skip("no emulator: install Debian's qemu-user")


@pytest.mark.parametrize("architecture", EMULATOR)
@pytest.mark.parametrize("name", MODELS)
def test_the_cpp_example_predicts_what_the_pipeline_does(project, bundles, name, architecture, tmp_path):
    needs_emulator(architecture)
    program = build_program(architecture, bundles / name, "predict")
    data = Cifar(project.folder / "data/digits32", "test")
    rows = read_predictions(project.folder / f"metrics/{name}/int8.predictions.csv")[:COUNT]
    for row, k in zip(rows, indices_of(data, [row.image for row in rows]), strict=True):
        Image.fromarray(data.image(k)).save(tmp_path / f"{row.image}.ppm")
    command = [*EMULATOR[architecture], str(program), *(str(tmp_path / f"{row.image}.ppm") for row in rows)]
    printed = subprocess.run(
        command, cwd=bundles / name, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert len(printed) == 5 * COUNT
    for k, row in enumerate(rows):
        lines = [line.rpartition(".ppm: ")[2].split() for line in printed[5 * k : 5 * k + 5]]
        assert lines[0][0] == row.top[0]
        shares = [float(share) for _, share, _ in lines]
        assert shares == pytest.approx([100 * p for p in row.probabilities], abs=0.2)


@pytest.mark.parametrize("architecture", EMULATOR)
def test_the_runner_in_the_bundle_does_what_the_card_says(project, bundles, architecture, tmp_path):
    needs_emulator(architecture)
    bundle = bundles / "tiny"
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, check=True)
    runner, card = bundle / f"runner-{architecture}", (bundle / "README.md").read_text()
    assert os.access(runner, os.X_OK)
    assert runner.stat().st_size < 5e6
    for words in ("BSD 3-Clause", "Copyright © 2005-2020 Rich Felker", "LLVM", "Copyright (c) Zig contributors"):
        assert words in (bundle / "runner-licenses.txt").read_text("utf-8")
    steps, data = preprocess.load(bundle / "preprocess.json"), Cifar(project.folder / "data/digits32", "test")
    rows = read_predictions(project.folder / "metrics/tiny/int8.predictions.csv")[:COUNT]
    images = [steps(data.image(k)) for k in indices_of(data, [row.image for row in rows])]
    write_inputs(bundle / "inputs", COUNT, steps.shape, images)
    command = next(line.split() for line in card.splitlines() if " run --images inputs" in line)
    assert command[0] == "./runner-aarch64"
    subprocess.run([*EMULATOR[architecture], str(runner), *command[1:]], cwd=bundle, check=True, capture_output=True)
    logits = np.fromfile(bundle / "outputs", "<f4").reshape(COUNT, -1)
    assert [steps.classes[k] for k in logits.argmax(axis=1)] == [row.top[0] for row in rows]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = shares.max(axis=1) / shares.sum(axis=1)
    assert best == pytest.approx([row.probabilities[0] for row in rows], abs=0.002)
    assert len(json.loads((bundle / "report.json").read_text())["models"]["int8"]["latency_ms"]) == COUNT


def test_without_the_runner_the_bundle_is_as_before(project, bundles):
    project.python("-m", "octet", "package")
    with zipfile.ZipFile(project.folder / "dist/tiny-int8.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        card = archive.read("tiny/README.md").decode()
    assert {path.name for path in (bundles / "tiny").iterdir() if path.is_file()} >= names
    assert not [name for name in names if name.startswith("runner")]
    assert "runner" not in card


def test_make_example(project):
    printed = project.python("-m", "octet", "example", "--model", "tiny").stdout
    for architecture in EMULATOR:
        program = project.folder / f"dist/tiny-predict-{architecture}"
        assert f"dist/{program.name}: {program.stat().st_size:,} bytes" in printed
        assert program.stat().st_size < 5e6
        assert os.access(program, os.X_OK)
    absent = subprocess.run([project.folder / "dist/tiny-predict-x86_64"], cwd="/", capture_output=True, text=True)
    assert absent.returncode == 1
    assert "must lie in the working directory" in absent.stderr
