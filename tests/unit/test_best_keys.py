"""make best counts no figure of before: what losses and speeds depend on is in the keys under which it remembers them."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import onnx
import pytest

from octet.best import inputs, search
from octet.best.candidates import Budget, Candidate
from octet.best.experiments import Failed
from octet.best.inputs import ROOMS, STAGES, digest, of_candidate
from octet.best.kernels import kernels, onnx_kernels
from octet.best.loss import Loss
from octet.best.record import Measurement
from octet.best.search import Search, Task
from octet.best.speed import Stopwatch
from octet.best.tuning import tuned_profile
from octet.best.versions import LIBRARIES
from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.core.folder import ModelFolder
from octet.data import preprocess
from octet.data.preprocess import Preprocess
from octet.device.session import OURS
from octet.ncnn import table
from octet.ncnn.net import Net, loads, save_net
from octet.qdq.network import Network
from octet.qdq.profiles import PROFILES
from octet.qdq.quantize import quantize
from tests import nets
from tests.onnx_nets import classifier

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
STEPS = Preprocess("RGB", [128.0] * 3, [64.0] * 3, [8, 8], ["a", "b", "c", "d"])
CONVERT = {"deps": [{"path": "data/x", "md5": "1.dir"}, {"path": "octet/core", "md5": "2.dir"}]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with a model as the stage convert leaves it."""
    monkeypatch.chdir(tmp_path)
    folder = ModelFolder("net")
    folder.models.mkdir(parents=True)
    save_net(nets.small(), *folder.fp32)
    onnx.save(classifier(shape=(1, 3, 16, 16)), folder.onnx)
    preprocess.save(STEPS, folder.preprocess)
    write_lock()
    return folder


def write_lock(convert=CONVERT, name="net"):
    Path("dvc.lock").write_text(yaml.dumps({"schema": "2.0", "stages": {f"convert@{name}": convert}}))


def entry(**changes) -> params.Model:
    """That of a model of params.yaml, with its data in data/x."""
    first = next(iter(params.load(ROOT / "params.yaml").models.values()))
    return first.model_copy(update={"data": "data/x"} | changes)


def calibrated(**changes) -> params.Model:
    return entry(calibrate=entry().calibrate.model_copy(update=changes))


def test_kernels_are_told_by_layers_and_whole_numbers():
    text = "7767517\n2 2\nInput in0 0 1 in0\nClip c 1 1 in0 out0 0={} 1=6.0\n"
    one, other = (kernels(loads(text.format(low), b"").layers) for low in ("-1.5", "-2.5e+0"))
    assert one == other
    relu = "7767517\n2 2\nInput in0 0 1 in0\nReLU c 1 1 in0 out0\n"
    assert kernels(loads(relu, b"").layers) != one


def test_kernels_of_an_engine_are_told_by_all_but_weights():
    """By models as the stage qdq writes them: other scales are the same kernels; other shapes, or nodes elsewhere, are not."""
    images = np.random.Generator(np.random.PCG64(0)).standard_normal((4, 3, 16, 16)).astype(np.float32)

    def model(factor=1.0, size=16, **profile):
        net = Network(classifier(end=(), shape=(1, 3, size, size)), "net.onnx")
        (int8,) = quantize(
            net,
            [replace(PROFILES["onnxruntime"], **profile)],
            factor * images[:, :, :size, :size],
            nets.settings("minmax"),
        )
        return int8

    first, scaled, elsewhere = model(), model(2.0), model(outputs=False)
    assert first.model != scaled.model
    assert first.placement.layers == elsewhere.placement.layers
    key = onnx_kernels(first.model, "onnxruntime", "1")
    assert onnx_kernels(scaled.model, "onnxruntime", "1") == key
    others = [elsewhere.model, model(size=8).model]
    changed = onnx.ModelProto.FromString(first.model.SerializeToString())
    next(node for node in changed.graph.node if node.op_type == "Conv").attribute[0].ints[0] = 0
    wider = onnx.ModelProto.FromString(first.model.SerializeToString())
    next(tensor for tensor in wider.graph.initializer if len(tensor.dims) == 4).dims[0] += 8
    keys = {key, onnx_kernels(first.model, "openvino", "1"), onnx_kernels(first.model, "onnxruntime", "2")}
    keys |= {onnx_kernels(other, "onnxruntime", "1") for other in (*others, changed, wider)}
    assert len(keys) == 7


def test_another_input_size_or_network_is_another_key_of_speeds(folder, tmp_path):
    keys = []
    for size in ([8, 8], [8, 16], [8, 8]):
        preprocess.save(replace(STEPS, size=size), folder.preprocess)
        keys.append(Stopwatch(folder, None, tmp_path).key)
    assert keys[0] == keys[2] != keys[1]
    layers = nets.small().layers
    save_net(Net([*layers[:-1], nets.linear("fc", "8", "out0", 8, 4, seed=9)]), *folder.fp32)  # trained anew
    assert Stopwatch(folder, None, tmp_path).key == keys[0]
    save_net(Net([*layers[:-1], nets.linear("fc", "8", "out0", 8, 5)]), *folder.fp32)
    assert Stopwatch(folder, None, tmp_path).key != keys[0]


def test_another_input_size_is_timed_and_tuned_anew(folder, tmp_path, monkeypatch):
    """And the profile of the size before, which params.yaml may name, stays as it is."""
    tuned = []

    def tuner(_there, stopwatch, _seconds, out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"# {stopwatch.key}")
        tuned.append(out)
        return out.stem

    monkeypatch.setattr(search, "tuned_profile", tuner)
    monkeypatch.setattr(Search, "measure", lambda *_: folder)
    one, measured = Candidate("dotprod"), []
    for size in ([8, 8], [8, 16], [8, 8]):
        preprocess.save(replace(STEPS, size=size), folder.preprocess)
        looking = Search(Task("net", entry(), Budget("kl", 1.0), 60, []), tmp_path, tmp_path / "best.json")
        result = Measurement(one, Loss(10, 99.0, 1e-5, 0.0), "kernels", 4)
        looking._record.measurements[looking.experiment(one)] = result
        measured.append(list(looking.measured()))  # before it is timed
        looking._record.speedups.setdefault(looking._stopwatch.key, {})["kernels"] = 2.0
        looking._tune({one: result})
        assert not looking._tune({one: result})
        looking._record.save(tmp_path / "best.json")
        looking.close()
    assert measured == [[], [], [one]]
    assert len(tuned) == len(set(tuned)) == 2
    assert [path.name.startswith("net_best_") for path in tuned] == [True, True]
    (tmp_path / "best.json").unlink()
    looking = Search(Task("net", entry(), Budget("kl", 1.0), 60, []), tmp_path, tmp_path / "best.json")
    assert not looking._tune({one: result}), "the profile of this size is there"


def test_a_tuner_whose_time_was_over_looks_again_with_more_than_twice_the_time(folder, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(search, "tuned_profile", lambda _there, _stopwatch, seconds, _out: given.append(seconds))
    monkeypatch.setattr(Search, "measure", lambda *_: folder)
    result = Measurement(Candidate("dotprod"), Loss(10, 99.0, 1e-5, 0.0), "kernels", 4)
    did = []
    for seconds in (60, 60, 120, 150):
        looking = Search(Task("net", entry(), Budget("kl", 1.0), seconds, []), tmp_path, tmp_path / "best.json")
        did.append(looking._tune({result.candidate: result}))
        looking.close()
    assert did == [True, False, False, True]
    assert given == [search.TUNING * 60, search.TUNING * 150]


def test_what_a_search_writes_into_the_entry_changes_no_key(folder):
    """Fine-tuning's hold_out is the number of hold-out images, which the key has anyway."""
    tuned = entry().rounding.model_copy(update={"method": "finetune"})
    written = tuned.model_copy(update={"finetune": tuned.finetune.model_copy(update={"hold_out": 7})})
    for candidate in (Candidate("dotprod"), Candidate("", engine="onnxruntime")):
        keys = {
            of_candidate(digest(folder, given, 7), "net", given, candidate)
            for given in (entry(rounding=tuned), entry(rounding=written))
        }
        assert len(keys) == 1


def test_boards_that_name_no_processor_are_told_by_their_own_name(folder, tmp_path, monkeypatch):
    board = tmp_path / "model"
    monkeypatch.setattr("octet.tune.text._BOARD", board)
    board.write_bytes(b"Raspberry Pi 5 Model B\0")
    assert Stopwatch(folder, None, tmp_path).place.startswith("Raspberry Pi 5 Model B, ")


def test_all_engines_are_timed_beside_one_fp32(folder, tmp_path, monkeypatch):
    """On Arm with fp16, ncnn's fp32 model runs in fp16, as its default options have it."""
    from octet.ncnn.engine import Engine

    made = []

    class Spy(Engine):
        def __init__(self, param, *others, **options):
            super().__init__(param, *others, **options)
            made.append((Path(param).name, self.net.opt.use_fp16_arithmetic))

    for place in ("octet.tune.bench.Engine", "octet.best.speed.Engine"):
        monkeypatch.setattr(place, Spy, raising=False)
    monkeypatch.setattr("octet.best.speed.processor", lambda: ("", {"asimdhp"}))
    monkeypatch.setattr("octet.best.speed._SECONDS", 0.0)
    preprocess.save(replace(STEPS, size=[16, 16]), folder.preprocess)
    stopwatch = Stopwatch(folder, None, tmp_path)
    assert stopwatch.speedup(folder.fp32) > 0
    assert stopwatch.engine_speedup("onnxruntime", folder.onnx) > 0
    assert set(made) == {("fp32.param", True)}


RUNNER = """#!/bin/sh
case $1 in
--info) echo '{"cpu": "A76", "cores": 4, "big_cores": 2, "features": [], "ncnn": "1.0"}' ;;
--sha256) shift; for file; do [ -f "$file" ] && sha256sum "$file" | cut -c-64 || echo none; done ;;
*) echo "out of memory" >&2; exit 1 ;;
esac
"""


def test_nothing_of_a_tuner_that_fails_stays_on_a_device(folder, tmp_path, monkeypatch):
    (tmp_path / "runner").write_text(RUNNER)
    (tmp_path / "runner").chmod(0o755)
    monkeypatch.setattr("octet.device.session.build", lambda *_: tmp_path / "runner")
    Path("configs/devices").mkdir(parents=True)
    Path("configs/devices/board.yaml").write_text("kind: local\nfolder: device\n")
    scales = dict.fromkeys(("conv_1", "conv_2", "conv_3", "fc"), np.float32(20))
    table.save(table.Table({}, scales), folder.table)
    (tmp_path / "scratch").mkdir()
    stopwatch = Stopwatch(folder, "board", tmp_path / "scratch")
    there = Path("device", OURS, "files")
    with pytest.raises(OctetError, match="board: out of memory"):
        tuned_profile(folder, stopwatch, 10, tmp_path / "net.yaml")
    assert len(list(there.iterdir())) == 5  # the input and two networks
    stopwatch.close()
    assert list(there.iterdir()) == []


@pytest.mark.parametrize("name", ["fp32.param", "fp32.bin", "fp32.onnx", "preprocess.json"])
def test_each_file_of_the_model_is_in_the_digest(folder, name):
    before = digest(folder, entry(), 10)
    assert digest(folder, entry(), 10) == before != digest(folder, entry(), 11)
    path = folder.models / name
    path.write_bytes(path.read_bytes() + b" ")
    assert digest(folder, entry(), 10) != before
    path.unlink()
    with pytest.raises(OctetError, match=rf"{name}: no such file; 'dvc repro convert@net' makes it"):
        digest(folder, entry(), 10)


@pytest.mark.parametrize("library", ["ncnn", "numpy", "torch"])
def test_the_installed_libraries_are_in_the_digest(folder, monkeypatch, library):
    before, installed = digest(folder, entry(), 10), inputs.version
    monkeypatch.setattr(inputs, "version", lambda name: "9" if name == library else installed(name))
    assert digest(folder, entry(), 10) != before


def test_libraries_are_those_that_the_rooms_import():
    """But for those that read or check settings, talk or print, and engines, whose version stands with their candidates."""
    passive = {"cloudpickle", "distributed", "google", "pydantic", "pydantic_core", "ruamel", "tabulate", "tqdm"}
    engines = {"onnxruntime", "openvino"}
    imported = set()
    for path in (path for path in inputs.code() if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    third = imported - set(sys.stdlib_module_names) - {"octet", "stages"} - passive - engines
    known = packages_distributions()
    assert {known.get(name, [name])[0] for name in third} == set(LIBRARIES)


def test_the_code_is_what_the_stages_depend_on_that_make_a_candidate():
    """By dvc.yaml: the stages between the fp32 model and the predictions, their scripts and rooms."""
    stages = yaml.load(ROOT / "dvc.yaml", "git has it")["stages"]
    deps = {
        str(dep)
        for stage in stages
        if stage.partition("_fp32")[0].removesuffix("_int8") in STAGES
        for dep in stages[stage]["do"]["deps"]
    }
    code = {path.relative_to(ROOT).as_posix() for path in inputs.code()}
    assert {dep for dep in deps if dep.startswith("stages/")} == {path for path in code if path.startswith("stages/")}
    assert {dep for dep in deps if dep.startswith("octet/")} == {f"octet/{room}" for room in ROOMS}
    assert {"octet/best/judge.py", "octet/best/loss.py", "octet/quantize/gptq.py", "stages/plan.py"} <= code


def test_images_are_known_by_a_path_that_dvc_wrote_otherwise(tmp_path, monkeypatch):
    """By DVC itself: of a full path into the project it writes one relative to the project."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/image").write_text("1")
    stage = {"cmd": "echo", "deps": [str(tmp_path / "data")]}
    Path("dvc.yaml").write_text(json.dumps({"stages": {"convert": {"foreach": ["net"], "do": stage}}}))
    found = []
    for content in ("1", "2"):
        Path("data/image").write_text(content)
        for words in (["init", "--no-scm", "--quiet", "--force"], ["repro", "--quiet"]):
            subprocess.run([sys.executable, "-m", "dvc", *words], check=True)
        assert "path: data\n" in Path("dvc.lock").read_text()
        found.append(inputs._data("net", str(tmp_path / "data")))
        assert found[-1] == inputs._data("net", "data")
    assert found[0] != found[1]
    with pytest.raises(
        OctetError, match=r"^dvc.lock: has no checksum of images for net; 'dvc repro convert@net' writes it"
    ):
        inputs._data("net", "images")


def test_a_dvc_lock_of_many_models_is_read(folder):
    before = digest(folder, entry(), 10)
    files = "".join(f"    - path: f{k}\n      md5: {k}\n" for k in range(300))
    more = "".join(f"  convert@net{k}:\n    cmd: c\n    deps:\n{files}" for k in range(150))
    Path("dvc.lock").write_text(Path("dvc.lock").read_text() + more)
    assert Path("dvc.lock").stat().st_size > 1_000_000
    assert digest(folder, entry(), 10) == before


@pytest.mark.parametrize("file", [None, "configs/tables/mine.table"])
def test_what_a_candidate_reads_is_in_its_name(tmp_path, monkeypatch, file):
    """A table and a profile that were edited; of other candidates nothing is measured anew."""
    monkeypatch.chdir(tmp_path)
    given = calibrated(method="file", file=file)
    own, computed = Candidate("board", "file"), Candidate("dotprod", "kl")

    def names():
        return [of_candidate("inputs", "net", given, one) for one in (own, computed)]

    seen = [names()]
    for path in (Path(file or "configs/tables/net.table"), Path("configs/targets/board.yaml")):
        for content in ("1", "2"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            seen.append(names())
    assert len({one for one, _ in seen}) == 5
    assert len({other for _, other in seen}) == 1


def test_an_experiment_gets_what_its_settings_name_and_git_has_not(folder, tmp_path, monkeypatch):
    """Also the profile that the entry names of another engine's candidate, which names none: mixed precision's plan reads it."""
    files = [Path("configs/targets/board.yaml"), Path("configs/tables/net.table")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    copied = []

    def run(*given):
        copied.append(given[5])
        raise Failed("why")

    monkeypatch.setattr(search.experiments, "run", run)
    monkeypatch.setattr(search, "ProjectCopy", lambda: None)
    monkeypatch.setattr(search, "is_tracked", lambda _: False)
    given = calibrated(method="file").model_copy(update={"target": "board"})
    looking = Search(Task("net", given, Budget("kl", 1.0), 60, []), tmp_path, tmp_path / "best.json")
    for one in (Candidate("dotprod"), Candidate("board", "file"), Candidate("", engine="onnxruntime")):
        looking.measure(one)
    assert copied == [[], files, files[:1]]


def test_another_engine_s_candidate_depends_on_its_version_and_on_what_the_entry_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine, ncnn = Candidate("", engine="onnxruntime"), Candidate("dotprod")

    def names(of=None):
        return [of_candidate("inputs", "net", of or entry(target="board"), one) for one in (engine, ncnn)]

    before = names()
    Path("configs/targets").mkdir(parents=True)
    Path("configs/targets/board.yaml").write_text("base: dotprod\n")  # mixed precision's plan reads it
    with_profile = names()
    rounded = entry(target="board", rounding=entry().rounding.model_copy(update={"method": "gptq"}))
    gptq = names(rounded)
    monkeypatch.setattr(inputs, "engine_version", lambda _: "9.9")
    assert len({before[0], with_profile[0], gptq[0], names()[0]}) == 4
    assert len({before[1], with_profile[1], gptq[1], names()[1]}) == 1
