"""python run_dvc.py …: what `python -m dvc …` does, but each YAML text is parsed once.

For every stage that it looks at, DVC 3.67 reads dvc.lock and dvc.yaml again: in an experiment some 170 times, in pure Python.
"""

import pickle
import runpy
import sys
from pathlib import Path

from ruamel.yaml import YAML

_parsed: dict[str, bytes] = {}
_parse = YAML.load


def _load(self: YAML, stream: object) -> object:
    """As YAML.load; of a text that was parsed before, a copy of what came of it."""
    if not (isinstance(stream, str) and self.typ == ["safe"]):
        return _parse(self, stream)
    if stream not in _parsed:
        _parsed[stream] = pickle.dumps(_parse(self, stream))
    result: object = pickle.loads(_parsed[stream])
    return result


if __name__ == "__main__":
    YAML.load = _load  # type: ignore[method-assign]
    sys.path[0] = str(Path.cwd())
    runpy.run_module("dvc", run_name="__main__", alter_sys=True)
