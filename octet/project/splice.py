"""A YAML file changed in place: what a user wrote, comments, order and line endings included, stays as it is.

Aliases (*name) and merge keys (<<) let one place of a file count at several. So each new text is read again: it holds what
was asked for and nothing else has changed, or it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from octet.core import yaml
from octet.core.errors import OctetError
from octet.core.params import merged

_LINE_END = re.compile(r"\r\n|\n|\r")


class _Alias(Node):
    """An alias at its own place; ruamel.yaml's composer gives the node that it stands for, which lies elsewhere."""


class _Composer(Composer):
    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False  # which are allowed: the last counts

    def compose_node(self, parent: Node | None, index: object) -> Node | None:
        if self.parser.check_event(AliasEvent):
            event = self.parser.get_event()
            return _Alias(None, event.anchor, event.start_mark, event.end_mark)
        node: Node | None = super().compose_node(parent, index)
        return node


def set_values(text: str, at: Sequence[str], values: Mapping[str, Any], where: str) -> str:
    r"""The text with other values in a mapping; keys that it lacks are added behind its last one.

    >>> text = "net:\n  target: dotprod  # mine\n  calibrate: {method: kl}\n# more\n"
    >>> print(set_values(text, ["net"], {"target": "x", "calibrate": {"method": "mse"}, "equalize": True}, "net"), end="")
    net:
      target: x  # mine
      calibrate: {method: mse}
      equalize: true
    # more

    Args:
        text: A whole file, which `yaml.parse` takes.
        at: The keys that lead to the mapping.
        values: What it is to have. Of a mapping in it the keys that are not among these stay; a new one stands in a block of
            its own, indented as deep as the mapping's own levels are.
        where: What the mapping is, for errors.

    Raises:
        OctetError: The file has no place for them, as in braces or behind an alias, or something else would change, too. The
            error says what to write by hand.
    """
    before = yaml.parse(text, where).values
    there: Any = before
    wanted: Any = values
    for key in at:
        there = there.get(key) if isinstance(there, dict) else None
    for key in reversed(at):
        wanted = {key: wanted}
    by_hand = f"write it there by hand:\n{yaml.dumps(dict(values))}"
    try:
        text = _set(text, at, values, there, where)
    except OctetError as error:
        raise OctetError(f"{error}; {by_hand}") from None
    except YAMLError:  # a value that cannot stand in braces, say
        raise OctetError(f"{where}: the file is no YAML with these values in their places; {by_hand}") from None
    if not holds(text, merged(before, wanted)):
        raise OctetError(f"{where}: an alias (*name) or a merge key (<<) leads to other places of the file; {by_hand}")
    return text


def replace(text: str, at: Sequence[str], new: str, is_key: bool) -> str:
    """The text with another name in the place of a plain or quoted one.

    >>> replace("models: {net: {'cuts': []}}", ["models", "net", "cuts"], "partition", is_key=True)
    'models: {net: {partition: []}}'

    Nothing changes where the file has none there, because an alias or a merge key leads to another place that has it: whether
    the text then has what it should, `holds` tells.

    Args:
        text: A whole file.
        at: The keys that lead to it.
        new: A name that needs no quotes.
        is_key: Whether it is the last key itself, not its value.
    """
    key, value = _find(text, at)
    node = key if is_key else value
    return _put(text, key, node, new) if _is_one(node) else text


def holds(text: str, values: Any) -> bool:
    """Whether a text is YAML with these values.

    >>> holds("a: {b: 1}", {"a": {"b": 1}}), holds("a: b: 1", {})
    (True, False)
    """
    try:
        return bool(yaml.parse(text, "the text").values == values)
    except OctetError:
        return False


def _set(text: str, at: Sequence[str], values: Mapping[str, Any], there: Any, where: str) -> str:
    """As set_values, unchecked. there: what the mapping holds, merge keys included."""
    missing: dict[str, Any] = {}
    for key, value in values.items():
        name, node = _find(text, [*at, key])
        inner = there.get(key) if isinstance(there, dict) else None
        if name is None:
            missing[key] = merged(inner, value)  # in front of a merge key's: a section of its own hides that one whole
        elif isinstance(value, Mapping):
            text = _set(text, [*at, key], value, inner, f"{where}.{key}")
        elif _is_one(node):
            text = _put(text, name, node, yaml.dumps({key: value}).strip().removeprefix(f"{key}:").strip())
        else:
            raise OctetError(f"{where}.{key}: expected one value, so that another can take its place")
    return _add(text, at, missing, where) if missing else text


def _add(text: str, at: Sequence[str], values: Mapping[str, Any], where: str) -> str:
    """The text with more keys behind the last one of a mapping."""
    mapping = _find(text, at)[1]
    if not isinstance(mapping, MappingNode) or mapping.flow_style or not mapping.value:
        raise OctetError(f"{where}: expected one key a line, not {{…}} or an alias, so that more can be added")
    indent = mapping.value[0][0].start_mark.column
    lines = _block(values, indent, max(indent // max(len(at), 1), 1))
    first = _LINE_END.search(text)
    new = first[0] if first else "\n"
    place = _next_line(text, _end(text, *mapping.value[-1]))
    if place is None:  # the last line has no end, and gets none
        return text + "".join(new + line for line in lines)
    return text[:place] + "".join(line + new for line in lines) + text[place:]


def _find(text: str, at: Sequence[str]) -> tuple[Node | None, Node | None]:
    """The key that the path ends with, and what it has; (None, None) where the file has neither at that very place."""
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _Composer
    key, node = None, reader.compose(text)
    for name in at:
        pairs = node.value if isinstance(node, MappingNode) else []
        key, node = next(((key, value) for key, value in pairs if _is_name(key, name)), (None, None))
    return key, node


def _is_name(key: Node, name: str) -> bool:
    return isinstance(key, ScalarNode) and key.value == name and str(key.tag) == "tag:yaml.org,2002:str"


def _is_one(node: Node | None) -> TypeGuard[ScalarNode]:
    """Whether a node is a value whose text another can take the place of; one behind | or > may have a comment within."""
    return isinstance(node, ScalarNode) and node.style not in ("|", ">")


def _put(text: str, key: Node | None, node: ScalarNode, new: str) -> str:
    """The text with something new in the place of a scalar, which is the key itself or its value; its anchor stays."""
    anchor = f"&{node.anchor} " if node.anchor else ""
    if key is not None and _is_empty(node):
        place = _behind_colon(text, key)
        return f"{text[:place]} {new}{text[place:]}"
    return text[: node.start_mark.index] + anchor + new + text[node.end_mark.index :]


def _is_empty(node: Node) -> bool:
    """Whether nothing stands there: then ruamel.yaml's marks are those of what comes next, maybe lines below."""
    return isinstance(node, ScalarNode) and bool(node.start_mark.index == node.end_mark.index)


def _behind_colon(text: str, key: Node) -> int:
    colon = re.compile(r"\s*:").match(text, key.end_mark.index)
    return colon.end() if colon else int(key.end_mark.index)


def _end(text: str, key: Node, value: Node) -> int:
    """Where the last value in a value ends; a block's own end is behind the comments that follow it."""
    if isinstance(value, CollectionNode) and not value.flow_style and value.value:
        last = value.value[-1]
        return _end(text, *(last if isinstance(last, tuple) else (key, last)))
    return _behind_colon(text, key) if _is_empty(value) else int(value.end_mark.index)


def _next_line(text: str, end: int) -> int | None:
    """Where the line begins that follows a value's end; None where the text has none."""
    if text[end - 1] in "\r\n":  # of text in lines behind | or >, the end is there already
        return end
    line_end = _LINE_END.search(text, end)
    return line_end.end() if line_end else None


def _block(values: Mapping[str, Any], indent: int, step: int) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            name = yaml.dumps({key: {}}).removesuffix(" {}\n")
            lines += [f"{' ' * indent}{name}", *_block(value, indent + step, step)]
        else:
            lines += [" " * indent + line for line in yaml.dumps({key: value}).removesuffix("\n").split("\n")]
    return lines
