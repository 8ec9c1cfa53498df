"""Old names of parameters and of their values: they are still read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from octet.core.fields import FormerValues, Keys, Section, entry, former_key, is_section, metadata


@dataclass(frozen=True)
class Renaming:
    """An old name in a file.

    Args:
        at: The keys that lead to it, as the file has them.
        old: The old name, of the last key or of its value.
        new: Today's name.
        is_key: Whether it is the key's.
    """

    at: Keys
    old: str
    new: str
    is_key: bool

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.at))}: '{self.old}' is called '{self.new}' now"


def renamed(values: Any, kind: Any, at: Keys = ()) -> tuple[Any, list[Renaming]]:
    """The values with today's names in place of old ones, and which these were.

    Args:
        values: A file's content, or a part of it, of whatever form.
        kind: The section or annotation that says what it should be.
        at: Where the part lies.
    """
    if not isinstance(values, dict):
        return values, []
    if is_section(kind):
        return _renamed_section(values, kind, at)
    below = {key: renamed(value, entry(kind), (*at, key)) for key, value in values.items()}
    return {key: value for key, (value, _) in below.items()}, [r for _, renamings in below.values() for r in renamings]


def _renamed_section(values: dict[Any, Any], kind: type[Section], at: Keys) -> tuple[dict[Any, Any], list[Renaming]]:
    today = {old: name for name, field in kind.model_fields.items() if (old := former_key(field))}
    new, renamings = {}, []
    for old, value in values.items():
        key, here = today.get(old, old), (*at, old)
        if key in values:  # with the old name beside today's, the check says so
            key = old
        if key != old:
            renamings.append(Renaming(here, old, key, is_key=True))
        field = kind.model_fields.get(key) if isinstance(key, str) else None
        former = metadata(field, FormerValues) if field else None
        if former and isinstance(value, str) and value in former.names:
            new[key] = former.names[value]
            renamings.append(Renaming(here, value, former.names[value], is_key=False))
        else:
            new[key], more = renamed(value, field and field.annotation, here)
            renamings += more
    return new, renamings
