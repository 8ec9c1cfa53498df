"""What follows from the parameters' one description, octet.core.params: a JSON schema for editors, and a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from octet.core import fields, params
from octet.core.fields import Form, OneOf, Section, metadata
from octet.core.files import write_text
from octet.core.text import table

SCHEMA, DOCUMENT = Path("configs/params.schema.json"), Path("docs/parameters.md")
_NOWHERE = Path("no/folder")  # so that no file beside params.yaml adds to the choices
_HEAD = """\
# Parameters

All are in `params.yaml`, each with the question that it answers, and all that do not say «may be left out» must be there, as DVC
tracks them. The file is checked as a whole before any work: an error names the key with its full path, what was expected, and
the nearest name. Editors that know JSON schemas complete and check it as you type: its first line names the schema.

One parameter changed for one experiment: `dvc exp run -S calibrate.method=minmax`. For one model alone, whether its entry has
the key already or not: `dvc exp run -S ++models.resnet18_digits32.calibrate.method=minmax`
([own-models.md](own-models.md#settings-of-one-model)).

<!-- `make schema` writes this file from octet/core/params.py. -->
"""


def write() -> list[Path]:
    """Writes both files, and returns their names."""
    write_text(SCHEMA, json_schema())
    write_text(DOCUMENT, document())
    return [SCHEMA, DOCUMENT]


def json_schema() -> str:
    """The JSON schema of params.yaml, which it names in its first line."""
    schema = params.Params.model_json_schema()
    _let_entries_inherit(schema)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Octet's params.yaml"}
    return json.dumps(head | {key: value for key, value in schema.items() if key not in head}, indent=2) + "\n"


def _let_entries_inherit(schema: dict[str, Any]) -> None:
    """Changes the schema of an entry: what it inherits it may have in part, or not at all; a config others stand for, too."""
    sections = schema["$defs"]
    entry = sections["Model"]
    entry["required"] = [key for key in entry["required"] if key not in {"config", *params.Model.inherited}]

    def partial(name: str) -> str:
        part = sections.setdefault(f"Own{name}", deepcopy(sections[name]))
        part.pop("required", None)
        for field in part["properties"].values():
            refer(field)
        return f"Own{name}"

    def refer(field: dict[str, Any]) -> None:
        if "$ref" in field:
            field["$ref"] = f"#/$defs/{partial(field['$ref'].rsplit('/', 1)[1])}"

    for key in sorted(params.Model.inherited):
        refer(entry["properties"][key])
    schema["$defs"] = dict(sorted(sections.items()))


def document() -> str:
    """docs/parameters.md: a table for each section of the file."""
    return "\n".join([_HEAD, *_chapter(params.Params, "")])


def _chapter(section: type[Section], at: str) -> Iterator[str]:
    """The parameters of a section, then the sections in it."""
    inner: dict[str, tuple[type[Section], str]] = {}
    rows = []
    for key, field in fields.own_fields(section).items():
        kind, entry = fields.section(field), fields.entry(field.annotation)
        if kind:
            inner[f"{at}{key}"] = kind, f"{at}{key}."
        elif fields.is_section(entry):
            inner[f"{at}{key}"] = entry, f"{at}{key}.<name>."
        else:
            rows.append(_row(f"{at}{key}", field))
    if rows:
        yield from [table(rows, ["parameter", "what it asks", "values"], "lll", markdown=True), ""]
    for path, (kind, below) in inner.items():
        yield f"## `{path}`\n\n{_sentence(kind.__doc__)}\n"
        yield from _chapter(kind, below)


def _row(path: str, field: FieldInfo) -> list[str]:
    """A parameter as a row of a table."""
    return [f"`{path}`", f"{field.title} {_sentence(field.description)}", _values(field)]


def _values(field: FieldInfo) -> str:
    """What a parameter may be, in words."""
    names, form, registry = fields.choices(field, _NOWHERE), metadata(field, Form), metadata(field, OneOf)
    if not names:
        words = form.words if form else fields.expected(field, _NOWHERE)
        return f"{words}; for example `{fields.example(field).replace('NAME', '<name>')}`"
    if not any(names.values()):
        return ", ".join(f"`{name}`" for name in names)
    lines = [f"`{name}`: {sentence}" for name, sentence in names.items()]
    return "<br>".join(
        lines + ["the name of a file in `configs/targets/`, without its `.yaml`"] * bool(registry and registry.open)
    )


def _sentence(text: str | None) -> str:
    """A docstring on one line."""
    return " ".join((text or "").split())
