"""The benchmarks, which take too long for a test: what they import, also within functions, is there."""

import ast
import importlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

FILES = sorted(path for path in (Path(__file__).parents[1] / "bench").rglob("*.py") if path.stem != "__init__")


def test_the_benchmarks_are_there():
    assert {"int8", "peers", "measure"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_benchmarks_import_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("octet", "tests"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
