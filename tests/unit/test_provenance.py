"""The parameters with which a model was made, from dvc.lock."""

import copy
from pathlib import Path

import pytest

from octet.core import yaml
from octet.core.errors import OctetError
from octet.project.provenance import Provenance, check_current, check_unchanged, provenance

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
    assert (result.rounded(), result.equalize) == ("to the nearest", False), "it is older than GPTQ"


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


@pytest.mark.parametrize(
    ("method", "target", "ncnn", "others"),
    [
        ("nearest", "board", "to the nearest", "to the nearest"),
        ("auto", "board", "by GPTQ, from 8 training images", "by GPTQ, from 8 training images"),
        ("auto", "ncnn2int8", "to the nearest", "by GPTQ, from 8 training images"),
        ("gptq", "ncnn2int8", "by GPTQ, from 8 training images", "by GPTQ, from 8 training images"),
        ("finetune", "board", "by GPTQ, from 8 training images, and fine-tuned", "by GPTQ, from 8 training images"),
    ],
)
def test_how_weights_were_rounded(method, target, ncnn, others, lock):
    content = copy.deepcopy(own())
    settings = content["stages"]["settings@net"]["params"]["params.yaml"]
    settings |= {"rounding": {"method": method, "images": 8}, "equalize": True}
    settings["models.net"]["target"] = target
    found = provenance("net", lock(content))
    assert (found.rounded(), found.rounded("onnxruntime"), found.equalize) == (ncnn, others, True)


def test_files_that_were_made_with_other_settings(lock):
    with pytest.raises(
        OctetError, match="the pipeline did not run to its end for net with its settings; 'make quantize"
    ):
        provenance("net", lock(own({"path": "models/net/settings/target.json", "md5": "2"})))


def test_a_pipeline_that_ran_in_part(lock):
    """`dvc repro quantize@net` made another int8 model: the figures beside it are of the one before."""
    content = own()
    content["stages"]["quantize@net"]["outs"] = [{"path": "models/net/int8.bin", "md5": "2"}]
    content["stages"]["evaluate_int8@net"] = {"deps": [{"path": "models/net/int8.bin", "md5": "1"}]}
    with pytest.raises(
        OctetError,
        match="for net: evaluate_int8@net was made from another models/net/int8.bin; 'make quantize MODEL=net' does",
    ):
        provenance("net", lock(content))
    content["stages"]["evaluate_int8@net"]["deps"][0]["md5"] = "2"
    assert provenance("net", lock(content)).made["models/net/int8.bin"] == "2"


def test_a_file_that_was_changed_since(lock, tmp_path):
    path = tmp_path / "int8.bin"
    path.write_bytes(b"")
    content = own()
    content["stages"]["quantize@net"]["outs"] = [{"path": path.as_posix(), "md5": "d41d8cd98f00b204e9800998ecf8427e"}]
    made_with = provenance("net", lock(content))
    made_with.check([path], "'make quantize' makes it")
    for change, problem in (
        (lambda: path.write_bytes(b"x"), "changed since the pipeline made it, by dvc.lock's checksum; 'make quantize'"),
        (path.unlink, "no such file"),
        (path.mkdir, "expected a file, found a folder"),
    ):
        change()
        with pytest.raises(OctetError, match=f"{path.name}: {problem}"):
            made_with.check([path], "'make quantize' makes it")


def test_what_is_there_of_a_model_is_as_the_pipeline_made_it(lock, tmp_path, monkeypatch):
    """A changed file is named; one that is not there, or that no stage has made, is passed over."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "int8.bin"
    path.write_bytes(b"")
    outs = [{"path": "int8.bin", "md5": "d41d8cd98f00b204e9800998ecf8427e"}, {"path": "gone.bin", "md5": "1"}]
    recorded = lock({"stages": {"quantize@net": {"outs": outs}}})
    check_unchanged("net", lock=recorded)
    path.write_bytes(b"x")
    for paths in ([], [Path("int8.bin")]):
        with pytest.raises(OctetError, match="int8.bin: changed since the pipeline made it, by dvc.lock's checksum"):
            check_unchanged("net", paths, recorded)
    check_unchanged("net", [Path("gone.bin"), Path("other.bin")], recorded)
    check_unchanged("net", lock="nothing.lock")


def test_figures_that_are_not_of_the_model_s_files(lock, tmp_path, monkeypatch):
    """However far up the other file lies; and what the figures do not come from does not matter."""
    monkeypatch.chdir(tmp_path)
    empty, one = "d41d8cd98f00b204e9800998ecf8427e", "1"
    (tmp_path / "summary.json").write_bytes(b"")
    stages = {
        "quantize@net": {"outs": [{"path": "int8.bin", "md5": one}]},
        "evaluate_int8@net": {
            "deps": [{"path": "int8.bin", "md5": one}],
            "outs": [{"path": "int8.json", "md5": one}],
        },
        "summary@net": {
            "deps": [{"path": "int8.json", "md5": one}, {"path": "octet/core", "md5": "9"}],
            "outs": [{"path": "summary.json", "md5": empty}],
        },
        "analyze@net": {"deps": [{"path": "int8.bin", "md5": "0"}], "outs": [{"path": "analyze.json", "md5": empty}]},
    }
    content = {"stages": stages}
    check_current("net", [Path("summary.json")], lock(content))
    stages["evaluate_int8@net"]["deps"][0]["md5"] = "0"
    with pytest.raises(OctetError, match="for net: evaluate_int8@net was made from another int8.bin; 'make quantize"):
        check_current("net", [Path("summary.json")], lock(content))
    stages["evaluate_int8@net"]["deps"][0]["md5"] = one
    stages["summary@net"]["deps"][0]["md5"] = "0"
    with pytest.raises(OctetError, match="for net: summary@net was made from another int8.json; 'make quantize"):
        check_current("net", [Path("summary.json")], lock(content))
    for damaged in ({"stages": None}, {"stages": {"summary@net": 5}}, {"stages": {"summary@net": {"outs": {}}}}):
        with pytest.raises(
            OctetError, match=r"summary.json: changed since the pipeline made it, by dvc.lock's checksum"
        ):
            check_current("net", [Path("summary.json")], lock(damaged))
    stages["quantize@net"]["deps"] = [{"path": "summary.json", "md5": empty}]  # a circle has an end
    stages["summary@net"]["deps"] = [{"path": "int8.bin", "md5": one}]
    check_current("net", [Path("summary.json")], lock(content))


@pytest.mark.parametrize(
    ("key", "value"),
    [*((key, value) for key in ("method", "images", "weights") for value in (None, 7.5, [], {})), ("method", "x.y")],
)
def test_a_calibration_that_is_none(lock, key, value):
    """Of a damaged dvc.lock: no traceback, and no module of that name is imported."""
    content = own()
    content["stages"]["settings@net"] = SETTINGS | {"params": {"params.yaml": SETTINGS["params"]["params.yaml"].copy()}}
    content["stages"]["settings@net"]["params"]["params.yaml"]["models.net"] = {"calibrate": CALIBRATE | {key: value}}
    with pytest.raises(OctetError, match="dvc.lock: damaged where it has the parameters of net"):
        provenance("net", lock(content))


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


def test_a_folder_s_checksum_is_dvc_s(tmp_path, monkeypatch):
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    monkeypatch.chdir(tmp_path)
    for name, data in (("b.onnx", b"b"), ("a.json", b"{}"), ("deep/é.bin", b"c"), ("b/z", b"d")):
        Path("engines", name).parent.mkdir(parents=True, exist_ok=True)
        Path("engines", name).write_bytes(data)
    system = LocalFileSystem()
    _, _, built = build(
        HashFileDB(system, str(tmp_path / "cache")), str(tmp_path / "engines"), system, "md5", dry_run=True
    )
    made_with = Provenance("c", "mmcls", [], 13, "dotprod", {}, "test", 1, {"engines": built.hash_info.value})
    made_with.check([Path("engines")], "it is made")
    Path("engines/deep/é.bin").write_bytes(b"d")
    with pytest.raises(OctetError, match="engines: changed since the pipeline made it"):
        made_with.check([Path("engines")], "it is made")
