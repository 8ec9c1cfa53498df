"""A file changed in place: for any form of YAML it holds what was asked for and all else as it was, or it is refused.

The oracle is DVC's own reader: its values before and after.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from dvc.utils import serialize
from hypothesis import assume, given
from hypothesis import strategies as st

from octet.core import yaml
from octet.project import splice
from tests import damage

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")]

NAMES = ["a", "b", "net"]
KEYS = ["target", "data", "calibrate", "rounding", "keep_fp32", "method", "images"]
PLAIN = ["mse", "x y", "1", "0.5", "true", "null", "'it''s # it'", '"a: \\" b"', "", "~"]
NEW = st.one_of(
    *map(st.just, [True, None, 3, 0.5, "mse", "x: y", "1", "a, b", "# c", "", "a\nb", " ", "é\u2028"]), st.just([])
)


class Writer:
    """Writes a random document, with anchors that were set before its aliases."""

    def __init__(self, draw: Callable[..., Any], has_aliases: bool):
        self.draw, self.has_aliases = draw, has_aliases
        self.anchors: dict[str, list[str]] = {"one": [], "section": []}
        self.n_comments = 0

    def chance(self, of: int) -> bool:
        return self.draw(st.integers(1, of)) == 1

    def anchor(self, kind: str) -> str:
        if not self.has_aliases or not self.chance(3):
            return ""
        self.anchors[kind].append(name := self.draw(st.sampled_from(["x", "y", "z", "w"])))
        for other in set(self.anchors) - {kind}:
            self.anchors[other] = [known for known in self.anchors[other] if known != name]
        return f"&{name} "

    def alias(self, kind: str) -> str | None:
        if self.anchors[kind] and self.chance(3):
            return "*" + self.draw(st.sampled_from(self.anchors[kind]))
        return None

    def comment(self) -> str:
        if not self.chance(3):
            return ""
        self.n_comments += 1
        return f"  # {{c{self.n_comments}: ]"

    def lines(self, indent: int) -> str:
        """None, an empty line, or a comment of its own."""
        return self.draw(st.sampled_from(["", "", "", "\n", " " * indent + self.comment() + "\n"]))

    def one(self) -> str:
        return self.alias("one") or self.anchor("one") + self.draw(st.sampled_from(PLAIN))

    def flow(self, depth: int) -> str:
        if depth and self.chance(2):
            return self.anchor("section") + "{" + ", ".join(f"{k}: {self.flow(depth - 1)}" for k in self.keys()) + "}"
        return self.one() + " "  # a comma would belong to an alias

    def keys(self) -> list[str]:
        return self.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True))

    def section(self, keys: list[str], indent: int, depth: int) -> str:
        """A mapping with a key a line."""
        text = ""
        if (merge := self.alias("section")) and self.chance(2):
            text += f"{' ' * indent}<<: {merge}{self.comment()}\n"
        for key in keys:
            shown = f"'{key}'" if self.chance(6) else key
            text += f"{' ' * indent}{shown}:" + self.value(indent, depth) + self.lines(indent)
        return text

    def value(self, indent: int, depth: int) -> str:
        """What stands behind a colon, with the line's end."""
        form = self.draw(st.sampled_from(["one", "one", "section", "section", "flow", "list", "text", "two lines"]))
        pad = " " * (indent + self.draw(st.integers(1, 3)))
        if form == "section" and depth:
            if alias := self.alias("section"):
                return f" {alias}{self.comment()}\n"
            head = f" {self.anchor('section')}".rstrip() + self.comment()
            return f"{head}\n{self.lines(indent)}" + self.section(self.keys(), len(pad), depth - 1)
        if form == "flow":
            return f" {self.flow(2)}{self.comment()}\n"
        if form == "list":
            return "\n" + "".join(f"{pad}- {self.one()}{self.comment()}\n" for _ in range(2))
        if form == "text":
            style = self.draw(st.sampled_from(["|", "|-", "|+", ">", ">-"]))
            return f" {self.anchor('one')}{style}{self.comment()}\n{pad}mse: x\n\n{pad}# none\n" + self.draw(
                st.sampled_from(["", "\n"])
            )
        if form == "two lines":
            return f" {self.draw(st.sampled_from([f'x{chr(10)}{pad}y', f'[x,{chr(10)}{pad}y]']))}{self.comment()}\n"
        return f" {self.one()}{self.comment()}\n"

    def document(self) -> str:
        names = self.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        step = self.draw(st.integers(1, 4))
        top, models = "target: dotprod\n", "models:" + self.comment() + "\n" + self.lines(0)
        for name in names:
            if alias := self.alias("section"):
                models += f"{' ' * step}{name}: {alias}{self.comment()}\n"
            elif self.chance(5):
                models += f"{' ' * step}{name}: {self.flow(2)}{self.comment()}\n"
            else:
                head = f"{' ' * step}{name}: {self.anchor('section')}".rstrip() + self.comment()
                models += f"{head}\n{self.section(self.keys(), step + self.draw(st.integers(1, 4)), 2)}"
        return self.draw(st.sampled_from([top + models, models + top, f"--- # c\n{models}...\n", models]))


@st.composite
def files(draw: Callable[..., Any], has_aliases: bool = True) -> str:
    text = Writer(draw, has_aliases).document()
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return draw(st.sampled_from(["", "\ufeff"])) + text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@st.composite
def wishes(draw: Callable[..., Any], new: st.SearchStrategy[Any] = NEW) -> dict[str, Any]:
    section = st.dictionaries(st.sampled_from(["method", "images", "18"]), new, min_size=1)
    return draw(st.dictionaries(st.sampled_from([*KEYS, "equalize"]), st.one_of(new, section), min_size=1, max_size=3))


def wanted(values: Any, more: Any) -> Any:
    """What it should hold, told by itself."""
    if not isinstance(values, dict) or not isinstance(more, dict):
        return more
    values = dict(values)
    for key, value in more.items():
        values[key] = wanted(values[key], value) if key in values else value
    return values


def read(text: str) -> Any:
    """By DVC; what Octet refuses to read, as a section within itself, is left out."""
    assume(damage.result_or_octet_error(lambda: yaml.parse(text, "params.yaml")) is not None)
    return serialize.loads_yaml(text)


def one_of(models: dict[str, Any], which: int) -> str:
    return list(models)[which % len(models)]


def check_the_rest(text: str, written: str) -> None:
    """Comments in their order, line ends and the byte order mark are as they were."""
    known = re.compile(r"# \{c\d+: \]")
    assert known.findall(written) == known.findall(text)
    assert written.startswith("\ufeff") == text.startswith("\ufeff")
    assert written.endswith("\n") == text.endswith("\n")
    if "\n" in text:
        end = "\r\n" if "\r" in text else "\n"
        assert written.count("\n") == written.count(end)
        assert "\r" in text or "\r" not in written


@given(files(), st.integers(0, 2), wishes())
@damage.examples(40)
def test_settings_of_a_model(text, which, more):
    before = read(text)
    name = one_of(before["models"], which)
    written = damage.result_or_octet_error(lambda: splice.set_values(text, ["models", name], more, "params.yaml"))
    if written is None:
        return
    assert serialize.loads_yaml(written) == wanted(before, {"models": {name: more}})
    check_the_rest(text, written)


@given(files(), wishes())
@damage.examples(15)
def test_a_new_model(text, entry):
    """However the others are written."""
    before = read(text)
    written = splice.set_values(text, ["models"], {"new": entry}, "params.yaml")
    assert serialize.loads_yaml(written) == wanted(before, {"models": {"new": entry}})
    check_the_rest(text, written)


@given(files(has_aliases=False), st.integers(0, 2), st.sampled_from([True, "kl", 3]))
@damage.examples(15)
def test_what_an_entry_lacks_is_added_where_it_has_one_key_a_line(text, which, value):
    before = read(text)
    name = one_of(before["models"], which)
    assume(not re.search(rf"\n *{name}: *[^# \r\n]", text))
    written = splice.set_values(text, ["models", name], {"equalize": value, "mine": {"x": value}}, "params.yaml")
    assert serialize.loads_yaml(written) == wanted(
        before, {"models": {name: {"equalize": value, "mine": {"x": value}}}}
    )
    check_the_rest(text, written)
