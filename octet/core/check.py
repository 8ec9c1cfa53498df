"""What is wrong with params.yaml: pydantic's errors in Octet's words, each with the full path of its key."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from octet.core import fields
from octet.core.errors import OctetError, nearest
from octet.core.fields import Form, Keys, Section, former_key, is_section, show
from octet.core.names import NAME_RULE
from octet.core.yaml import Duplicate

S = TypeVar("S", bound=Section)
_MOST = 100  # problems that are told at once
_LONGEST_KEY = 100  # characters of a key that are told


@dataclass(frozen=True)
class Problem:
    """What is wrong at a key."""

    at: Keys
    text: str

    def __str__(self) -> str:
        keys = (text if len(text := str(key)) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]} …" for key in self.at)
        return ": ".join(filter(None, (".".join(keys), self.text)))


@dataclass(frozen=True)
class Place:
    """A place in a file.

    Args:
        at: The keys that lead to it; no further than to a parameter.
        kind: What should be there: a section, the annotation of a mapping or of a parameter; None where nothing should.
        field: The parameter or section as its own section has it; None for the top, for entries, for unknown keys.
        holder: The section in which its last key is.
    """

    at: Keys
    kind: Any
    field: FieldInfo | None = None
    holder: type[Section] | None = None


@dataclass(frozen=True)
class Check:
    """The words for what pydantic finds wrong with a file.

    Args:
        top: What the whole file should be.
        folder: Where the file lies; some choices lie beside it.
        values: The file's content, where entries have what they take from its top.
        given: The same as it stands there.
        name_rule: What the names of entries are, in a sentence.
    """

    top: type[Section]
    folder: Path
    values: Any
    given: Any
    name_rule: str

    def problems(self, errors: Iterable[ErrorDetails]) -> list[Problem]:
        """The problems, each once: what an entry has from the top of the file is told of the top.

        Args:
            errors: pydantic's.
        """
        lacking: dict[Keys, list[ErrorDetails]] = {}
        problems: list[Problem] = []
        for error in errors:
            if error["type"] == "missing" and not self._is_inherited(error["loc"]) and self._advice(error):
                lacking.setdefault(error["loc"][:-1], []).append(error)
            else:
                problems += _WORDS.get(error["type"], Check._wrong)(self, error, self.place(error["loc"]))
        for at, group in lacking.items():
            keys = ", ".join(str(error["loc"][-1]) for error in group)
            text = f"lacks the key{'s' * (len(group) > 1)} {keys}; {self._advice(group[0])}"
            problems.append(Problem(at, text))
        once = dict.fromkeys(problems)
        return [self._of_the_top(p) if self._is_inherited(p.at) else p for p in once if not self._is_of_all(p, once)]

    def _is_of_all(self, problem: Problem, problems: Container[Problem]) -> bool:
        """Is it told of the top of the file, too?"""
        return self._is_inherited(problem.at) and Problem(problem.at[2:], problem.text) in problems

    def _of_the_top(self, problem: Problem) -> Problem:
        """The problem of an entry; where its key is not in there, with where it is."""
        if _is_there(self.given, problem.at):
            return problem
        key = ".".join(map(str, problem.at[2:]))
        return Problem(problem.at, f"{problem.text}. The entry has '{key}' from the top of the file")

    def _is_inherited(self, at: Keys) -> bool:
        """Do the keys lead into an entry, to what the file has for all entries?"""
        kind = self.place(at[:2]).kind
        return len(at) > 2 and is_section(kind) and at[2] in kind.inherited

    def place(self, loc: Keys) -> Place:
        """Where an error lies, by pydantic's keys, which go on into a parameter's own items."""
        place = Place((), self.top)
        for key in loc:
            if is_section(place.kind):
                field = place.kind.model_fields.get(str(key))
                kind = field and (fields.section(field) or field.annotation)
                place = Place((*place.at, key), kind, field, place.kind)
            elif fields.entry(place.kind) and key != "[key]":
                place = Place((*place.at, key), fields.entry(place.kind))
        return place

    def rank(self, problem: Problem) -> list[int]:
        """The order of problems: by sections and keys as they are declared, unknown keys first; entries as in the file."""
        kind, values, ranks = self.top, self.values, []
        for depth, key in enumerate(problem.at, 1):
            values = values if isinstance(values, dict) else {}
            order = list(kind.model_fields if is_section(kind) else values)
            ranks.append(order.index(key) + 1 if key in order else 0)
            kind, values = self.place(problem.at[:depth]).kind, values.get(key)
        return ranks

    def _advice(self, error: ErrorDetails) -> str:
        """What the section says to do where it lacks a key."""
        holder = self.place(error["loc"]).holder
        return next((advice for key, advice in holder.advice.items() if key in error["input"]), "") if holder else ""

    def _missing(self, error: ErrorDetails, place: Place) -> Iterator[Problem]:
        """Of a section that is missing, each key is."""
        if is_section(place.kind):
            for key, field in place.kind.model_fields.items():
                if field.is_required():
                    yield from self._missing(error, Place((*place.at, key), field.annotation, field))
        elif place.field is None or fields.entry(place.kind):
            yield Problem(place.at, f"{_mapping(place.kind)}; found {{}}")
        else:
            example = f"'{place.at[-1]}: {fields.example(place.field)}'"
            yield Problem(place.at, f"missing key. {place.field.title} For example {example}")

    def _unknown(self, error: ErrorDetails, place: Place) -> Iterator[Problem]:
        key = error["input"] if error["type"] == "invalid_key" else place.at[-1]
        known = place.holder.model_fields if place.holder else {}
        if place.holder is not self.top and key in self.top.model_fields:
            yield Problem(place.at, f"unknown key. {self._home(key, place)}")
            return
        now = next((name for name, field in known.items() if key is not None and former_key(field) == key), None)
        text = f"is called '{now}' now, which is given, too. Keep that one" if now else nearest(str(key), known)
        yield Problem((*place.at[:-1], key), text if now else f"unknown key. {text}")

    def _home(self, key: str, place: Place) -> str:
        """Where a key of the file's top, which stands elsewhere, belongs."""
        kind = self.place(place.at[:2]).kind
        inherited = is_section(kind) and key in kind.inherited
        also = " or in a model's entry" if inherited else ", for all models" if key != "models" else ""
        return f"'{key}' stands at the top of the file{also}"

    def _no_mapping(self, error: ErrorDetails, place: Place) -> Iterator[Problem]:
        if is_section(place.kind) or fields.entry(place.kind):
            yield Problem(place.at, f"{_mapping(place.kind)}; found {show(error['input'])}")
        else:
            yield from self._wrong(error, place)

    def _conflict(self, error: ErrorDetails, place: Place) -> Iterator[Problem]:
        key = error.get("ctx", {}).get("key", place.at[-1])
        yield Problem((*place.at[:-1], key), error["msg"])

    def _wrong(self, error: ErrorDetails, place: Place) -> Iterator[Problem]:
        """A value that cannot be, or an entry's name."""
        if place.field is None:
            name = error["input"]
            yield Problem((*place.at[:-2], name), f"{show(name)} is no usable name. {self.name_rule}")
            return
        value = self.values
        for key in place.at:
            value = value[key]
        names, form = fields.choices(place.field, self.folder), fields.metadata(place.field, Form)
        items = fields.item_choices(place.field, self.folder)
        listed = value if items and isinstance(value, list) else []
        strange = next((item for item in listed if isinstance(item, str) and item not in items), None)
        if names and isinstance(value, str):
            text = f"unknown value {show(value)}. {nearest(value, names)}"
        elif strange is not None:
            text = f"unknown value {show(strange)}. {nearest(strange, items)}"
        elif form and isinstance(value, str):
            text = f"expected {form.words}, found {show(value)}"
        else:
            text = f"expected {fields.expected(place.field, self.folder)}, found {show(value)}"
            text += f". For example {fields.example(place.field)}"
        yield Problem(place.at, text)


def checked(top: type[S], path: str | Path, values: Any, duplicates: Iterable[Duplicate] = (), given: Any = None) -> S:
    """The content of a YAML file as the section that it should be.

    Args:
        top: What the whole file should be.
        path: The file, for errors; some choices lie beside it.
        values: The file's content; None where it is empty.
        duplicates: The keys given twice.
        given: The content as it stands there, where `values` has more; None: it has not.

    Raises:
        OctetError: With one line for each problem.
    """
    values = {} if values is None else values
    check = Check(top, Path(path).parent, values, values if given is None else given, NAME_RULE)
    problems = [Problem(twice.path, twice.text) for twice in duplicates][:_MOST]
    try:
        section = top.model_validate(values, context={"folder": check.folder})
    except ValidationError as error:
        problems += check.problems(error.errors(include_url=False)[: _MOST**2])
    if problems:
        raise OctetError("\n".join(f"{path}: {problem}" for problem in sorted(problems, key=check.rank)[:_MOST]))
    return section


_WORDS: dict[str, Callable[[Check, ErrorDetails, Place], Iterator[Problem]]] = {
    "missing": Check._missing,
    "extra_forbidden": Check._unknown,
    "invalid_key": Check._unknown,
    "model_type": Check._no_mapping,
    "dict_type": Check._no_mapping,
    "too_short": Check._no_mapping,
    "conflict": Check._conflict,
}


def _is_there(values: Any, at: Keys) -> bool:
    """Do these keys lead to a value?"""
    for key in at:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _mapping(kind: Any) -> str:
    """The mapping that is expected, in words."""
    entry = fields.entry(kind)
    if not entry:
        return f"expected a mapping with the keys {', '.join(fields.own_fields(kind))}"
    return f"expected a mapping with entries like 'NAME: {{{', '.join(fields.examples(entry))}}}'"
