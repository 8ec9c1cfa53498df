"""YAML that is meant to harm: each reader ends with a valid result or one short error, soon."""

import json
import time
from pathlib import Path

import pytest

from octet.core import params, yaml
from octet.core.errors import OctetError
from octet.graph import profiles
from octet.project import downloads, entries
from octet.project.provenance import provenance
from octet.reference import params as reference

pytestmark = pytest.mark.unit

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 60))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40))
TEXTS = {
    "aliases that multiply": LAUGHS,
    "merges that multiply": MERGES,
    "models that multiply": "models:\n" + LAUGHS.replace("a", "  a"),
    "deep": "[" * 50_000,
    "deep blocks": "- " * 50_000,
    "deep maps": "{a: " * 3_000,
    "in itself": "&a [*a]",
    "no bool": "a: !!bool x",
    "no int": "a: !!int ''",
    "python": "a: !!python/object/apply:os.system ['touch ran']",
    "5,000 digits": "a: " + "9" * 5_000,
    "4,299 digits": "digits32: " + "9" * 4_299,
    "hex digits": "a: 0x" + "f" * 10_000,
    "NUL": "a: \0",
    "latin 1": b"a: \xe9",
    "UTF-16": "a: 1".encode("utf-16"),
    "BOM": b"\xef\xbb\xbfa: 1",
    "a day that is none": "a: !!timestamp 2001-99-99",
    "a zone that is none": "a: 2001-01-01 00:00:00 +99:99",
    "a key of nothing": ": 1",
    "a key of a list": "? [a]\n: 1",
    "merged twice": "a: &a {x: 1}\nb: {<<: *a, x: 2, x: 3}",
    "two documents": "a: 1\n---\nb: 2",
    "many keys": "".join(f"k{k}: 1\n" for k in range(3_000)),
    "long": "a: " + "x" * 300_000,
    "models of nothing": "models: null",
    "stages of a list": "stages: [1]",
    "stages of a number": "stages: {summary@net: 5}",
    "params of a list": "stages: {summary@net: {params: [1]}}",
    "params of a number": "stages: {summary@net: {params: {params.yaml: {config: c, keep_fp32: [], export: 5}}}}",
    "a number": "3",
}
READERS = {
    "params.yaml": params.load,
    "params.yaml, filled in": lambda path: entries.fill(),
    "profile": profiles.load,
    "data/params.yaml": reference.drawn,
    "models/params.yaml": lambda path: reference.recipe(path, "net"),
    "downloads/params.yaml": lambda path: downloads.weights("net", path),
    "dvc.lock": lambda path: provenance("net", path),
}


# What takes the reader of YAML seconds is tried with one file: all read it by octet/core/yaml.py.
LARGE = {name for name, text in TEXTS.items() if len(text) > 2_500}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_ends_a_reader_otherwise_than_with_an_error(tmp_path, monkeypatch, reader):
    monkeypatch.chdir(tmp_path)
    path = Path("params.yaml")
    for name, text in TEXTS.items():
        if name in LARGE and reader != "profile":
            continue
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(OctetError) as error:
            READERS[reader](path)
        assert len(str(error.value)) < 30_000, name
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize(
    ("name", "why"), [("aliases that multiply", "(*name) stand for 4,611,"), ("merges that multiply", "(*name) stand")]
)
def test_aliases_that_multiply_are_named(name, why):
    with pytest.raises(OctetError, match="not valid YAML: its aliases") as error:
        yaml.parse(TEXTS[name], "x.yaml")
    assert why in str(error.value)


def test_aliases_that_do_not_multiply_are_fine():
    shared = "".join(f"m{k}: {{<<: *a, z: {k}}}\n" for k in range(500))
    assert yaml.parse(f"a: &a {{x: 1, y: [2]}}\n{shared}", "x").values["m7"] == {"x": 1, "y": [2], "z": 7}


@pytest.mark.parametrize(("levels", "is_read"), [(yaml.DEEPEST - 1, True), (yaml.DEEPEST + 1, False)])
def test_how_deep_a_file_may_be(levels, is_read):
    """Whatever Python's own limit is, which libraries raise."""
    text = "a: " + "[" * (levels - 1) + "]" * (levels - 1)
    if is_read:
        assert yaml.parse(text, "x").values
    else:
        with pytest.raises(OctetError, match="x: nested too deeply to be read"):
            yaml.parse(text, "x")


def test_too_large_a_file(tmp_path):
    with pytest.raises(OctetError, match=r"x: 1,000,009 bytes; expected 1,000,000 at most"):
        yaml.parse("a: 1\n" * 200_001 + "a: 1", "x")


LONG = {
    "list": "a: [" + "1," * 400_000 + "]",
    "keys": "".join(f"k{k}: 1\n" for k in range(70_000)),
    "one key": "a: 1\n" * 190_000,
    "empty lines": "\n" * 900_000,
    "deep": "[" * 900_000,
    "anchors": "a: [" + "&a ," * 200_000 + "]",
    "unknown keys": "".join(f"targt{k}: 1\n" for k in range(4_000)),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_file_is_read_or_refused_soon(tmp_path, name, recwarn):
    path = tmp_path / "params.yaml"
    path.write_text(LONG[name])
    began = time.process_time()
    with pytest.raises(OctetError) as error:
        params.load(path)
    assert time.process_time() - began < 30, "a guard against steps that multiply; it takes a second"
    assert len(str(error.value)) < 20_000
    assert not recwarn


def test_too_many_values_are_named_by_their_line(monkeypatch):
    monkeypatch.setattr(yaml, "MOST_VALUES", 200)
    with pytest.raises(OctetError, match=r"^x\.yaml: line 100: more than 200 names and values; shorten it$"):
        yaml.parse("".join(f"k{k}: 1\n" for k in range(110)), "x.yaml")
    with pytest.raises(OctetError, match=r"^y: line 1: more than 200 names and values"):
        yaml.loads(f"[{'1,' * 200}]", "y")
    assert len(yaml.loads("".join(f"k{k}: 1\n" for k in range(99)), "z")) == 99


def test_of_a_key_given_many_times_some_lines_are_told():
    (repeated,) = yaml.parse("a: 1\n" * 50, "x").duplicates
    assert repeated.text == "given in the lines 1 and 2 and 3 and 4 and 5 and 45 more. Keep one of them"
    assert len(repeated.lines) == 50


def test_an_anchor_given_twice_stands_for_its_last_value(recwarn):
    assert yaml.parse("[&a 1, &a 2, *a]", "x").values == [1, 2, 2]
    assert not recwarn


def test_long_keys_and_tags_are_cut_in_messages(tmp_path):
    for text in (f"{'x' * 1000}: 1\n", f"a: {'!' * 10_000}"):
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(OctetError) as error:
            params.load(tmp_path / "params.yaml")
        assert max(map(len, str(error.value).splitlines())) < 600
        assert " …" in str(error.value)


def test_of_many_models_in_dvc_lock_one_is_read(tmp_path):
    lock, text = Path("dvc.lock"), Path("dvc.lock").read_text()
    head, stages = text.split("stages:\n")
    many = "".join(stages.replace("_digits32", f"_digits32_{k}") for k in range(60))
    (tmp_path / "dvc.lock").write_text(f"{head}stages:\n{many}{stages}")
    began = time.process_time()
    assert provenance("resnet18_digits32", tmp_path / "dvc.lock") == provenance("resnet18_digits32", lock)
    assert time.process_time() - began < 20, "a guard against steps that multiply; it takes under a second"
    with pytest.raises(OctetError, match="the pipeline did not run for resnet18"):
        provenance("resnet18", tmp_path / "dvc.lock")


def test_long_values_are_cut_in_messages(tmp_path):
    (tmp_path / "params.yaml").write_text(f"target: {'x' * 100_000}\nequalize: {json.dumps(['y' * 50] * 1000)}\n")
    with pytest.raises(OctetError) as error:
        params.load(tmp_path / "params.yaml")
    assert "… (100,002 characters)" in str(error.value)
    assert len(str(error.value)) < 10_000


def test_names_that_lead_out_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/targets").mkdir(parents=True)
    Path("outside.yaml").write_text("base: dotprod\n")
    for name in ("../../outside", "/etc/passwd", "../targets/../../outside", "..", ""):
        Path("params.yaml").write_text(f"target: {json.dumps(name)}\n")
        with pytest.raises(OctetError, match=r"params\.yaml: target: unknown value"):
            params.load()
