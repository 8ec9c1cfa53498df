"""A YAML file changed in place: what a user wrote, comments and order included, stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from octet.core import yaml
from octet.core.errors import OctetError


def add_keys(text: str, at: Sequence[str], values: Mapping[str, Any], where: str) -> str:
    r"""The text with more keys behind the last one of a mapping.

    >>> text = "models:\n  net:\n    data: d  # mine\ntarget: dotprod\n"
    >>> print(add_keys(text, ["models", "net"], {"trusted": False}, "net"), end="")
    models:
      net:
        data: d  # mine
        trusted: false
    target: dotprod

    Args:
        text: A whole file.
        at: The keys that lead to the mapping.
        values: What to add. A mapping in it stands in a block of its own, indented as deep as the mapping's own levels are.
        where: What the mapping is, for errors.

    Raises:
        OctetError: The mapping has no key yet, or stands in braces.
    """
    mapping = _find(text, at)[1]
    if not isinstance(mapping, MappingNode) or mapping.flow_style or not mapping.value:
        raise OctetError(f"{where}: expected one key a line, not {{…}}, so that more can be added")
    indent = mapping.value[0][0].start_mark.column
    lines = text.splitlines()
    last, step = _last_line(mapping), max(indent // max(len(at), 1), 1)
    return "\n".join([*lines[: last + 1], *_block(values, indent, step), *lines[last + 1 :]]) + "\n"


def replace(text: str, at: Sequence[str], new: str, is_key: bool) -> str:
    """The text with another name in the place of a plain or quoted one.

    >>> replace("models: {net: {'cuts': []}}", ["models", "net", "cuts"], "partition", is_key=True)
    'models: {net: {partition: []}}'

    Nothing changes where the file has none there, because an alias or a merge key leads to another place that has it.

    Args:
        text: A whole file.
        at: The keys that lead to it.
        new: A name that needs no quotes.
        is_key: Whether it is the last key itself, not its value.
    """
    scalar = _find(text, at)[0 if is_key else 1]
    if not isinstance(scalar, ScalarNode):
        return text
    return text[: scalar.start_mark.index] + new + text[scalar.end_mark.index :]


def set_values(text: str, at: Sequence[str], values: Mapping[str, Any], where: str) -> str:
    r"""The text with other values in a mapping; keys that it lacks are added behind its last one.

    >>> text = "net:\n  target: dotprod  # mine\n  calibrate: {method: kl}\n"
    >>> print(set_values(text, ["net"], {"target": "x", "calibrate": {"method": "mse"}, "equalize": True}, "net"), end="")
    net:
      target: x  # mine
      calibrate: {method: mse}
      equalize: true

    Args:
        text: A whole file.
        at: The keys that lead to the mapping.
        values: What it is to have. Of a mapping in it the keys that are not among these stay.
        where: What the mapping is, for errors.

    Raises:
        OctetError: A place in the file cannot be written, as in braces or behind an alias.
    """
    missing: dict[str, Any] = {}
    for key, value in values.items():
        name, node = _find(text, [*at, key])
        if name is None:
            missing[key] = value
        elif isinstance(value, Mapping):
            text = set_values(text, [*at, key], value, f"{where}.{key}")
        elif isinstance(node, ScalarNode):
            shown = yaml.dumps({key: value}).strip().removeprefix(f"{key}:").strip()
            text = text[: node.start_mark.index] + shown + text[node.end_mark.index :]
        else:
            raise OctetError(f"{where}.{key}: expected one value, so that another can take its place")
    return add_keys(text, at, missing, where) if missing else text


def _find(text: str, at: Sequence[str]) -> tuple[Node | None, Node | None]:
    """The key that the path ends with, and what it has; (None, None) where the file has neither at that place."""
    key, node = None, yaml.compose(text)
    for name in at:
        pairs = node.value if isinstance(node, MappingNode) else []
        key, node = next(((key, value) for key, value in pairs if key.value == name), (None, None))
    return key, node


def _last_line(node: Node) -> int:
    """The line of the last value in a node; a block's own end is behind the comments that follow it."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line)


def _block(values: Mapping[str, Any], indent: int, step: int) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{' ' * indent}{key}:", *_block(value, indent + step, step)]
        else:
            lines += [" " * indent + line for line in yaml.dumps({key: value}).splitlines()]
    return lines
