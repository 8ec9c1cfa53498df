"""What follows from the parameters' one description: the JSON schema that editors use, and docs/parameters.md."""

import json
import re
from pathlib import Path

import pytest

from octet.core import params, yaml
from octet.project import schema
from tests.unit.test_params import VALID, changed

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int}
NO_CHECK = {"$schema", "$defs", "title", "description", "examples", "default", "properties"}


def has_type(value, name: str) -> bool:
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def errors(value, part: dict, whole: dict, at: str = "") -> list[str]:
    """What is wrong by the keywords of JSON schema that pydantic writes; another keyword fails."""
    if "$ref" in part:
        return errors(value, whole["$defs"][part["$ref"].rsplit("/", 1)[1]], whole, at)
    if "anyOf" in part:
        return [f"{at}: anyOf"] * all(errors(value, option, whole, at) for option in part["anyOf"])
    if "type" in part and not has_type(value, part["type"]):
        return [f"{at}: type"]
    checks = {
        "type": lambda _: True,
        "enum": lambda names: value in names,
        "minimum": lambda low: value >= low,
        "maximum": lambda high: value <= high,
        "exclusiveMinimum": lambda low: value > low,
        "exclusiveMaximum": lambda high: value < high,
        "minLength": lambda count: len(value) >= count,
        "minProperties": lambda count: len(value) >= count,
        "pattern": lambda pattern: re.search(pattern, value),
        "required": lambda keys: value.keys() >= set(keys),
        "additionalProperties": lambda _: value.keys() <= part["properties"].keys(),
        "items": lambda inner: not [e for item in value for e in errors(item, inner, whole)],
        "patternProperties": lambda inner: all(re.search(pattern, key) for pattern in inner for key in value),
    }
    result = [f"{at}: {key}" for key, argument in part.items() if key not in NO_CHECK and not checks[key](argument)]
    below = part.get("properties", {}) | {k: i for i in part.get("patternProperties", {}).values() for k in value}
    return result + [e for key in below if key in value for e in errors(value[key], below[key], whole, f"{at}.{key}")]


@pytest.fixture(scope="module")
def current() -> dict:
    return json.loads((ROOT / schema.SCHEMA).read_text())


@pytest.mark.parametrize(("file", "text"), [(schema.SCHEMA, schema.json_schema), (schema.DOCUMENT, schema.document)])
def test_what_is_generated_is_current(file, text):
    assert (ROOT / file).read_text() == text(), "'make schema' writes it anew"


def test_params_yaml_names_its_schema_and_keeps_it(current):
    text = (ROOT / "params.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={schema.SCHEMA}\n")
    assert errors(yaml.parse(text, "params.yaml").values, current, current) == []
    assert errors(yaml.parse(VALID, "params.yaml").values, current, current) == []


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("opset: 13", "opset: 10", ".export.opset: minimum"),
        ("opset: 13", "opset: 14", ".export.opset: maximum"),
        ("images: 256", "images: true", ".calibrate.images: type"),
        ("method: kl", "method: entropy", ".calibrate.method: enum"),
        ("target: dotprod", "target: 5", ".target: anyOf"),
        ("    batch: 32", "    batch: 32\n    bach: 32", ".calibrate.ppq: additionalProperties"),
        ("trusted: false", "trusted: 0", ".models.net.trusted: type"),
        ("    max_drop_pt: 0.3\n", "", ".models.net: required"),
        ("keep_fp32: []", "keep_fp32: ['']", ".models.net.keep_fp32: items"),
        ("scheduler: null", "scheduler: host", ".parallel.scheduler: anyOf"),
    ],
)
def test_it_finds_mistakes(current, old, new, wrong):
    assert errors(yaml.parse(changed(old, new), "x").values, current, current) == [wrong]


def test_another_profile_than_the_built_in_ones_is_no_mistake(current):
    text = VALID.replace("target: dotprod", "target: my_board")
    assert errors(yaml.parse(text, "x").values, current, current) == []


def test_an_entry_may_have_settings_of_its_own_in_part(current):
    own = "    max_drop_pt: 0.3\n    target: my_board\n    calibrate: {images: 20, ppq: {batch: 4}}\n"
    values = yaml.parse(changed("    max_drop_pt: 0.3\n", own), "x").values
    assert errors(values, current, current) == []
    values["models"]["net"]["calibrate"]["image"] = 5
    assert errors(values, current, current) == [".models.net.calibrate: additionalProperties"]


def test_every_parameter_is_in_the_document_with_its_question():
    text = schema.document()
    for section in ("calibrate", "models", "calibrate.ppq"):
        assert f"\n## `{section}`\n" in text
    for key, field in params.Calibrate.model_fields.items():
        if key != "ppq":
            assert f"| `calibrate.{key}` | {field.title} {' '.join(field.description.split())} | " in text
