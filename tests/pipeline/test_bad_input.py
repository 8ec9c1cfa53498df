"""A user's mistakes, through the stage scripts: a clear error, exit 1, no traceback, and what was there stays."""

import pickle
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from octet.core.errors import OctetError
from tests.pipeline.project import Project

pytestmark = pytest.mark.pipeline


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished run for one test to spoil."""
    shutil.copytree(finished.folder, tmp_path / "p", ignore=shutil.ignore_patterns(".git", "cache"))
    return Project(tmp_path / "p")


def files(project):
    """All files of the model."""
    folders = (project.folder / "models/tiny", project.folder / "metrics")
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


def fails(project, stage, *words, args=()):
    """The stage ends with 1 and says all the words; no file of the model changes, appears or goes."""
    before = files(project)
    result = project.stage(stage, *args)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("error: "), result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert files(project) == before


def export_fails(project, *words):
    """The same of export, in this process: torch and mmcls take seconds to import."""
    before = files(project)
    with pytest.raises(OctetError) as raised:
        project.stage_here("export")
    for word in words:
        assert word in str(raised.value)
    assert files(project) == before


@pytest.mark.slow
def test_missing_checkpoint(project):
    (project.folder / "models/tiny.pth").unlink()
    fails(project, "export", "models/tiny.pth: no such file")


@pytest.mark.parametrize("keep", [0, 100, 20000, -1])
def test_truncated_checkpoint(project, keep):
    path = project.folder / "models/tiny.pth"
    path.write_bytes(path.read_bytes()[:keep])
    export_fails(project, "models/tiny.pth: not a PyTorch checkpoint", "fetch it again")


def test_wrong_checkpoint(project):
    path = project.folder / "models/tiny.pth"
    content = torch.load(path)
    state = content["state_dict"]
    state["head.fc.weight"] = torch.zeros(10, 32)
    state["extra.weight"] = torch.zeros(3)
    del state["backbone.conv1.weight"]
    torch.save(content, path)
    export_fails(
        project,
        "models/tiny.pth: the checkpoint does not belong to this config's model (3 keys differ)",
        "missing: backbone.conv1.weight (8, 3, 3, 3)",
        "unexpected: extra.weight (3,)",
        "wrong shape: head.fc.weight is (10, 32), the model's is (10, 64)",
    )


def test_checkpoint_of_something_else(project):
    torch.save([1, 2], project.folder / "models/tiny.pth")
    export_fails(project, "expected a dictionary with 'state_dict', found list")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoint_whose_pickle_would_run_code(project, legacy):
    """Its weights are read past what would run; where that is in the weights' place, it is refused."""
    path, trace = project.folder / "models/tiny.pth", project.folder / "ran"
    onnx_file = project.folder / "models/tiny/fp32.onnx"
    wanted, content = onnx_file.read_bytes(), torch.load(path)
    torch.save(content | {"evil": Evil(str(trace))}, path, _use_new_zipfile_serialization=not legacy)
    onnx_file.unlink()
    result = project.stage("export")
    assert result.returncode == 0, result.stderr
    assert "stepped over what is no weight, without running it: io.open" in result.stderr.replace("_io.", "io.")
    assert onnx_file.read_bytes() == wanted
    torch.save(content | {"state_dict": Evil(str(trace))}, path, _use_new_zipfile_serialization=not legacy)
    export_fails(project, "holds more than weights", "trusted: true")
    path.write_bytes(pickle.dumps(Evil(str(trace))))
    export_fails(project, "models/tiny.pth: not a PyTorch checkpoint")
    assert not trace.exists()


def test_weights_that_are_not_finite(project):
    """Named by their keys, before anything is written."""
    path = project.folder / "models/tiny.pth"
    content = torch.load(path)
    content["state_dict"]["backbone.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(content, path)
    fails(
        project, "export", "models/tiny.pth: numbers that are not finite in backbone.conv1.weight (8, 3, 3, 3): 1 NaN"
    )


def test_a_trusted_checkpoint_may_hold_anything(project):
    path = project.folder / "models/tiny.pth"
    content = torch.load(path) | {"more": Evil(str(project.folder / "ran"))}
    torch.save(content, path)
    project.edit("params.yaml", "trusted: false", "trusted: true")
    project.stage_here("export")
    assert (project.folder / "ran").exists()


def test_numpy_scalars_in_the_meta_are_harmless(project):
    path = project.folder / "models/tiny.pth"
    content = torch.load(path)
    content["meta"]["lr"] = np.float64(0.1)
    content["meta"]["epoch"] = np.int64(3)
    torch.save(content, path)
    project.stage_here("export")


@pytest.mark.parametrize("kind", ["wrapped", "bare", "parallel", "nested", "averaged", "averages only"])
def test_checkpoints_of_other_layouts(project, kind):
    """They give the same ONNX, bit for bit; the raw weights of an EMA checkpoint are not what is loaded."""
    path, onnx_file = project.folder / "models/tiny.pth", project.folder / "models/tiny/fp32.onnx"
    wanted, content = onnx_file.read_bytes(), torch.load(path)
    state = content["state_dict"]
    parameters = [key for key in state if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    copies = {f"ema_{key.replace('.', '_')}": key for key in parameters}
    torch.save(
        {
            "wrapped": {"epoch": 3, "model_state_dict": state, "optimizer": {"lr": 0.1}},
            "bare": state,
            "parallel": {"state_dict": {f"module.{key}": value for key, value in state.items()}},
            "nested": {"model": {f"module.model.{key}": value for key, value in state.items()}},
            "averaged": content | {"state_dict": state | {copy: torch.zeros(1) for copy in copies}},
            "averages only": {
                "state_dict": {k: v for k, v in state.items() if k not in parameters}
                | {copy: state[key] for copy, key in copies.items()}
            },
        }[kind],
        path,
    )
    onnx_file.unlink()
    project.stage_here("export")
    assert onnx_file.read_bytes() == wanted


def test_class_names_of_another_number(project):
    path = project.folder / "models/tiny.pth"
    content = torch.load(path)
    content["meta"]["CLASSES"] = ["a", "b"]
    torch.save(content, path)
    export_fails(project, "2 class names", "10 outputs")


def test_unknown_config(project):
    project.edit("params.yaml", "configs/models/tiny.py", "configs/models/tyni.py")
    export_fails(project, "configs/models/tyni.py: no such config")
    project.edit("params.yaml", "configs/models/tyni.py", "resnet/resnet18_8xb16_cifar1.py")
    export_fails(project, "Did you mean 'resnet/resnet18_8xb16_cifar10.py'?")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model = dict(", "model = dict((", "cannot be read as an mmcls config"),
        ('type="ImageClassifier"', 'type="ImageClasifier"', "mmcls cannot build the model"),
        ("test_pipeline = [", 'test_pipeline = [dict(type="Lighting"),', "does not know the step 'Lighting'"),
        ('type="CIFAR10"', 'type="VOC"', "data.test.type is 'VOC'"),
        (
            "std=[64.0, ",
            "std=[0, ",
            "Normalize has mean [128.0, 120.0, 110.0] and std [0.0, 60.0, 55.0]; expected numbers, and",
        ),
        ("mean=[128.0, ", "mean=[float('nan'), ", "Normalize has mean [nan, 120.0, 110.0]"),
    ],
)
def test_bad_config(project, old, new, message):
    project.edit("configs/models/tiny.py", old, new)
    export_fails(project, "configs/models/tiny.py", message)


def test_data_missing_empty_and_damaged(project):
    data = project.folder / "data/digits32"
    batch = data / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-5])
    fails(project, "calibrate", "data_batch_2.bin: 307295 bytes", "whole number of 3073-byte records")
    batch = data / "test_batch.bin"
    batch.write_bytes(b"\xff" + batch.read_bytes()[1:])
    fails(project, "evaluate", "test_batch.bin: a label is 255", args=("--precision", "fp32"))
    shutil.rmtree(data)
    data.mkdir()
    fails(
        project,
        "evaluate",
        "data/digits32: no data for the test split; expected CIFAR-10",
        args=("--precision", "fp32"),
    )
    data.rmdir()
    fails(project, "convert", "data/digits32: no such folder")


def test_fewer_images_than_asked_for(project):
    """All are taken, and it is said once; only a calibrator that needs more ends."""
    project.edit("params.yaml", "method: minmax\n  images: 32", "method: minmax\n  images: 501")
    done = project.stage("calibrate")
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr.count("note: calibrate.images: 501 images asked for, the training split has 500; all are taken")
        == 1
    )
    assert "from 500 images by minmax" in done.stdout
    for batch in (project.folder / "data/digits32").glob("data_batch_*.bin"):
        batch.write_bytes(batch.read_bytes()[:3073])
    project.edit("params.yaml", "method: minmax", "method: ppq")
    before, done = files(project), project.stage("calibrate")
    assert done.returncode == 1
    assert "error: data/digits32: 5 training images; calibrate by PPQ needs at least 8. Add images" in done.stderr
    assert files(project) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method: minmax", "metod: minmax", "calibrate.metod: unknown key. Did you mean 'method'?"),
        ("images: 32", "images: many", "calibrate.images"),
        ("target: dotprod", "target: dotprot", "Did you mean 'dotprod'?"),
    ],
)
def test_parameters_are_checked_before_any_work(project, old, new, message):
    project.edit("params.yaml", old, new)
    fails(project, "quantize", "params.yaml", message)


def test_unlisted_model(project):
    result = project.python("-m", "octet", "validate", "--model", "tinny", ok=False)
    assert result.returncode == 1
    assert "Did you mean 'tiny'?" in result.stderr
    assert "checkpoint:" in result.stderr


@pytest.mark.parametrize("value", ["nan", "0", "inf", ""])
def test_bad_scale_in_the_table(project, value):
    path = project.folder / "models/tiny/int8.table"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], f"{lines[-1].split()[0]} {value}"]) + "\n")
    fails(project, "quantize", f"int8.table: line {len(lines)}")


def test_missing_and_unknown_entries_in_the_table(project):
    path = project.folder / "models/tiny/int8.table"
    path.write_text(path.read_text().replace("\nlinear_38 ", "\nlinear_83 "))
    fails(project, "quantize", "no entry 'linear_38'", "'linear_83' is no layer", "Did you mean 'linear_38'?")


def test_damaged_model(project):
    path = project.folder / "models/tiny/fp32.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    fails(project, "quantize", "fp32.bin: layer linear_38, bias", "cut off")
    path.write_bytes(whole + b"\0\0")
    fails(project, "quantize", "fp32.bin: 2 bytes left over")
    path.write_bytes(whole)
    param = project.folder / "models/tiny/fp32.param"
    param.write_text("".join(param.read_text().splitlines(keepends=True)[:-1]))
    fails(project, "calibrate", "fp32.param: line 2 promises 47 layers, the file has 46")


def test_an_operator_that_pnnx_cannot_convert(project):
    """Det, the determinant of a matrix, on the way to the logits."""
    shape = [1, 3, 32, 32]
    weight = np.ones((3, 10), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Det", ["input"], ["d"]), helper.make_node("MatMul", ["d", "w"], ["output"])],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 10])],
        [helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, project.folder / "models/tiny/fp32.onnx")
    fails(project, "convert", "pnnx could not convert the operator", "Det")
    (project.folder / "models/tiny/fp32.onnx").write_bytes(b"not onnx")
    fails(project, "convert", "fp32.onnx: pnnx could not convert it")


def test_a_model_cut_in_three_is_evaluated_as_a_chain(project):
    """Each cut passes a skip connection or lies where int8 would have left a layer; the predictions are the same."""
    param = (project.folder / "models/tiny/fp32.param").read_text().split()
    cuts = [name for name in param if name.startswith("convrelu_")][3:6:2]
    assert len(cuts) == 2
    predictions = project.folder / "metrics/tiny/int8.predictions.csv"

    def predicted(precision):
        done = project.stage("evaluate", "--precision", precision)
        assert done.returncode == 0, done.stderr
        return (project.folder / f"metrics/tiny/{precision}.predictions.csv").read_bytes()

    whole = predicted("fp32")
    project.edit("params.yaml", "partition: []", f"partition: [{', '.join(cuts)}]")
    assert project.stage("quantize").returncode == 0
    assert predicted("fp32") == whole
    chained = predicted("int8")
    assert "parts: 3 parts of fp32 and of int8" in project.python("-m", "octet", "partition").stdout
    assert len(list((project.folder / "models/tiny/parts").iterdir())) == 13
    project.edit("params.yaml", f"partition: [{', '.join(cuts)}]", "partition: []")
    assert predicted("int8") == chained, "the whole model that was cut says the same"
    project.python("-m", "octet", "partition")
    assert not (project.folder / "models/tiny/parts").exists()
    assert predictions.exists()
    project.edit("params.yaml", "partition: []", "partition: [convrelu_99]")
    fails(
        project,
        "quantize",
        "params.yaml: models.tiny: partition: 'convrelu_99' is no blob of the model, nor a layer. Did you mean 'convrelu_",
    )
