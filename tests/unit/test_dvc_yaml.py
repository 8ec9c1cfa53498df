"""Every stage's deps are exactly the rooms of the library that its script imports from, directly or not."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from octet.core import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def has_code(path: Path) -> bool:
    """Is there more in a module than its docstring?"""
    body = ast.parse(path.read_text()).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def module_files(name: str) -> list[Path]:
    """The files that importing octet.a.b reads: of every package on the way, and of the module."""
    parts = name.split(".")
    result = [ROOT.joinpath(*parts[:k], "__init__.py") for k in range(1, len(parts) + 1)]
    result.append(ROOT.joinpath(*parts).with_suffix(".py"))
    return [path for path in result if path.is_file()]


def imports(path: Path) -> set[Path]:
    """The project's files that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {file for name in names if name.split(".")[0] in ("octet", "stages") for file in module_files(name)}


def closure(path: Path) -> set[Path]:
    """The project's files that a script reads, its own among them."""
    seen, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += imports(file)
    return {file for file in seen if has_code(file)}


def room(file: Path) -> str:
    """The dependency of which a file is part: its room, a folder in octet/, or a stage's script itself."""
    parts = file.relative_to(ROOT).parts
    return "/".join(parts[:2])


def stages():
    for file in ("dvc.yaml", "data/dvc.yaml", "models/dvc.yaml", "downloads/dvc.yaml"):
        for name, stage in yaml.load(ROOT / file, "git has it")["stages"].items():
            stage = stage.get("do", stage)
            script = stage["cmd"].split()[2].replace(".", "/") + ".py"
            yield pytest.param(script, stage, id=name)


@pytest.mark.parametrize(("script", "stage"), list(stages()))
def test_deps_are_the_rooms_that_the_stage_imports_from(script, stage):
    listed = [dep for dep in stage["deps"] if dep.startswith(("octet", "stages"))]
    assert listed == sorted(listed), "in the order of the alphabet"
    assert set(listed) == {room(file) for file in closure(ROOT / script)}


@pytest.mark.parametrize(("script", "stage"), list(stages()))
def test_every_stage_runs_in_the_environment_of_the_project(script, stage):
    module = script.removesuffix(".py").replace("/", ".")
    assert stage["cmd"].split()[:3] == ["stages/python", "-m", module]


@pytest.mark.parametrize(("script", "stage"), list(stages()))
def test_no_text_of_a_file_gets_into_a_shell(script, stage):
    """DVC hands cmd to a shell as it is, before any of Octet runs."""
    assert re.fullmatch(r"[a-z0-9_/. -]+", stage["cmd"].lower()), stage["cmd"]


def test_the_pipeline_names_rooms_and_not_modules():
    text = (ROOT / "dvc.yaml").read_text()
    code = [line for line in text.splitlines() if line.strip().startswith(("- octet/", "- stages/"))]
    assert 40 < len(code) <= 75


def test_no_circle_of_files():
    files = [path for path in (ROOT / "octet").rglob("*.py") if has_code(path)]
    edges = {path: imports(path) - {path} for path in files}
    done: set[Path] = set()

    def walk(path: Path, way: list[Path]) -> None:
        assert path not in way, " -> ".join(str(p.relative_to(ROOT)) for p in [*way, path])
        if path not in done:
            for other in sorted(edges.get(path, ())):
                walk(other, [*way, path])
            done.add(path)

    for path in files:
        walk(path, [])


def test_make_quantize_of_one_model_runs_all_of_its_stages():
    pipeline = {name: stage["do"] for name, stage in yaml.load(ROOT / "dvc.yaml", "git has it")["stages"].items()}
    outputs = {
        out if isinstance(out, str) else next(iter(out)): name
        for name, stage in pipeline.items()
        for kind in ("outs", "plots", "metrics")
        for out in stage.get(kind, [])
    }
    shown = subprocess.run(["make", "-n", "quantize", "MODEL=m"], cwd=ROOT, capture_output=True, text=True, check=True)
    todo, reached = re.findall(r'"(\w+)@', shown.stdout), set()
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += {outputs[dep] for dep in pipeline[name]["deps"] if dep in outputs} - reached
    assert reached == set(pipeline)


@pytest.mark.parametrize(("script", "stage"), list(stages()))
def test_every_stage_says_what_it_is_for(script, stage):
    """In a sentence of its own that fits a terminal's line, and not by its name alone."""
    words = stage["desc"].split()
    assert len(words) >= 5
    assert len(stage["desc"]) <= 132
    same = [other for _, other in (param.values for param in stages()) if other["desc"] == stage["desc"]]
    assert same == [stage]


def test_the_pipeline_s_scripts_are_small():
    lines = {path.stem: len(path.read_text().splitlines()) for path in (ROOT / "stages").glob("*.py")}
    assert {"export", "quantize", "summary"} <= lines.keys()
    assert max(lines.values()) < 80, lines
