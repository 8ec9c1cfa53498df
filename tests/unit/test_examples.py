"""The examples in the library's docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
WITH_EXAMPLES = sorted(path for path in (ROOT / "octet").rglob("*.py") if ">>> " in path.read_text())


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(ROOT / "octet").as_posix())
def test_examples(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted == path.read_text().count(">>> "), "each stands where doctest looks for it"


def test_every_room_has_an_example():
    rooms = {path.parent.name for path in (ROOT / "octet").glob("*/__init__.py")}
    assert rooms == {path.relative_to(ROOT / "octet").parts[0] for path in WITH_EXAMPLES}
