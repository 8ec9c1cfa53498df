"""The C++ examples of the engines' zips, built by the commands on their cards, and run on images: they answer as the pipeline does.

ONNX Runtime's pip package has the library but no headers: Debian's libonnxruntime-dev has (from Debian 13 on), and so has each
of ONNX Runtime's releases, whose `include` OCTET_ONNXRUNTIME_INCLUDE may name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from octet.core.engines import open_vino
from octet.core.engines.engine import load
from octet.core.errors import OctetError
from octet.data import preprocess
from octet.data.cifar import Cifar
from tests.pipeline.project import CONFIG, ENTRY, Project

pytestmark = pytest.mark.slow
COUNT = 50
HEADERS = Path(os.environ.get("OCTET_ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))
RESIZED = f"\n  resized:\n{ENTRY.replace('tiny.py', 'resized.py')}target: dotprod\n"


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(request):
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    if request.param == "onnxruntime" and not (HEADERS / "onnxruntime_cxx_api.h").is_file():
        pytest.skip("no headers of ONNX Runtime: install Debian's libonnxruntime-dev, or set OCTET_ONNXRUNTIME_INCLUDE")
    if request.param == "openvino":
        try:
            open_vino.require()
        except OctetError as error:
            pytest.skip(str(error))
    return request.param


@pytest.fixture(scope="module")
def project(engine, tmp_path_factory):
    """Two models: one takes images as they are, the other turns channels round and resizes and cuts them."""
    result = Project.make(tmp_path_factory.mktemp("example") / "p")
    steps = 'test_pipeline = [\n    dict(type="Resize", size=(40, 24)),\n    dict(type="CenterCrop", crop_size=20),'
    config = CONFIG.replace("test_pipeline = [", steps).replace("to_rgb=False", "to_rgb=True")
    (result.folder / "configs/models/resized.py").write_text(config)
    result.edit("params.yaml", "\ntarget: dotprod\n", RESIZED)
    result.edit("params.yaml", "engines: [ncnn]", f"engines: [ncnn, {engine}]")
    stages = ("summary", "evaluate_engines", "benchmark")
    result.dvc("repro", *(f"{stage}@{name}" for stage in stages for name in ("tiny", "resized")))
    return result


@pytest.mark.parametrize("name", ["tiny", "resized"])
def test_the_cpp_example_predicts_what_the_pipeline_does(project, engine, name, tmp_path):
    project.python("-m", "octet", "package", "--model", name, "--engine", engine)
    with zipfile.ZipFile(project.folder / f"dist/{name}-int8-{engine}.zip") as archive:
        archive.extractall(tmp_path)
    bundle = tmp_path / name
    build = re.findall(r"^    ((?:OPENVINO=|g\+\+).*)$", (bundle / "README.md").read_text(), re.MULTILINE)
    python_path = {"PYTHONPATH": str(open_vino.FOLDER)} if open_vino.FOLDER.is_dir() else {}
    if engine == "onnxruntime":
        (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
        (bundle / "onnxruntime/lib").mkdir(parents=True)
        (bundle / "onnxruntime/include").symlink_to(HEADERS)
        for file in ("libonnxruntime.so", "libonnxruntime.so.1"):
            (bundle / "onnxruntime/lib" / file).symlink_to(library)
    subprocess.run(["sh", "-ec", "\n".join(build)], cwd=bundle, check=True, env={**os.environ, **python_path})
    steps, data = preprocess.load(bundle / "preprocess.json"), Cifar(project.folder / "data/digits32", "test")
    run, logits = load(engine, project.folder / f"models/{name}/engines/{engine}.onnx"), []
    for k in range(COUNT):
        Image.fromarray(data.image(k)).save(tmp_path / f"{k}.ppm")
        logits.append(run(steps(data.image(k))))
    command = ["./predict", *(str(tmp_path / f"{k}.ppm") for k in range(COUNT))]
    printed = subprocess.run(command, cwd=bundle, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(printed) == 5 * COUNT
    for k, of_image in enumerate(logits):
        lines = [line.rpartition(".ppm: ")[2].split() for line in printed[5 * k : 5 * k + 5]]
        shares = np.exp(of_image - of_image.max())
        shares /= shares.sum()
        assert lines[0][0] == steps.classes[int(of_image.argmax())]
        assert [float(share) for _, share, _ in lines] == pytest.approx(np.sort(100 * shares)[:-6:-1], abs=0.011)
    for arguments, where, why in (
        (["labels.txt"], bundle, "labels.txt: expected a binary PPM image with 255 levels"),
        ([], tmp_path, "int8.onnx and labels.txt must lie in the working directory"),
    ):
        failed = subprocess.run([bundle / "predict", *arguments], cwd=where, capture_output=True, text=True)
        assert (failed.returncode, failed.stderr) == (1, f"{why}\n")
    (bundle / "int8.onnx").write_bytes((bundle / "int8.onnx").read_bytes()[:1000])
    damaged = subprocess.run([bundle / "predict"], cwd=bundle, capture_output=True, text=True)
    assert damaged.returncode == 1
    assert damaged.stderr
