"""What the documents name, held against what there is: links, commands, files, parameters.

Commands stand in ``sh`` blocks and in code spans. Each goes to the real thing: `make` by a dry run, `dvc` to DVC's own parser,
Python modules to their own argparse parser, parameters to the check of params.yaml. Nothing is run and nothing fetched.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib.metadata
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from octet.core import fields, params, yaml
from octet.core.errors import OctetError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LANGUAGES = ("sh", "text", "yaml", "python", "cpp", "toml")
PIPELINES = ("dvc.yaml", "data/dvc.yaml", "models/dvc.yaml", "downloads/dvc.yaml")
EXAMPLES = ("my.py", "my.pth", "image.jpg", "profile.yaml")  # a user's own files
EXAMPLES += ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx")  # of the package rapidocr
STRICT = (
    "octet",
    "stages",
    "tests",
    "configs",
    "docs",
    ".github",
    ".ci",
)  # whatever a document names there must be there
ENDINGS = "py|yaml|json|jsonl|md|csv|png|svg|html|param|bin|table|npz|npy|zip|txt|lock|toml|cpp|onnx|pth|sh"

_FENCE = re.compile(r"\s*```(\w*)")
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
_FILE = re.compile(rf"[\w.<>*/-]*/[\w.<>*/-]*|[\w<>*-]*\.({ENDINGS})")
_PLACEHOLDER = re.compile(r"<[^>]*>|NAME|CLASS")
_COMMAND = re.compile(r"(make|dvc|octet|python -m|pip|dask|git|pre-commit) [a-z-]")
_MARK = "value_of_the_dry_run"


@dataclass
class Document:
    """A document's text in pieces, each with its line number: prose, code spans, links, and fenced blocks."""

    path: Path
    spans: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[tuple[int, str, list[str]]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, path: Path) -> Document:
        """The document of this text, which lies, or would lie, at this path."""
        result, inside = cls(path), False
        for number, line in enumerate(text.splitlines(), start=1):
            if fence := _FENCE.match(line):
                inside = not inside
                if inside:
                    result.blocks.append((number, fence[1], []))
            elif inside:
                result.blocks[-1][2].append(line)
            else:
                result._prose(number, line)
        return result

    def _prose(self, number: int, line: str) -> None:
        if re.match(r" {4}\s*(make|dvc|octet|python|git) ", line):
            self.problems.append((number, "a command in an indented block; put it into a fenced one, ```sh"))
        if line.count("`") % 2:
            self.problems.append((number, "a code span goes over the end of the line"))
        self.spans += [(number, span) for span in _SPAN.findall(line)]
        plain = _SPAN.sub("", line)
        self.links += [(number, first or second) for first, second in _LINK.findall(plain)]
        if re.match("#+ ", line):
            self.headings.append(line.lstrip("#").strip())

    def anchors(self) -> set[str]:
        """The names that the headings get on GitHub and in most other viewers."""
        names: dict[str, int] = {}
        for heading in self.headings:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
            name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            names[name] = names.get(name, 0) + 1
        return {f"{name}-{k}" if k else name for name, count in names.items() for k in range(count)}


def documents() -> list[Path]:
    """All documents: at the top, in docs/ and beside the figures."""
    return sorted(path for pattern in ("*.md", "docs/*.md", "metrics/*/*.md") for path in ROOT.glob(pattern))


def read(path: Path) -> Document:
    """The document in a file."""
    return Document.parse(path.read_text(), path)


def problems(document: Document) -> list[str]:
    """A line for each thing that the document names and that there is not."""
    result = list(document.problems)
    result += [(at, problem) for at, link in document.links for problem in link_problems(link, document)]
    result += [(at, problem) for at, span in document.spans for problem in span_problems(span)]
    for at, language, lines in document.blocks:
        result += [(at + line, problem) for line, problem in block_problems(language, lines)]
    name = document.path.relative_to(ROOT)
    return [f"{name}:{number}: {problem}" for number, problem in sorted(result)]


def link_problems(link: str, document: Document) -> Iterator[str]:
    """A link leads to a file of the project, to a heading, or to a secure address (which nobody asks)."""
    if re.match(r"https://[\w-]+\.[\w.-]+(/|$)", link):
        return
    name, _, anchor = link.partition("#")
    target = (document.path.parent / name).resolve() if name else document.path
    if re.match(r"\w+:", link) or not target.is_relative_to(ROOT):
        yield f"{link}: neither https nor a file of the project"
    elif name and not target.exists():
        yield f"{link}: no such file"
    elif anchor and anchor not in (read(target) if name else document).anchors():
        yield f"{link}: no heading of that name"


def block_problems(language: str, lines: list[str]) -> Iterator[tuple[int, str]]:
    """The number of the line in the block, from 1, and the problem."""
    if language not in LANGUAGES:
        yield 0, f"a block of language '{language}'; expected one of {', '.join(LANGUAGES)}"
    if language == "sh":
        for number, line in enumerate(lines, start=1):
            yield from ((number, problem) for problem in line_problems(line))
    elif language == "python":
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            yield error.lineno or 1, f"no Python: {error.msg}"
    elif language == "yaml":
        entries = (yaml.parse("\n".join(lines), "the document").values or {}).get("models") or {}
        known = params.Model.model_fields.keys()
        for key in {key for entry in entries.values() for key in entry} - known:
            yield 1, f"{key}: no key of a model's entry"


def line_problems(line: str) -> Iterator[str]:
    """The problems of a line of shell: of each command in it, and of its comment."""
    comment = re.search(r"(?:^|\s)#\s*(.*)", line)
    if comment and _COMMAND.search(comment[1]):
        yield f"a command in a comment, which nothing checks: {comment[1]}"
    words = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    words.whitespace_split = True
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("&|;"):
            yield from command_problems(command)
            command = []
        else:
            command.append(word)


def span_problems(span: str) -> Iterator[str]:
    """A code span is a command, a file, a parameter, another name, or none of these."""
    if "…" in span:
        return
    if _COMMAND.match(span):
        yield from line_problems(span)
    elif _FILE.fullmatch(span):
        yield from file_problems(span)
    elif (name := re.fullmatch(r"([a-z_]+(?:\.[a-z_<>]+)+)(?:=(\S+)|: .*)?", span)) and name[1].split(".")[
        0
    ] in _params():
        yield from parameter_problems(name[1], name[2])
    elif re.fullmatch(r"[A-Za-z]\w*_\w*(=\S+|: .*|\(.*\))?", span) and not _occurs(re.split(r"[=:(]", span)[0]):
        yield f"{span}: no such name in the project"


def command_problems(words: list[str]) -> Iterator[str]:
    """The problems of one command."""
    while words and re.match("[A-Z_]+=", words[0]):
        words = words[1:]
    if not words:
        return
    check = _CHECKS.get(words[0])
    if check is None:
        yield f"{words[0]}: a command that tests/documents.py does not know"
    else:
        yield from (f"{' '.join(words)}: {problem}" for problem in check(words[1:]))


def make_problems(words: list[str]) -> Iterator[str]:
    """Each target is in the Makefile, and each variable changes what one of the targets does."""
    targets = [word for word in words if "=" not in word]
    for target in targets:
        if _dry_run(target, "") is None:
            yield f"the Makefile has no target '{target}'"
            return
    for name in (word.partition("=")[0] for word in words if "=" in word):
        read = re.compile(rf"\$\{{?{name}\b|{_MARK}")  # most variables reach a recipe through the environment
        if not any(read.search(_dry_run(target, name) or "") for target in targets or [""]):
            yield f"the target does not read {name}"


@functools.cache
def _dry_run(target: str, variable: str) -> str | None:
    """What make would run, everything out of date; None where there is no such target."""
    words = ["make", "-n", "-B", *filter(None, [target, variable and f"{variable}={_MARK}"])]
    if target == "":
        words.append("quantize")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    return None if done.returncode else done.stdout


def dvc_problems(words: list[str]) -> Iterator[str]:
    """DVC's own parser takes it; its stages are in the dvc.yaml files and its parameters in params.yaml."""
    from dvc.cli import DvcParserError
    from dvc.cli.parser import get_main_parser

    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            parsed = get_main_parser().parse_args(words)
    except DvcParserError:
        yield f"not in DVC's command line: {output.getvalue().strip().splitlines()[-1]}"
        return
    if words[0] in ("repro", "freeze", "unfreeze") or words[:2] == ["exp", "run"]:
        for stage in getattr(parsed, "targets", None) or []:
            if _stage(stage) not in _stages():
                yield f"no stage '{stage}'"
    for setting in getattr(parsed, "set_param", None) or []:
        name, _, values = setting.partition("=")
        yield from parameter_problems(name, values)


@functools.cache
def _stages() -> frozenset[str]:
    """All stages as `file:stage`, those of a model without its name."""
    return frozenset(
        f"{file}:{stage}" for file in PIPELINES for stage in yaml.load(ROOT / file, "git has it")["stages"]
    )


def _stage(target: str) -> str:
    target = target.split("@")[0]
    return target if ":" in target else f"dvc.yaml:{target}"


def parameter_problems(name: str, values: str | None) -> Iterator[str]:
    """The parameter is in params.yaml, and each of the values, which commas part, passes its check."""
    name, changed = name.lstrip("+"), _params()
    for entry in changed["models"].values():
        entry |= {part: deepcopy(changed[part]) for part in params.Settings.model_fields if part not in entry}
    *sections, key = name.split(".")
    section = changed
    for part in sections:
        any_model = section is changed["models"] and part not in section  # <name>, or a reader's own
        section = next(iter(section.values())) if any_model else section.get(part, {})
    if key not in section and name not in _optional(params.Params):
        yield f"{name}: no parameter of params.yaml"
        return
    for value in (values or "").split(",") if values else []:
        section[key] = yaml.parse(value, name).values
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "params.yaml")
            file.write_text(json.dumps(changed))
            try:
                params.load(file)
            except OctetError as error:
                yield from (line for line in str(error).splitlines() if f".{key}:" in line or f" {key}:" in line)


def _optional(section: type[fields.Section], at: str = "", may_lack: bool = False) -> Iterator[str]:
    """The parameters that may be left out, and those in sections that may. may_lack: is this one of these?"""
    for key, parameter in section.model_fields.items():
        inner, entry = fields.section(parameter), fields.entry(parameter.annotation)
        if may_lack or (at and not parameter.is_required()):
            yield f"{at}{key}"
        if inner:
            yield from _optional(inner, f"{at}{key}.", may_lack or not parameter.is_required())
        elif entry:
            yield from _optional(entry, f"{at}{key}.<name>.")


def _params() -> dict:
    return yaml.load(ROOT / "params.yaml", "git has it")


class _Parsed(BaseException):
    """Raised where a command has read its arguments, so that it does nothing with them."""


def python_problems(words: list[str]) -> Iterator[str]:
    """`python -m module`: the module is there, and its own parser takes the arguments."""
    if words[:1] != ["-m"]:
        yield "expected python -m MODULE"
    elif words[1] in _MODULES:
        yield from _MODULES[words[1]](words[2:])
    else:
        yield from module_problems(words[1], words[2:])


def module_problems(module: str, words: list[str]) -> Iterator[str]:
    """Starts the module with these arguments up to where its parser has read them."""
    real, output = argparse.ArgumentParser.parse_args, io.StringIO()

    def parse(parser: argparse.ArgumentParser, args: list[str] | None = None, namespace: object = None) -> None:
        real(parser, args, namespace)
        raise _Parsed

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse),
        mock.patch.object(sys, "argv", [module, *words]),
        contextlib.redirect_stderr(output),
        contextlib.redirect_stdout(output),
    ):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=False)
        except _Parsed:
            return
        except SystemExit as end:
            if end.code:  # not 0, as of --help
                yield f"{module} does not take it: {(output.getvalue().strip().splitlines() or ['no message'])[-1]}"
        except ImportError as error:
            yield f"no module that runs: {error}"
        else:
            yield f"{module} reads no arguments"


def pip_problems(words: list[str]) -> Iterator[str]:
    """The project's own extras are in pyproject.toml."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
        yield from (f"no extra '{name}' in pyproject.toml" for name in extra.split(",") if name not in known)


def dask_problems(words: list[str]) -> Iterator[str]:
    """The verb is one of Dask's."""
    verbs = {entry.name for entry in importlib.metadata.entry_points(group="dask_cli")}
    if words[0] not in verbs:
        yield f"not one of Dask's commands: {', '.join(sorted(verbs))}"


def source_problems(words: list[str]) -> Iterator[str]:
    """Of scripts that a shell sources there is one."""
    if words != [".venv/bin/activate"]:
        yield "expected .venv/bin/activate"


def git_problems(words: list[str]) -> Iterator[str]:
    """The verb is one of the few that the documents need."""
    if words[0] not in ("add", "clone", "commit", "diff", "pull", "push", "restore", "status"):
        yield "a verb of git that tests/documents.py does not know"


def pre_commit_problems(words: list[str]) -> Iterator[str]:
    """The verb is one of pre-commit's, and a hook that it names is in .pre-commit-config.yaml."""
    hooks = {
        hook["id"]
        for repo in yaml.load(ROOT / ".pre-commit-config.yaml", "git has it")["repos"]
        for hook in repo["hooks"]
    }
    if words[0] not in ("install", "run") or not {word for word in words[1:] if word[0] != "-"} <= hooks:
        yield f"expected install, or run and one of {', '.join(sorted(hooks))}"


_CHECKS: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "make": make_problems,
    "dvc": dvc_problems,
    "octet": functools.partial(module_problems, "octet"),
    "python": python_problems,
    "pip": pip_problems,
    "dask": dask_problems,
    "git": git_problems,
    "pre-commit": pre_commit_problems,
    ".": source_problems,
}


def quick_dvc_problems(words: list[str]) -> Iterator[str]:
    """It takes DVC's words; a document may name it alone."""
    return dvc_problems(words) if words else iter(())


_MODULES = {
    "dvc": dvc_problems,
    "octet.project.quick_dvc": quick_dvc_problems,
    "pip": pip_problems,
    "pytest": lambda words: iter(()),
}


def file_problems(name: str) -> Iterator[str]:
    """A file is in the project, or what a stage or a command makes, or an example of a user's own."""
    if name.startswith("/") or name in EXAMPLES:
        return
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    pattern = re.sub(_PLACEHOLDER, "*", name).strip("/")
    if parts and parts[0] in STRICT and (ROOT / parts[0]).exists():
        there = next(ROOT.glob(pattern), None) is not None
    else:
        there = pattern in _outputs() or all(_occurs(re.sub(_PLACEHOLDER, "", part).strip("*")) for part in parts)
    if not there:
        yield f"{name}: no such file, and nothing makes it"


@functools.cache
def _outputs() -> frozenset[str]:
    """What the stages make, with * for the model's name; folders too."""
    result = set()
    for file in PIPELINES:
        for stage in yaml.load(ROOT / file, "git has it")["stages"].values():
            stage = stage.get("do", stage)
            for out in [out for kind in ("outs", "plots", "metrics") for out in stage.get(kind, [])]:
                path = re.sub(r"\$\{[^}]*\}", "*", out if isinstance(out, str) else next(iter(out)))
                result |= {path, *map(str, Path(path).parents)}
    return frozenset(result)


def _occurs(word: str) -> bool:
    """Does the word stand somewhere in the project outside its documents and tests, or as a file's or folder's name?"""
    names, words, text = _project()
    return word in names or word in words or re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", text) is not None


@functools.cache
def _project() -> tuple[frozenset[str], frozenset[str], str]:
    files = [path for path in ROOT.iterdir() if path.is_file() and path.suffix not in (".md", ".lock")]
    for folder in ("octet", "stages", "configs", "tests/bench", "data", "models", "downloads", ".dvc/plots"):
        files += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file()
            and "__pycache__" not in path.parts
            and path.suffix in (".py", ".yaml", ".json", ".j2", ".txt")
        ]
    names = {part for path in files for part in path.relative_to(ROOT).parts}
    files.append(ROOT / "docs/zoo.json")  # names of mmcls's zoo
    texts = (path.read_text(errors="replace") for path in files if path.stat().st_size < 200_000)
    text = "\n".join(texts)
    return frozenset(names), frozenset(re.findall(r"\w+", text)) | {""}, text
