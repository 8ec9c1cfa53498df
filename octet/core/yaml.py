"""YAML as DVC reads it: by ruamel.yaml, in version 1.2, where `on` is text, 010 is ten and 1e-3 is a number.

ruamel.yaml is imported where it is used: the tuner runs on boards that lack it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octet.core.errors import OctetError
from octet.core.files import read_bytes

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode, Node

MEND = "mend it there or just above"
LARGEST_BYTES = 1_000_000  # ruamel.yaml takes up to a second for so many
MOST_VALUES = 20_000  # names and values; ruamel.yaml reads as many a second
DEEPEST = 50  # lists and mappings in each other: what ruamel.yaml does grows with the square of their number
_SHOWN_LINES = 5  # of a key that is given many times
_SHOWN_WORDS = 300  # characters of what ruamel.yaml says
_REPEATED = 10  # times its own nodes, and 1,000 more, may be what a file stands for with its aliases


@dataclass(frozen=True)
class Duplicate:
    """A key that a mapping holds more than once.

    Args:
        path: The keys and, in lists, the indices that lead to it from the top of the file.
        lines: Where it stands, counted from 1.
    """

    path: tuple[str | int, ...]
    lines: tuple[int, ...]

    @property
    def text(self) -> str:
        """The problem, for an error."""
        shown, more = self.lines[:_SHOWN_LINES], len(self.lines) - _SHOWN_LINES
        lines = [*map(str, shown), *([f"{more:,} more"] if more > 0 else [])]
        return f"given in the lines {' and '.join(lines)}. Keep one of them"


@dataclass(frozen=True)
class Document:
    """What a file holds, as plain values; of a key given twice the first is kept.

    Args:
        values: The file's content; None where it is empty.
        duplicates: The keys given twice, in the order of the file.
    """

    values: Any
    duplicates: tuple[Duplicate, ...] = ()


def read(path: str | Path, made_by: str, mend: str = MEND) -> Document:
    """Reads a file that a user may have written.

    Args:
        path: The file.
        made_by: The end of the error for a missing file: what makes it.
        mend: The end of the error for a file that is no YAML: what to do about it.

    Raises:
        OctetError: The file is missing, or is no YAML; then with the line and the column.
    """
    return parse(read_bytes(path, made_by), path, mend)


def parse(data: str | bytes, name: str | Path, mend: str = MEND) -> Document:
    """As `read`, for a text that is there already.

    >>> parse("model: {images: 010, rate: 1e-3, fast: on}", "example").values
    {'model': {'images': 10, 'rate': 0.001, 'fast': 'on'}}
    """
    with _place(name, mend):
        node, yaml = _compose(data, name)
        duplicates = tuple(_duplicates(node, (), {}))
        values = _construct(node, yaml, bool(duplicates))
        json.dumps(values, ensure_ascii=False, default=str, skipkeys=True).encode()  # half a character: "\\ud800"
        return Document(values, duplicates)


def load(path: str | Path, made_by: str, mend: str = MEND) -> Any:
    """The values of a file that a program wrote: no key may be given twice. Otherwise as `read`."""
    return loads(read_bytes(path, made_by), path, mend)


def loads(data: str | bytes, name: str | Path, mend: str = MEND) -> Any:
    """As `load`, for a text that is there already."""
    with _place(name, mend):
        return _construct(*_compose(data, name), False)


def read_text(path: str | Path, made_by: str) -> str:
    """The text of a file that is to be changed in place. Arguments as for `read`.

    Raises:
        OctetError: The file is missing or not in UTF-8.
    """
    try:
        return read_bytes(path, made_by).decode()
    except UnicodeDecodeError as error:
        raise OctetError(f"{path}: byte {error.start + 1:,}: not UTF-8; save it as UTF-8") from None


def compose(data: str | bytes) -> Node | None:
    """The nodes of a text that `parse` takes, with their lines and columns."""
    return _compose(data, "the text")[0]


def dumps(values: dict[str, Any]) -> str:
    """Values as YAML in their order, one key a line."""
    from io import StringIO

    writer, text = _ruamel(), StringIO()
    writer.default_flow_style, writer.width = False, 1 << 16
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(values, text)
    return text.getvalue()


@contextmanager
def _place(name: str | Path, mend: str) -> Iterator[None]:
    """Makes what ruamel.yaml raises an OctetError with the line and the column."""
    from ruamel.yaml.composer import MaxDepthExceededError
    from ruamel.yaml.error import YAMLError

    try:
        yield
    except (RecursionError, MaxDepthExceededError):
        raise OctetError(f"{name}: nested too deeply to be read; {mend}") from None
    except (
        YAMLError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
    ) as error:  # « !!int x » and such
        mark, why = getattr(error, "problem_mark", None), " ".join(str(getattr(error, "problem", error)).split())
        why = why if len(why) <= _SHOWN_WORDS else f"{why[:_SHOWN_WORDS]} …"
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise OctetError(f"{name}: {place}: not valid YAML: {why}; {mend}") from None


def _ruamel() -> YAML:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True)


def _compose(data: str | bytes, name: str | Path) -> tuple[Node | None, YAML]:
    """The nodes of a text, and what makes values of them. Raises where there are too many for a file that is read at once."""
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.error import ReusedAnchorWarning

    class Bounded(Composer):
        count = 0

        def compose_node(self, parent: Node | None, index: object) -> Node | None:
            self.count += 1
            if self.count > MOST_VALUES:
                line = self.parser.peek_event().start_mark.line + 1
                raise OctetError(f"{name}: line {line}: more than {MOST_VALUES:,} names and values; shorten it")
            node: Node | None = super().compose_node(parent, index)
            return node

    if len(data) > LARGEST_BYTES:
        raise OctetError(f"{name}: {len(data):,} bytes; expected {LARGEST_BYTES:,} at most")
    yaml = _ruamel()
    yaml.Composer, yaml.max_depth = Bounded, DEEPEST
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReusedAnchorWarning)  # which is allowed: the last counts
        return yaml.compose(data), yaml


def _construct(node: Node | None, yaml: YAML, allow_duplicate_keys: bool) -> Any:
    """The values of nodes that were read by `yaml`. Raises where aliases multiply, or a key is there twice that may not."""
    _check_aliases(node)
    yaml.constructor.allow_duplicate_keys = allow_duplicate_keys
    return None if node is None else yaml.constructor.construct_document(node)


def _duplicates(node: Node | None, at: tuple[str | int, ...], whole: dict[int, bool]) -> Iterator[Duplicate]:
    """The keys given twice in a node and below it. Raises where a key is no scalar, or a node lies in itself.

    Args:
        node: None for an empty document.
        at: The path of the node.
        whole: By the id of a node that was entered, whether it was left again. Aliases lead to a node more than once.
    """
    from ruamel.yaml.constructor import ConstructorError
    from ruamel.yaml.nodes import CollectionNode, MappingNode

    if not isinstance(node, CollectionNode) or whole.get(id(node)):
        return
    if id(node) in whole:
        raise ConstructorError(None, None, "found unconstructable recursive node", node.start_mark)
    whole[id(node)] = False
    if isinstance(node, MappingNode):
        for (_, name), lines in _lines_of_keys(node).items():
            if len(lines) > 1:
                yield Duplicate((*at, name), lines)
        items = [(key.value, value) for key, value in node.value]
    else:
        items = list(enumerate(node.value))
    for name, item in items:
        yield from _duplicates(item, (*at, name), whole)
    whole[id(node)] = True


def _check_aliases(top: Node | None) -> None:
    """Raises where aliases make of a small file a large one: « a: &a [x, x], b: &b [*a, *a], … » doubles with each.

    Args:
        top: No node of it lies in itself.
    """
    from ruamel.yaml.constructor import ConstructorError
    from ruamel.yaml.nodes import CollectionNode

    sizes: dict[int, int] = {}
    once = 0

    def size(node: Node) -> int:
        nonlocal once
        if not isinstance(node, CollectionNode):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = -1
            items = [item for entry in node.value for item in (entry if isinstance(entry, tuple) else (entry,))]
            once += 1 + len(items)
            sizes[id(node)] = 1 + sum(map(size, items))
        if sizes[id(node)] < 0:
            raise ConstructorError(None, None, "found unconstructable recursive node", node.start_mark)
        return sizes[id(node)]

    total = size(top) if top else 0
    if total > _REPEATED * (1000 + once):
        raise ConstructorError(
            None, None, f"its aliases (*name) stand for {total:,} values", top.start_mark if top else None
        )


def _lines_of_keys(node: MappingNode) -> dict[tuple[str, str], tuple[int, ...]]:
    """The lines of each key of a mapping, by the key's tag and text."""
    from ruamel.yaml.constructor import ConstructorError
    from ruamel.yaml.nodes import ScalarNode

    lines: dict[tuple[str, str], list[int]] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise ConstructorError(None, None, "found unhashable key", key.start_mark)
        lines.setdefault((str(key.tag), key.value), []).append(key.start_mark.line + 1)
    return {name: tuple(numbers) for name, numbers in lines.items()}
