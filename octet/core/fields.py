"""What a parameter is made of: pydantic's fields, and what Octet adds to them; and a field in words."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

T = TypeVar("T")
Keys = tuple[Any, ...]  # the way to a key from the top of the file
_SHOWN = 400  # characters of a value
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of texts"}


class Section(BaseModel):
    """A part of params.yaml: all keys must be there, no others may be, and nothing is converted."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    inherited: ClassVar[frozenset[str]] = frozenset()
    """The keys that an entry may leave out, because the file has them for all entries."""

    advice: ClassVar[Mapping[str, str]] = {}
    """By a key: what to do where the section has it and lacks others. Without, each missing key is reported by itself."""


def conflict(text: str, key: str | None = None) -> PydanticCustomError:
    """What is wrong with a value, or with a key of the section, because of others.

    Args:
        text: Says so, and what to do.
        key: The section's key that is named; None: it is the value's own.
    """
    return PydanticCustomError("conflict", "{text}", {"text": text} | ({"key": key} if key else {}))


def ask(question: str, example: Any, **limits: Any) -> Any:
    """A parameter of a section; the text below it, as a docstring, says what else a user should know.

    Args:
        question: What it asks; params.yaml has it as a comment.
        example: A value that works.
        limits: What pydantic's Field takes: ge, gt, le, lt, pattern, default, …
    """
    return Field(title=question, examples=[example], **limits)


@dataclass(frozen=True)
class OneOf:
    """Choices that follow from what lies where.

    Args:
        names: Each choice with a sentence on it, for a params.yaml in that folder.
        open: Whether files beside params.yaml add to them.
    """

    names: Callable[[Path], Mapping[str, str]]
    open: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        choices = {"enum": sorted(self.names(Path("no/folder")))}
        return {"anyOf": [choices, {"type": "string"}]} if self.open else {"type": "string"} | choices

    def _check(self, value: str, info: ValidationInfo) -> str:
        if value not in self.names((info.context or {}).get("folder", Path())):
            raise PydanticCustomError("choice", "unknown value")
        return value


@dataclass(frozen=True)
class FormerKey:
    """The name that a parameter had before. It is still read."""

    name: str


@dataclass(frozen=True)
class FormerValues:
    """What values of a parameter were called before, and what they are called now. They are still read."""

    names: Mapping[str, str]


@dataclass(frozen=True)
class Form:
    """What a text has to be, in words, where it has a pattern; or what a list has to hold, where that is no text."""

    words: str


def show(value: Any) -> str:
    """A value as JSON, as messages have it: cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} … ({len(text):,} characters)"


def example(field: FieldInfo) -> str:
    """A value that works, as it is written in YAML."""
    value = (field.examples or [None])[0]
    return value if isinstance(value, str) else show(value)


def examples(section: type[Section]) -> list[str]:
    """« key: example » for each key that a section must have."""
    return [f"{key}: {example(field)}" for key, field in own_fields(section).items() if field.is_required()]


def own_fields(section: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section without those that it inherits from the file's top."""
    return {key: field for key, field in section.model_fields.items() if key not in section.inherited}


def is_section(kind: Any) -> TypeGuard[type[Section]]:
    """Is this annotation a section?"""
    return isinstance(kind, type) and issubclass(kind, Section)


def section(field: FieldInfo) -> type[Section] | None:
    """The section that a field is, or may be beside null."""
    kind, _ = _plain(field)
    return kind if is_section(kind) else None


def entry(kind: Any) -> Any:
    """What a mapping of names that a user gives holds, by its annotation; None for anything else."""
    return get_args(kind)[1] if get_origin(kind) is dict else None


def metadata(field: FieldInfo, kind: type[T]) -> T | None:
    """What the field has of a kind, such as its FormerKey."""
    return next((extra for extra in field.metadata if isinstance(extra, kind)), None)


def choices(field: FieldInfo, folder: Path) -> dict[str, str]:
    """The texts that a parameter may be, with a sentence on each, where there is one; {}: not only certain ones.

    Args:
        field: The parameter.
        folder: Where params.yaml lies.
    """
    registry = metadata(field, OneOf)
    if registry:
        return dict(registry.names(folder))
    kind, _ = _plain(field)
    return dict.fromkeys(map(str, get_args(kind)), "") if get_origin(kind) is Literal else {}


def item_choices(field: FieldInfo, folder: Path) -> dict[str, str]:
    """Of a list: the texts that its items may be, as of choices."""
    kind, _ = _plain(field)
    item = get_args(kind)[0] if get_origin(kind) is tuple else None
    registry = next((extra for extra in getattr(item, "__metadata__", ()) if isinstance(extra, OneOf)), None)
    return dict(registry.names(folder)) if registry else {}


def expected(field: FieldInfo, folder: Path) -> str:
    """What a parameter may be, in words: « a whole number of at least 1 or null »."""
    kind, null = _plain(field)
    names, form = sorted(choices(field, folder)), metadata(field, Form)
    if form and kind is not str:
        return form.words
    words = f"one of {', '.join(names)}" if names else _KINDS[get_origin(kind) or kind] + _span(field)
    if items := item_choices(field, folder):
        words = f"a list of {', '.join(items)}"
    return words + " or null" * null


def _span(field: FieldInfo) -> str:
    """A number's limits in words: « from 0 to 1 », « above 0 and of at most 1 »; empty where it has none."""
    limits = {key: getattr(m, key) for m in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(m, key)}
    if limits.keys() == {"ge", "le"}:
        return f" from {limits['ge']} to {limits['le']}"
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    return "".join(" and" * (k > 0) + f" {words[key]} {limits[key]}" for k, key in enumerate(sorted(limits)))


def _plain(field: FieldInfo) -> tuple[Any, bool]:
    """A field's type without None, and whether None is allowed."""
    kind = field.annotation
    if get_origin(kind) not in (Union, types.UnionType):
        return kind, False
    kind = next(part for part in get_args(kind) if part is not type(None))
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind, True


def former_key(field: FieldInfo) -> str | None:
    """What a parameter was called before."""
    former = metadata(field, FormerKey)
    return former.name if former else None
