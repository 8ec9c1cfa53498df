"""python -m octet.project.quick_dvc …: what `dvc …` does, in less time.

DVC 3.67 looks at the same things again and again, in pure Python. For each stage that depends on a folder of images it looks up
the checksum of every image, some three times: of 60,000 images that takes 3 s each time. And it parses dvc.lock and dvc.yaml some
170 times in an experiment. Here a process asks for the checksums of a folder's files again only where one of them came, went or
changed, and parses each text once.
"""

import os
import pickle
import runpy
import sys
from pathlib import Path
from typing import Any

from dvc_data.hashfile import build
from dvc_objects.fs.local import LocalFileSystem
from ruamel.yaml import YAML

_parse, _build_tree = YAML.load, build._build_tree
_parsed: dict[str, bytes] = {}
_trees: dict[str, tuple[object, Any]] = {}  # by folder: the stamps of its files, and what DVC made of it


def _load(self: YAML, stream: object) -> object:
    """As YAML.load; of a text that was parsed before, a copy of what came of it."""
    if not (isinstance(stream, str) and self.typ == ["safe"]):
        return _parse(self, stream)
    if stream not in _parsed:
        _parsed[stream] = pickle.dumps(_parse(self, stream))
    result: object = pickle.loads(_parsed[stream])
    return result


def _tree(path: str, fs: Any, fs_info: dict[Any, Any], name: str, *others: Any, **named: Any) -> Any:
    """As DVC's _build_tree; of a local folder that does not go to DVC's cache (a dependency), what came of it before."""
    if not (named.get("dry_run") and isinstance(fs, LocalFileSystem) and name == "md5"):
        return _build_tree(path, fs, fs_info, name, *others, **named)
    now = _stamps(path)
    before, tree = _trees.get(path, (None, None))
    if not now or before != now:
        tree = _build_tree(path, fs, fs_info, name, *others, **named)
        _trees[path] = now, tree
    return tree


def _stamps(path: str) -> list[tuple[object, ...]]:
    """Of all files in a folder what changes with them; nothing where one goes at that moment."""
    stamps: list[tuple[object, ...]] = []
    try:
        for folder, _, names in os.walk(path):
            for name in names:
                about = os.stat(f"{folder}{os.sep}{name}")  # noqa: PTH116 - a Path for each file takes longer
                stamps.append((folder, name, about.st_mtime_ns, about.st_size, about.st_ino))
    except OSError:
        return []
    return stamps


if __name__ == "__main__":
    YAML.load = _load  # type: ignore[method-assign]
    build._build_tree = _tree
    sys.path[0] = str(Path.cwd())
    runpy.run_module("dvc", run_name="__main__", alter_sys=True)
