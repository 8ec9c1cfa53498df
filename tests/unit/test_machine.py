"""What a processor's features mean for ncnn's int8, and what `make env` prints."""

import json
from importlib.metadata import version

import pytest

from octet.core import files
from octet.core.folder import ModelFolder
from octet.evaluate.predictions import Prediction, predictions_csv
from octet.ncnn.machine import fitting_target, int8_kernel
from octet.predict.dump import dump
from octet.project.environment import environment

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("flags", "kernel", "target"),
    [
        ("sse4_1 avx2 avx512f avx512_vnni", "avx512_vnni", "dotprod"),  # Ice Lake, Zen 4
        ("avx2 avx_vnni", "avx_vnni", "dotprod"),  # Alder Lake
        ("avx2 f16c", "avx2", "ncnn2int8"),  # Haswell, Zen
        ("asimd asimdhp asimddp", "asimddp", "dotprod"),  # Cortex-A76
        ("asimd crc32", "asimd", "ncnn2int8"),  # Cortex-A72
        ("", None, "ncnn2int8"),
    ],
)
def test_what_fits_a_processor(flags, kernel, target):
    assert (int8_kernel(set(flags.split())), fitting_target(set(flags.split()))) == (kernel, target)


def test_env_says_what_a_bug_report_needs():
    lines = dict(line.split(maxsplit=1) for line in environment("dotprod").splitlines())
    for name in ("ncnn", "torch", "mmcls", "ppq", "onnx", "dvc"):
        assert lines[name] == version(name)
    assert "fits this processor; params.yaml has dotprod" in lines["target"]
    assert lines["threads"]
    assert lines["memory"]


def test_the_dump_of_predictions(tmp_path):
    folder = ModelFolder("m", tmp_path)
    for name, shares in (("fp32", [[0.75, 0.25], [0.5, 0.5]]), ("int8", [[0.875, 0.125], [1, 0]])):
        rows = [
            Prediction("a.png", "éa, b", ["éa, b", "cat"], shares[0]),
            Prediction("b.png", "éa, b", ["cat", "éa, b"], shares[1]),
        ]
        files.write_text(folder.predictions(name), predictions_csv(rows))
    assert dump(folder, tmp_path / "out" / "p.jsonl") == 2
    lines = (tmp_path / "out" / "p.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "image": "a.png",
        "label": "éa, b",
        "fp32": [{"class": "éa, b", "probability": 0.75}, {"class": "cat", "probability": 0.25}],
        "int8": [{"class": "éa, b", "probability": 0.875}, {"class": "cat", "probability": 0.125}],
    }
    assert json.loads(lines[1])["int8"][0] == {"class": "cat", "probability": 1.0}
