"""The parameters with which a model was made, from dvc.lock."""

from pathlib import Path

import pytest

from octet.core import yaml
from octet.core.errors import OctetError
from octet.project.provenance import Provenance, provenance

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
CALIBRATE = {"method": "percentile", "images": 64, "weights": "absmax", "percentile": 99.9}
LOCK = {
    "schema": "2.0",
    "stages": {
        "export@net": {"params": {"params.yaml": {"models.net.config": "net.py", "export": {"opset": 12}}}},
        "convert@net": {"cmd": "convert"},
        "calibrate@net": {"params": {"params.yaml": {"target": "board", "calibrate": CALIBRATE}}},
        "calibrate@other_net": {"params": {"params.yaml": {"target": "dotprod"}}},
        "quantize@net": {"params": {"params.yaml": {"target": "board", "models.net.keep_fp32": ["fc"]}}},
        "benchmark@net": {"params": {"params.yaml": {"benchmark": {"runs": 7, "warmup": 0}}}},
        "summary@net": {"params": {"params.yaml": {"evaluate": {"split": "train", "limit": None}}}},
    },
}


@pytest.fixture
def lock(tmp_path):
    def write(content):
        path = tmp_path / "dvc.lock"
        path.write_text(yaml.dumps(content) if isinstance(content, dict) else content)
        return path

    return write


def test_what_the_lock_says(lock):
    result = provenance("net", lock(LOCK))
    assert result == Provenance(
        source="net.py",
        codebase="mmcls",
        keep_fp32=["fc"],
        opset=12,
        target="board",
        calibrate=CALIBRATE,
        split="train",
        runs=7,
    )
    assert result.calibration == "percentile (99.9), weights by absmax"
    assert result.calibration_images == 64


SETTINGS = {
    "params": {
        "params.yaml": {
            "models.net": {"config": "net.py", "calibrate": {"images": 20}, "target": "board"},
            "calibrate": CALIBRATE,
            "target": "dotprod",
            "export": {"opset": 12},
            "evaluate": {"split": "test", "limit": None},
            "benchmark": {"runs": 7, "warmup": 0},
        }
    },
    "outs": [{"path": "models/net/settings/target.json", "md5": "1"}],
}


def own(*files: dict) -> dict:
    """A lock of a model with settings of its own; quantize read these files."""
    quantize = {"deps": list(files), "params": {"params.yaml": {"models.net.keep_fp32": ["fc"]}}}
    export = {"params": {"params.yaml": {"models.net.config": "net.py"}}}
    return {"stages": {"settings@net": SETTINGS, "export@net": export, "quantize@net": quantize, "summary@net": {}}}


def test_an_onnx_file_s_codebase(lock):
    content = own()
    content["stages"]["export@net"] = {"params": {"params.yaml": {"models.net.onnx": "models/net.onnx"}}}
    result = provenance("net", lock(content))
    assert (result.source, result.codebase) == ("models/net.onnx", "onnx")


def test_a_model_s_own_settings(lock):
    found = provenance("net", lock(own({"path": "models/net/settings/target.json", "md5": "1"})))
    assert (found.target, found.split, found.opset, found.runs) == ("board", "test", 12, 7)
    assert found.calibrate == CALIBRATE | {"images": 20}


def test_files_that_were_made_with_other_settings(lock):
    with pytest.raises(
        OctetError, match="the pipeline did not run to its end for net with its settings; 'make quantize"
    ):
        provenance("net", lock(own({"path": "models/net/settings/target.json", "md5": "2"})))


def test_the_project_s_own_lock():
    result = provenance("resnet18_digits32", ROOT / "dvc.lock")
    assert (result.source, result.split) == ("configs/models/resnet18_digits32.py", "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LOCK | {"stages": {}}, "the pipeline did not run for net; 'make quantize MODEL=net' does that"),
        ("", "the pipeline did not run for net"),
        ("- a", "the pipeline did not run for net"),
        (LOCK | {"stages": LOCK["stages"] | {"export@net": {}}}, "lacks the parameter 'config' of net; 'make quantize"),
        (LOCK | {"stages": LOCK["stages"] | {"export@net": 5}}, "lacks the parameter 'config' of net; 'make quantize"),
        ("a: [", "line 1, column 5: not valid YAML"),
    ],
)
def test_a_lock_that_says_nothing(lock, content, message):
    with pytest.raises(OctetError, match=message):
        provenance("net", lock(content))


def test_no_lock(tmp_path):
    with pytest.raises(OctetError, match="dvc.lock: no such file; 'make quantize MODEL=net' makes it"):
        provenance("net", tmp_path / "dvc.lock")
