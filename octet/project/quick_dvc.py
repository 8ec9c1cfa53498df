"""python -m octet.project.quick_dvc …: what `dvc …` does, in less time.

DVC 3.67 looks at the same things again and again, in pure Python. For each stage that depends on a folder of images it looks up
the checksum of every image, some three times: of 60,000 images that takes 3 s each time. And it parses dvc.lock and dvc.yaml some
170 times in an experiment. Here a folder in which no file came, went or was replaced is looked at once, and a text is parsed once.
"""

import os
import pickle
import runpy
import sys
from pathlib import Path
from typing import Any

from dvc_data.hashfile import build
from ruamel.yaml import YAML

_parse, _build_tree = YAML.load, build._build_tree
_parsed: dict[str, bytes] = {}
_trees: dict[
    tuple[str, str], tuple[object, Any]
] = {}  # by folder and kind of checksum: when it changed, and what DVC made of it


def _load(self: YAML, stream: object) -> object:
    """As YAML.load; of a text that was parsed before, a copy of what came of it."""
    if not (isinstance(stream, str) and self.typ == ["safe"]):
        return _parse(self, stream)
    if stream not in _parsed:
        _parsed[stream] = pickle.dumps(_parse(self, stream))
    result: object = pickle.loads(_parsed[stream])
    return result


def _tree(path: str, fs: Any, fs_info: dict[Any, Any], name: str, *others: Any, **named: Any) -> Any:
    """As DVC's _build_tree; of a local folder that a stage depends on, what came of it before."""
    if not named.get("dry_run") or fs.protocol != "local":  # not dry: a stage's output, which goes to DVC's cache
        return _build_tree(path, fs, fs_info, name, *others, **named)
    changed = [(folder, Path(folder).stat().st_mtime_ns) for folder, _, _ in os.walk(path)]
    before, tree = _trees.get((path, name), (None, None))
    if before != changed:
        tree = _build_tree(path, fs, fs_info, name, *others, **named)
        _trees[path, name] = changed, tree
    return tree


if __name__ == "__main__":
    YAML.load = _load  # type: ignore[method-assign]
    build._build_tree = _tree
    sys.path[0] = str(Path.cwd())
    runpy.run_module("dvc", run_name="__main__", alter_sys=True)
