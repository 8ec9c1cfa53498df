"""params.yaml: what is read, and the line that each kind of mistake gives."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml
from dvc.utils.serialize._yaml import YAMLFileCorruptedError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from octet.core import fields, params, registry, yaml
from octet.core.errors import OctetError
from octet.graph.targets import TARGETS

pytestmark = pytest.mark.unit

INSIDE = 'models.net.splits.{}: expected a path in the data set\'s folder, where DVC sees that it changes, found "{}"'
SHIPPED = Path(__file__).parents[2] / "params.yaml"
VALID = """\
models:
  net:
    config: configs/models/net.py
    checkpoint: models/net.pth
    trusted: false
    data: data/digits32
    keep_fp32: []
    partition: []
    max_drop_pt: 0.3
target: dotprod
export:
  opset: 13
calibrate:
  method: kl
  images: 256
  weights: absmax
  percentile: 99.99
  ppq:
    algorithm: percentile
    batch: 32
evaluate:
  split: test
  limit: null
benchmark:
  runs: 100
  warmup: 10
equalize: false
rounding:
  method: gptq
  images: 200
analyze:
  images: 128
mixed_precision:
  metric: kl
  budget: 0.001
  images: 1000
parallel:
  scheduler: null
engines: [ncnn]
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


def changed(old: str, new: str) -> str:
    """The valid file with one piece changed."""
    assert VALID.count(old) == 1
    return VALID.replace(old, new)


def problems(path: Path, text: str | bytes) -> list[str]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(OctetError) as raised:
        params.load(path)
    return str(raised.value).split("\n")


def shared(loaded: params.Params) -> dict[str, object]:
    """What an entry without settings of its own takes from the top."""
    return {key: getattr(loaded, key) for key in params.Settings.model_fields}


def test_the_shipped_file_loads():
    loaded = params.load(SHIPPED)
    assert loaded.models["resnet18_digits32"] == params.Model(
        config="configs/models/resnet18_digits32.py",
        checkpoint="models/resnet18_digits32.pth",
        trusted=False,
        data="data/digits32",
        keep_fp32=(),
        partition=(),
        max_drop_pt=0.3,
        **shared(loaded),
    )
    assert loaded.target == "dotprod"
    assert loaded.export == params.Export(opset=13)
    assert loaded.calibrate == params.Calibrate(
        method="mse", images=256, weights="absmax", percentile=99.99, ppq=params.Ppq(algorithm="percentile", batch=32)
    )
    assert not loaded.equalize
    assert loaded.rounding == params.Rounding(method="auto", images=64)
    assert loaded.analyze == params.Analyze(images=128)
    assert loaded.mixed_precision == params.MixedPrecision(metric="none", budget=0.001, images=1000)
    assert loaded.evaluate == params.Evaluate(split="test", limit=None)
    assert loaded.benchmark == params.Benchmark(runs=100, warmup=10)
    assert loaded.parallel == params.Parallel(scheduler=None)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.target = "ncnn2int8"


def parameters(section: type[fields.Section], at: str = "") -> dict[str, FieldInfo]:
    """The field of every parameter, by its path; the models' under 'models.net'."""
    result = {}
    for key, field in section.model_fields.items():
        if fields.is_section(field.annotation):
            result |= parameters(field.annotation, f"{at}{key}.")
        elif fields.entry(field.annotation):
            result |= parameters(fields.entry(field.annotation), f"{at}{key}.net.")
        else:
            result[f"{at}{key}"] = field
    return result


def test_every_question_is_a_comment_in_the_shipped_file_and_every_example_is_valid(path):
    text, example = SHIPPED.read_text(), {}
    for key, field in parameters(params.Params).items():
        assert f"# {field.title.removesuffix('?')}" in text, key
        *parents, last = key.split(".")
        at = example
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = yaml.parse(fields.example(field), key).values
    entry = example["models"]["net"]
    others = {key: entry.pop(key) for key in (*params.OTHERS, "preprocess")}  # an entry has one source
    path.write_text(json.dumps(example))
    assert params.load(path).models["net"].config == "configs/models/NAME.py"
    left = {key: value for key, value in entry.items() if key not in ("config", "checkpoint", "zoo")}
    for key in params.OTHERS:
        of_source = {name: others[name] for name in (key, "preprocess")}
        example["models"]["net"] = left | of_source | {"checkpoint": others["onnx"]}
        path.write_text(json.dumps(example))
        assert getattr(params.load(path).models["net"], key) == others[key]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "a number"),
        ({"ge": 0}, "a number of at least 0"),
        ({"ge": 0, "le": 1}, "a number from 0 to 1"),
        ({"gt": 0}, "a number above 0"),
        ({"le": 1}, "a number of at most 1"),
        ({"gt": 0, "le": 1}, "a number above 0 and of at most 1"),
        ({"ge": 0, "lt": 1}, "a number of at least 0 and below 1"),
    ],
)
def test_every_limit_of_a_number_is_told(limits, words, tmp_path):
    class Own(fields.Section):
        share: float = fields.ask("Which share?", 0.5, **limits)

    assert fields.expected(Own.model_fields["share"], tmp_path) == words


def test_dvc_reads_the_same_from_the_shipped_file():
    text = SHIPPED.read_text()
    assert yaml.parse(text, SHIPPED).values == parse_yaml(text, SHIPPED)


@pytest.mark.parametrize(
    "scalar",
    [
        "1e-3",
        "1E+3",
        "1e3",
        "-1e-3",
        "12e03",
        "1.",
        "0.3",
        ".5",
        "-.5",
        "+.5",
        ".5e+3",
        ".5e3",
        "1_000",
        "1_e3",
        "1_0.0_1",
        "1e",
        "1e_3",
        "0",
        "00",
        "-0",
        "010",
        "08",
        "-010",
        "+12",
        "007_0",
        "0o17",
        "0o8",
        "0o",
        "0x1F",
        "-0x1f",
        "0x00",
        "0xb0",
        "0X1F",
        "0b101",
        "0b2",
        "1:30",
        "1:30.5",
        ".inf",
        "-.inf",
        "+.INF",
        "true",
        "TRUE",
        "True",
        "tRue",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "Yes",
        "~",
        "null",
        "NULL",
        "nUll",
        "'1e-3'",
        '"7"',
        "_1",
        "1.2.3",
        "1-2",
        "0o7",
        ".nan",
        "2001-01-01",
        "2001-01-01 10:00:00",
        "12:30:45",
        "!!str 1",
        "0.",
        "1_000.5",
    ],
)
def test_dvc_reads_the_same_scalars(scalar):
    text = f"key: {scalar}\n{scalar}: value\n"
    ours, theirs = yaml.parse(text, "x").values, parse_yaml(text, "x")
    assert repr(ours) == repr(theirs)
    assert [(type(k), type(v)) for k, v in ours.items()] == [(type(k), type(v)) for k, v in theirs.items()]


@pytest.mark.parametrize("text", ["<<: 1", "a: =", "a: *b", "a: 1\na: 2", "1: a\n01: b", "a: !x b", "- a\nb: 1"])
def test_what_dvc_does_not_read_is_refused(path, text):
    with pytest.raises(YAMLFileCorruptedError):
        parse_yaml(text, "x")
    Path("x.yaml").write_text(text)
    with pytest.raises(OctetError, match=r"^x.yaml: "):
        yaml.load("x.yaml", "")


def test_numbers_with_exponents_integers_for_floats_limits_and_layer_names_are_read(path):
    text = changed("0.3", "1e-3").replace("limit: null", "limit: 0x10").replace("images: 256", "images: 010")
    path.write_text(text.replace("keep_fp32: []", "keep_fp32: [conv_0, on, '18']"))
    loaded = params.load(path)
    assert loaded.models["net"].max_drop_pt == 0.001
    assert loaded.models["net"].keep_fp32 == ("conv_0", "on", "18")
    assert (loaded.evaluate.limit, loaded.calibrate.images) == (16, 10)
    path.write_text(changed("0.3", "1"))
    assert type(params.load(path).models["net"].max_drop_pt) is float


def test_anchors_and_merge_keys_are_read(path):
    more = "  other:\n    <<: *net\n    data: data/other\n"
    path.write_text(changed("  net:", "  net: &net").replace("target:", f"{more}target:"))
    assert params.load(path).models["other"].data == "data/other"
    assert params.load(path).models["other"].checkpoint == "models/net.pth"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        # Unknown keys at any level; the key that is then missing is the second line.
        ("  method: kl", "  metod: kl", "calibrate.metod: unknown key. Did you mean 'method'?"),
        ("target: dotprod", "target: dotprod\ntargets: 1", "targets: unknown key. Did you mean 'target'?"),
        ("    batch", "    bach", "calibrate.ppq.bach: unknown key. Did you mean 'batch'?"),
        ("trusted:", "truste:", "models.net.truste: unknown key. Did you mean 'trusted'?"),
        ("  opset: 13", "  opset: 13\n  1: 2", "export.1: unknown key. Known: opset."),
        # Missing keys
        ("target: dotprod\n", "", "target: missing key. Which int8 kernels does the device run best? For example "),
        ("  images: 256\n", "", "calibrate.images: missing key. How many training images? For example 'images: 256'"),
        ("    batch: 32\n", "", "calibrate.ppq.batch: missing key. How many images a step? For example 'batch: 32'"),
        ("    trusted: false\n", "", "models.net.trusted: missing key. May reading the checkpoint run code?"),
        ("export:\n  opset: 13\n", "", "export.opset: missing key. Which ONNX opset? For example 'opset: 13'"),
        # Wrong types
        ("images: 256", "images: true", "calibrate.images: expected a whole number of at least 1, found true."),
        ("images: 256", "images: '256'", 'calibrate.images: expected a whole number of at least 1, found "256".'),
        ("images: 256", "images: 2.5", "calibrate.images: expected a whole number of at least 1, found 2.5."),
        ("images: 256", "images: 1e3", "calibrate.images: expected a whole number of at least 1, found 1000.0."),
        ("images: 256", "images:", "calibrate.images: expected a whole number of at least 1, found null."),
        ("trusted: false", "trusted: 0", "models.net.trusted: expected true or false, found 0. For example false"),
        ("trusted: false", "trusted: yes", 'models.net.trusted: expected true or false, found "yes".'),
        ("0.3", "true", "models.net.max_drop_pt: expected a number from 0 to 100, found true. For example 0.3"),
        ("0.3", "'0.3'", 'models.net.max_drop_pt: expected a number from 0 to 100, found "0.3".'),
        ("data/digits32", "5", "models.net.data: expected text, found 5. For example data/digits32"),
        ("data/digits32", "''", 'models.net.data: expected text, found "".'),
        ("data/digits32", "[a]", 'models.net.data: expected text, found ["a"].'),
        (
            "keep_fp32: []",
            "keep_fp32: conv_0",
            'models.net.keep_fp32: expected a list of texts, found "conv_0". For example []',
        ),
        (
            "keep_fp32: []",
            "keep_fp32: [conv_0, 18]",
            'models.net.keep_fp32: expected a list of texts, found ["conv_0", 18].',
        ),
        ("keep_fp32: []", "keep_fp32: ['']", 'models.net.keep_fp32: expected a list of texts, found [""].'),
        ("keep_fp32: []", "keep_fp32: {a: 1}", 'models.net.keep_fp32: expected a list of texts, found {"a": 1}.'),
        ("limit: null", "limit: all", 'evaluate.limit: expected a whole number of at least 1 or null, found "all".'),
        ("limit: null", "limit: true", "evaluate.limit: expected a whole number of at least 1 or null, found true."),
        (
            "target: dotprod",
            "target: 5",
            "target: expected one of dotprod, ncnn2int8, winograd, found 5. For example dotprod",
        ),
        (
            "target: dotprod",
            "target: [dotprod]",
            'target: expected one of dotprod, ncnn2int8, winograd, found ["dotprod"].',
        ),
        ("export:\n  opset: 13", "export: 13", "export: expected a mapping with the keys opset; found 13"),
        ("export:\n  opset: 13", "export:", "export: expected a mapping with the keys opset; found null"),
        (
            "    algorithm: percentile\n    batch: 32",
            "    - kl",
            "calibrate.ppq: expected a mapping with the keys algori",
        ),
        (
            "keep_fp32: []",
            "splits: val",
            'models.net.splits: expected a mapping with the keys train, test; found "val"',
        ),
        (
            "keep_fp32: []",
            "splits: {test: val}",
            'models.net.splits.test: expected a mapping with the keys folder, annotations; found "val"',
        ),
        (
            "keep_fp32: []",
            "splits: {test: {folders: val}}",
            "models.net.splits.test.folders: unknown key. Did you mean 'folder'?",
        ),
        (
            "keep_fp32: []",
            "splits: {val: {folder: val}}",
            "models.net.splits.val: unknown key. Known: test, train",
        ),
        (
            "keep_fp32: []",
            "splits: {test: {annotations: val.txt}}",
            "models.net.splits.test.folder: missing key. In which folder are its images? For example 'folder: val'",
        ),
        (
            "keep_fp32: []",
            "splits: {test: {folder: 5}}",
            "models.net.splits.test.folder: expected text, found 5. For example val",
        ),
        (
            "keep_fp32: []",
            "splits: {test: {folder: /mine/val}}",
            INSIDE.format("test.folder", "/mine/val"),
        ),
        (
            "keep_fp32: []",
            "splits: {train: {folder: ., annotations: ../a.txt}}",
            INSIDE.format("train.annotations", "../a.txt"),
        ),
        # Out of range
        ("images: 256", "images: 0", "calibrate.images: expected a whole number of at least 1, found 0."),
        ("    batch: 32", "    batch: -1", "calibrate.ppq.batch: expected a whole number of at least 1, found -1."),
        ("opset: 13", "opset: 10", "export.opset: expected a whole number from 11 to 13, found 10. For example 13"),
        ("opset: 13", "opset: 14", "export.opset: expected a whole number from 11 to 13, found 14."),
        ("limit: null", "limit: 0", "evaluate.limit: expected a whole number of at least 1 or null, found 0."),
        (
            "scheduler: null",
            "scheduler: host:1",
            "parallel.scheduler: expected an address as tcp://host:8786, or null,",
        ),
        ("scheduler: null", "scheduler: [a]", "parallel.scheduler: expected text or null, found"),
        ("runs: 100", "runs: 0", "benchmark.runs: expected a whole number of at least 1, found 0."),
        ("warmup: 10", "warmup: -1", "benchmark.warmup: expected a whole number of at least 0, found -1."),
        ("0.3", "-1e-3", "models.net.max_drop_pt: expected a number from 0 to 100, found -0.001."),
        ("0.3", "100.5", "models.net.max_drop_pt: expected a number from 0 to 100, found 100.5."),
        ("0.3", ".nan", "models.net.max_drop_pt: expected a number from 0 to 100, found NaN."),
        ("0.3", ".inf", "models.net.max_drop_pt: expected a number from 0 to 100, found Infinity."),
        # Unknown choices
        ("method: kl", "method: minmaxx", "calibrate.method: unknown value \"minmaxx\". Did you mean 'minmax'?"),
        (
            "method: kl",
            "method: entropy",
            f'calibrate.method: unknown value "entropy". Known: {", ".join(sorted(registry.calibrators()))}.',
        ),
        (
            "algorithm: percentile",
            "algorithm: percent",
            "calibrate.ppq.algorithm: unknown value \"percent\". Did you mean 'percentile'?",
        ),
        ("target: dotprod", "target: dotproduct", "target: unknown value \"dotproduct\". Did you mean 'dotprod'?"),
        # Names of models
        ("  net:", "  18:", "models.18: 18 is no usable name. Names are text (18 needs quotes) of letters, digits, "),
        ("  net:", "  true:", "models.True: true is no usable name."),
        ("  net:", "  a b:", 'models.a b: "a b" is no usable name.'),
        ("  net:", "  a/b:", 'models.a/b: "a/b" is no usable name.'),
        ("  net:", "  a@b:", 'models.a@b: "a@b" is no usable name.'),
        ("  net:", "  ..:", 'models...: ".." is no usable name.'),
        ("  net:", "  .net:", 'models..net: ".net" is no usable name.'),
        ("  net:", "  net.:", 'models.net.: "net." is no usable name.'),
        ("  net:", "  -net:", 'models.-net: "-net" is no usable name.'),
        ("  net:", "  nét:", 'models.nét: "nét" is no usable name.'),
        ("  net:", "  '':", 'models.: "" is no usable name.'),
        ("  net:", '  "net\\n":', 'models.net\n: "net\\n" is no usable name.'),
        # Given twice
        ("  images: 256", "  images: 256\n  method: mse", "calibrate.method: given in the lines 14 and 16. Keep one"),
        ("  images: 256", "  images: 256\n  images: 256", "calibrate.images: given in the lines 15 and 16. Keep one"),
        ("target: dotprod", "target: dotprod\ntarget: dotprod", "target: given in the lines 10 and 11. Keep one"),
        ("0.3", "0.3\n  net: {}", "models.net: given in the lines 2 and 10. Keep one"),
        ("export:\n  opset: 13", "export: {opset: 13, opset: 13}", "export.opset: given in the lines 11 and 11."),
        # Valid alone, not together
        ("method: kl\n  images: 256", "method: ppq\n  images: 7", "calibrate.images: PPQ needs at least 8, found 7."),
    ],
)
def test_each_mistake_gives_a_line_with_the_file_and_the_full_path(path, old, new, line):
    assert "\n".join(problems(path, changed(old, new))).startswith(f"params.yaml: {line}")


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("  method: kl", "  metod: kl", 2),
        ("images: 256", "images: 0", 1),
        ("target: dotprod", "target: 5", 1),
        ("method: kl\n  images: 256", "method: ppq\n  images: 7", 1),
        ("export:\n  opset: 13", "export:", 1),
    ],
)
def test_one_mistake_gives_no_lines_on_other_keys(path, old, new, lines):
    assert len(problems(path, changed(old, new))) == lines


@pytest.mark.parametrize("name", ["resnet18_digits32", "a", "_", "resnet-v1-b", "'18'", "'1e3'", "on"])
def test_names_of_models_that_may_be(path, name):
    path.write_text(changed("  net:", f"  {name}:"))
    assert list(params.load(path).models) == [name.strip("'")]


@pytest.mark.parametrize(("method", "images"), [("ppq", 8), ("kl", 1)])
def test_only_ppq_needs_eight_images(path, method, images):
    path.write_text(changed("method: kl\n  images: 256", f"method: {method}\n  images: {images}"))
    assert params.load(path).calibrate.images == images


def test_all_mistakes_are_reported_at_once(path):
    text = changed("trusted: false", "trusted: 1").replace("dotprod", "x").replace("opset: 13", "opset: 3")
    text = text.replace("method: kl\n  images: 256", "method: ppq\n  images: 5\n  image: 5").replace("runs", "run")
    assert [line.split(": ")[1] for line in problems(path, text)] == [
        "models.net.trusted",
        "target",
        "export.opset",
        "calibrate.image",
        "calibrate.images",
        "benchmark.run",
        "benchmark.runs",
    ]
    assert all(line.startswith("params.yaml: ") for line in problems(path, text))


@pytest.mark.parametrize("models", ["models: {}", "models:", "models: []", "models: [net]", "models: net", ""])
def test_no_models(path, models):
    result = problems(path, models + VALID[VALID.index("\ntarget") :])
    assert len(result) == 1
    assert result[0].startswith("params.yaml: models: expected a mapping with entries like 'NAME: {config: ")


OWN = "    target: ncnn2int8\n    calibrate: {images: 20, ppq: {batch: 4}}\n    evaluate: {limit: 7}\n"


def test_an_entry_s_own_settings_count_for_it_alone(path):
    text = changed("    max_drop_pt: 0.3\n", f"    max_drop_pt: 0.3\n{OWN}")
    path.write_text(
        text.replace("\ntarget:", "\n  other:" + VALID.split("  net:")[1].split("target")[0] + "target:", 1)
    )
    loaded = params.load(path)
    own, other = loaded.models["net"], loaded.models["other"]
    assert (own.target, own.evaluate) == ("ncnn2int8", params.Evaluate(split="test", limit=7))
    assert own.calibrate == params.Calibrate(
        method="kl", images=20, weights="absmax", percentile=99.99, ppq=params.Ppq(algorithm="percentile", batch=4)
    )
    assert own.rounding == loaded.rounding
    assert {key: getattr(other, key) for key in params.Settings.model_fields} == shared(loaded)


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("calibrate: {image: 5}", "models.net.calibrate.image: unknown key. Did you mean 'images'?"),
        ("calibrat: {images: 5}", "models.net.calibrat: unknown key. Did you mean 'calibrate'?"),
        ("target: dotprot", "models.net.target: unknown value \"dotprot\". Did you mean 'dotprod'?"),
        ("evaluate: {limit: 0}", "models.net.evaluate.limit: expected a whole number of at least 1 or null, found 0."),
        ("calibrate: {ppq: {bach: 1}}", "models.net.calibrate.ppq.bach: unknown key. Did you mean 'batch'?"),
        ("calibrate: null", "models.net.calibrate: expected a mapping with the keys method, images"),
        ("analyze: 3", "models.net.analyze: expected a mapping with the keys images; found 3"),
        ("parallel: {scheduler: null}", "models.net.parallel: unknown key"),
        (
            "parallel: {scheduler: null}",
            "models.net.parallel: unknown key. 'parallel' stands at the top of the file, for all models",
        ),
        (
            "check: {device_max_drop_pt: 1}",
            "models.net.check: unknown key. 'check' stands at the top of the file, for all models",
        ),
        (
            "splits: {target: dotprod}",
            "models.net.splits.target: unknown key. 'target' stands at the top of the file or in a model's entry",
        ),
        (
            "engines: [ncnn, tvm]",
            'models.net.engines: unknown value "tvm". Known: ncnn, onnxruntime, openvino, tensorrt.',
        ),
        ("engines: [openvin]", "models.net.engines: unknown value \"openvin\". Did you mean 'openvino'?"),
        ("engines: 4", "models.net.engines: expected a list of ncnn, onnxruntime, openvino, tensorrt, found 4"),
        ("engines: null", "models.net.engines: expected a list of ncnn, onnxruntime, openvino, tensorrt, found null"),
        ("engines: [4]", "models.net.engines: expected a list of ncnn, onnxruntime, openvino, tensorrt, found [4]"),
        ("calibrate: {method: ppq, images: 5}", "models.net.calibrate.images: PPQ needs at least 8, found 5"),
        ("calibrate: {method: ppq}\n    equalize: true", "models.net.equalize: PPQ calibrates the ONNX model"),
    ],
)
def test_a_mistake_in_an_entry_s_own_settings_has_its_path(path, own, line):
    found = problems(path, changed("    max_drop_pt: 0.3\n", f"    max_drop_pt: 0.3\n    {own}\n"))
    assert len(found) == 1
    assert found[0].startswith(f"params.yaml: {line}")


def test_an_entry_s_own_setting_may_not_fit_what_it_has_from_the_top(path):
    text = changed("equalize: false", "equalize: true").replace(
        "    max_drop_pt: 0.3\n", "    max_drop_pt: 0.3\n    calibrate: {method: ppq}\n"
    )
    found = problems(path, text)
    assert [line.split(": ")[1] for line in found] == ["models.net.equalize"]
    assert found[0].endswith("Change it or calibrate.method. The entry has 'equalize' from the top of the file")
    own = "    max_drop_pt: 0.3\n    calibrate: {method: ppq}\n"
    found = problems(path, changed("images: 256", "images: 4").replace("    max_drop_pt: 0.3\n", own))
    assert found == [
        "params.yaml: models.net.calibrate.images: PPQ needs at least 8, found 4. Raise it or change 'method'. The entry has "
        "'calibrate.images' from the top of the file"
    ]


@pytest.mark.parametrize("value", [".inf", ".nan", "1e999"])
@pytest.mark.parametrize("key", ["budget: 0.001", "percentile: 99.99"])
def test_numbers_have_to_be_finite(path, key, value):
    name = key.partition(":")[0]
    found = problems(path, changed(f"  {key}", f"  {name}: {value}"))
    assert len(found) == 1
    assert f"{name}: expected a number" in found[0]


def test_old_names_in_an_entry_s_own_settings(path, capsys):
    path.write_text(changed("    max_drop_pt: 0.3\n", "    max_drop_pt: 0.3\n    rounding: {method: learned}\n"))
    assert params.load(path).models["net"].rounding == params.Rounding(method="gptq", images=200)
    assert "models.net.rounding.method: 'learned' is called 'gptq' now" in capsys.readouterr().err


def test_an_entry_that_is_no_mapping(path):
    result = problems(path, "models:\n  net: 5" + VALID[VALID.index("\ntarget") :])
    assert result == [
        "params.yaml: models.net: expected a mapping with the keys config, checkpoint, trusted, data, splits, "
        "keep_fp32, partition, max_drop_pt, min_sqnr_db, zoo, onnx, timm, torchvision, preprocess; found 5"
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_file_lacks_every_key(path, text):
    paths = ["models", "engines", "target", "export.opset", "equalize", "calibrate.method", "calibrate.images"]
    paths += ["calibrate.weights", "calibrate.percentile", "calibrate.ppq.algorithm"]
    paths += ["calibrate.ppq.batch", "rounding.method", "rounding.images", "analyze.images"]
    paths += ["mixed_precision.metric", "mixed_precision.budget", "mixed_precision.images"]
    paths += ["evaluate.split", "evaluate.limit", "benchmark.runs", "benchmark.warmup", "parallel.scheduler"]
    assert [line.split(": ")[1] for line in problems(path, text)] == paths


def test_ppq_does_not_see_an_equalized_network(path):
    text = changed("equalize: false", "equalize: true").replace("method: kl", "method: ppq", 1)
    assert problems(path, text)[0].startswith("params.yaml: equalize: PPQ calibrates the ONNX model")


def test_a_file_that_is_no_mapping(path):
    wanted = "models, engines, target, export, equalize, calibrate, rounding, analyze, mixed_precision, evaluate, benchmark, "
    wanted += "parallel, check"
    assert problems(path, "- a") == [f'params.yaml: expected a mapping with the keys {wanted}; found ["a"]']


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (changed("target: dotprod", "target: [dotprod"), "line 11, column 7: not valid YAML: expected ',' or ']'"),
        (changed("  opset: 13", "\topset: 13"), "line 12, column 1: not valid YAML: found character '\\t'"),
        (
            changed("target: dotprod", "target: a: b"),
            "line 10, column 10: not valid YAML: mapping values are not allow",
        ),
        (changed("target: dotprod", "target: *kernels"), "line 10, column 9: not valid YAML: found undefined alias"),
        (changed("target: dotprod", "target: !!python/name:os.system"), "line 10, column 9: not valid YAML: could not"),
        (changed("target: dotprod", "? [a]\n: b"), "line 10, column 3: not valid YAML: found unhashable key"),
        (changed("export:\n  opset: 13", "export: &e {opset: *e}"), "line 11, column 9: not valid YAML: found uncons"),
        (VALID + "---\na: 1\n", "line 40, column 1: not valid YAML: but found another document"),
        (changed("images: 256", "images: !!int many"), "somewhere: not valid YAML: invalid literal for int()"),
        (changed("trusted: false", "trusted: !!bool many"), "somewhere: not valid YAML: 'many'"),
        (VALID.encode() + b"\xff\n", "somewhere: not valid YAML: "),
        (VALID + "\0", "somewhere: not valid YAML: unacceptable character"),
        (VALID + '"\\ud800": 1\n', "somewhere: not valid YAML: 'utf-8' codec can't encode"),
    ],
)
def test_errors_of_syntax_say_where(path, text, line):
    result = problems(path, text)
    assert len(result) == 1
    assert result[0].startswith(f"params.yaml: {line}")


def test_a_missing_file_and_a_folder(path):
    with pytest.raises(OctetError, match=r"^params.yaml: no such file; run this in the project's top folder"):
        params.load(path)
    path.mkdir()
    with pytest.raises(OctetError, match=r"^params.yaml: expected a file, found a folder"):
        params.load(path)


def test_the_profiles_beside_the_file_are_targets_too(path, tmp_path, monkeypatch):
    profiles = tmp_path / "configs" / "targets"
    profiles.mkdir(parents=True)
    (profiles / "cortex_a53.yaml").touch()
    (profiles / "notes.txt").touch()
    path.write_text(changed("dotprod", "cortex_a53"))
    assert params.load(path).target == "cortex_a53"
    assert problems(path, changed("dotprod", "cortexa53")) == [
        "params.yaml: target: unknown value \"cortexa53\". Did you mean 'cortex_a53'?"
    ]
    assert problems(path, changed("dotprod", "notes"))[0].startswith("params.yaml: target: unknown value")
    path.write_text(changed("dotprod", "ncnn2int8"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert params.load(tmp_path / "params.yaml").target == "ncnn2int8"


def test_a_listed_model(path):
    path.write_text(VALID)
    loaded = params.load(path)
    assert params.model(loaded, "net") is loaded.models["net"]


@pytest.mark.parametrize("name", ["nets", "mobilenetv2_digits32", "1e3", "true", "MYNAME"])
def test_an_unlisted_model_gives_the_nearest_and_an_entry_that_can_be_pasted(path, name):
    path.write_text(VALID)
    with pytest.raises(OctetError) as raised:
        params.model(params.load(path), name)
    message, _, entry = str(raised.value).partition("\n\nmodels:\n")
    assert message.startswith(f"params.yaml: models.{name}: no such model. ")
    assert ("Did you mean 'net'?" if name == "nets" else "net") in message
    path.write_text(changed("target:", f"{entry}\ntarget:"))
    loaded = params.load(path)
    assert loaded.models[name] == params.Model(
        config=f"configs/models/{name}.py",
        checkpoint=f"models/{name}.pth",
        trusted=False,
        data="data/digits32",
        keep_fp32=(),
        partition=(),
        max_drop_pt=0.3,
        **shared(loaded),
    )


def test_an_unlisted_model_whose_name_cannot_be(path):
    path.write_text(VALID)
    with pytest.raises(OctetError, match=r"^params.yaml: models.\[a: no such model. Known: net. Nor can it be added. "):
        params.model(params.load(path), "[a")


def test_old_names_are_read_with_a_note_each(path, capsys):
    path.write_text(changed("    partition: []", "    cuts: [a, b]").replace("method: gptq", "method: learned"))
    loaded = params.load(path)
    assert loaded.models["net"].partition == ("a", "b")
    assert loaded.rounding.method == "gptq"
    assert capsys.readouterr().err.splitlines() == [
        "note: params.yaml: models.net.cuts: 'cuts' is called 'partition' now; 'make quantize' writes it so",
        "note: params.yaml: rounding.method: 'learned' is called 'gptq' now; 'make quantize' writes it so",
    ]
    path.write_text(VALID)
    params.load(path)
    assert capsys.readouterr().err == ""


def test_an_old_name_beside_todays_and_a_wrong_value_of_it(path):
    result = problems(path, changed("    partition: []", "    partition: []\n    cuts: [a]"))
    assert result == ["params.yaml: models.net.cuts: is called 'partition' now, which is given, too. Keep that one"]
    result = problems(path, changed("    partition: []", "    cuts: 1"))
    assert result == ["params.yaml: models.net.partition: expected a list of texts, found 1. For example []"]


def test_a_calibrator_is_a_file(tmp_path, monkeypatch, path):
    monkeypatch.setattr(registry, "METHODS", tmp_path)
    (tmp_path / "median.py").write_text('"""Half of the values are below it.\n\nMore."""\n')
    (tmp_path / "__init__.py").touch()
    assert registry.calibrators() == {"median": "Half of the values are below it."}
    path.write_text(changed("method: kl", "method: median"))
    assert params.load(path).calibrate.method == "median"
    assert "Known: median." in problems(path, VALID)[0]


def test_a_calibrator_says_in_its_file_what_it_needs_of_the_other_parameters(tmp_path, monkeypatch, path):
    monkeypatch.setattr(registry, "METHODS", tmp_path)
    needs = (
        """LEAST_IMAGES = 300\nNOT_WITH = {"equalize": "the median {sees} no equalized network"}\nCOMPUTES = False\n"""
    )
    (tmp_path / "median.py").write_text(f'"""Half of the values are below it."""\n\nimport nothing\n\n{needs}')
    text = changed("method: kl", "method: median").replace("equalize: false", "equalize: true")
    assert problems(path, text) == [
        "params.yaml: calibrate.images: median needs at least 300, found 256. Raise it or change 'method'"
    ]
    assert problems(path, text.replace("  images: 256", "  images: 300", 1)) == [
        "params.yaml: equalize: the median {sees} no equalized network. Change it or calibrate.method"
    ]
    assert registry.computing_calibrators() == {}


def test_what_calibrators_do_not_go_with_is_a_switch_that_is_checked_before_them():
    order = list(params.Params.model_fields)
    for name in registry.calibrators():
        for key in registry.calibrator_needs(name).not_with:
            assert params.Params.model_fields[key].annotation is bool
            assert order.index(key) < order.index("calibrate")


def test_the_built_in_targets_are_those_of_the_graph():
    assert list(registry.BUILT_IN_TARGETS) == list(TARGETS)


def test_what_entries_get_by_default_is_valid():
    assert params.MODEL_DEFAULTS.keys() < params.Model.model_fields.keys()
    rest = {"config": "c", "checkpoint": "p", "data": "d"}
    settings = shared(params.load(SHIPPED))
    assert params.Model.model_validate(rest | params.MODEL_DEFAULTS | settings).max_drop_pt == 0.3


def parsed(text: str | bytes) -> object:
    """The values of a text, or the error."""
    try:
        return yaml.parse(text, "x.yaml").values
    except OctetError as error:
        return error


@given(st.text() | st.binary())
def test_any_text_gives_values_or_an_error_with_the_file(text):
    result = parsed(text)
    assert not isinstance(result, OctetError) or str(result).startswith("x.yaml: ")


PIECES = st.sampled_from(
    [*"{}[]:,-?&*!#|>'\"%@`~ \n", "a", "1", "- ", ": ", "<<: ", "*a", "&a ", "!!int ", "!!set ", "---\n"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_pieces_of_yaml_are_read_as_dvc_reads_them_or_refused(text):
    result = parsed(text)
    if isinstance(result, OctetError):
        assert str(result).startswith("x.yaml: ")
    elif result:
        assert repr(parse_yaml(text, "x.yaml")) == repr(result)


TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["models", "target", "calibrate", "rounding", "parallel", "method", "net", "ppq", "images", "cuts"]
)


@given(VALUES | st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES)))
def test_any_values_give_parameters_or_lines_that_name_the_file(values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        path.write_text(json.dumps(values, ensure_ascii=False))
        with pytest.raises(OctetError) as raised:
            params.load(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_torch_and_ncnn_are_not_imported():
    code = "import sys, octet.core.params; octet.core.params.load(sys.argv[1]); print(*{'torch', 'ncnn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, SHIPPED], cwd=SHIPPED.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_config_that_leads_out_of_configs_models_is_refused(tmp_path):
    """It is code. A name in mmcls's zoo leads out of it no more than a file does."""
    text, (place, project) = (
        (Path(__file__).parents[2] / "params.yaml").read_text(),
        (tmp_path / "x.py", tmp_path / "project"),
    )
    (project / "configs/models").mkdir(parents=True)
    for file in (place, project / "y.py", project / "configs/models/net.py"):
        file.touch()
    (project / "configs/models/link.py").symlink_to(place)

    def load(config):
        (project / "params.yaml").write_text(text.replace("configs/models/resnet18_digits32.py", config))
        return params.load(project / "params.yaml").models["resnet18_digits32"].config

    for config in ("configs/models/net.py", "configs/models/../models/net.py", "resnet/resnet18_8xb16_cifar10.py"):
        assert load(config) == config
    for config in ("../x.py", "configs/models/../../../x.py", str(place), "y.py", "configs/models/link.py"):
        with pytest.raises(
            OctetError, match=rf"models.resnet18_digits32.config: {config}: lies outside configs/models"
        ):
            load(config)
    with pytest.raises(
        OctetError, match=r"config: resnet/\.\./\.\./x.py: leads out of configs/models, and is no name in mmcls"
    ):
        load("resnet/../../x.py")
