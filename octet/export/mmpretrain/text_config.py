"""mmengine's text configs, as far as mmcv 1.7 does not read them: `_base_.name` in the code, and {{$VARIABLE:default}}.

Of the 538 configs that mmpretrain 1.2.0 carries, mmcv's reader takes 522. Of the others, ten have `_base_.name` or
`_base_['name']`, four import mmpretrain, and two inherit from a config of another package.

Source: mmengine/config/config.py, Config._file2dict and _is_lazy_import.
"""

from __future__ import annotations

import ast
import os
import re
import types
from collections.abc import Iterator
from pathlib import Path

from octet.core.errors import OctetError
from octet.export.mmcls_package import Config, ConfigDict

_VARIABLE = re.compile(r"\{\{['\"]?\s*\$(\w+)\s*:\s*(\S*?)\s*['\"]?\}\}")
_OF_BASE = re.compile(r"(['\"]?)\{\{\s*_base_\.([\w.]+)\s*\}\}\1")


def read_if_mmengine(path: Path) -> Config | None:
    """Reads a config that mmcv 1 cannot read, and mmengine can. It is Python code and runs.

    Args:
        path: Its file.

    Returns:
        The config with all that it inherits; None: mmcv's reader is the one for it.

    Raises:
        OctetError: It, or one that it inherits from, has mmengine's lazy form, or inherits from a package.
        SyntaxError, NameError and others: What its code raises.
    """
    texts = {file: file.read_text("utf-8") for file in _chain(path)}
    if not any(_VARIABLE.search(text) or _has_base_in_code(_tree(text)) for text in texts.values()):
        return None
    return Config(_read(path), filename=str(path))


def _chain(path: Path) -> Iterator[Path]:
    """The file, and all that it inherits from. One that is not there ends its branch: reading says so."""
    if path.suffix != ".py" or not path.is_file():
        return
    yield path
    tree = _tree(path.read_text("utf-8"))
    _check_form(tree, path)
    for base in _bases(tree, path):
        yield from _chain(base)


def _tree(text: str) -> ast.Module:
    """The code, with a name for what stands in double braces."""
    return ast.parse(re.sub(r"\{\{.*?\}\}", "_", text))


def _check_form(tree: ast.Module, path: Path) -> None:
    """Raises OctetError for mmengine's lazy form: parents and types by import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["mmengine" if node.level else node.module or ""]
        else:
            continue
        if any(module.split(".")[0] in ("mmpretrain", "mmengine") for module in modules):
            raise OctetError(
                f"{path}: line {node.lineno} imports from mmpretrain, mmengine or another config, as mmengine's lazy form does, "
                "which Octet does not read. Where mmpretrain is installed, write it as text, and give CONFIG=plain.py: python -c "
                f"\"from mmengine.config import Config; Config.fromfile('{path.name}').dump('plain.py')\""
            )


def _bases(tree: ast.Module, path: Path) -> list[Path]:
    """The files that a config names as _base_."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and _is_base(node.targets[0]):
            try:
                names = ast.literal_eval(node.value)
            except ValueError:
                return []
            names = [names] if isinstance(names, str) else names
            packages = [name for name in names if "::" in name]
            if packages:
                raise OctetError(
                    f"{path}: _base_ names {packages[0]!r}, a config of an installed package; copy that file here and name it by "
                    "its path"
                )
            return [path.parent / name for name in names]
    return []


def _is_base(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "_base_"


def _has_base_in_code(tree: ast.Module) -> bool:
    return any(
        _is_base(node) and isinstance(node.ctx, ast.Load) for node in ast.walk(tree) if isinstance(node, ast.Name)
    )


def _read(path: Path) -> ConfigDict:
    """A config's values, those of its bases included, as mmengine computes them."""
    base = ConfigDict()
    text = path.read_text("utf-8")
    for file in _bases(_tree(text), path):
        values = _read(file)
        twice = sorted(base.keys() & values.keys())
        if twice:
            raise OctetError(f"{path}: two of its _base_ have the key {twice[0]!r}; mmengine wants each in one of them")
        base.update(values)
    tree = ast.parse(_substituted(text, path), str(path))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.Assign) and _is_base(node.targets[0]))]
    names: dict[str, object] = {"_base_": base, "__file__": str(path), "__name__": "config"}
    exec(compile(tree, str(path), "exec"), names)
    kinds = (types.ModuleType, types.FunctionType, type)
    assigned = {k: v for k, v in names.items() if not k.startswith("__") and k != "_base_" and not isinstance(v, kinds)}
    merged: ConfigDict = Config._merge_a_into_b(assigned, base)
    return ConfigDict(merged)


def _substituted(text: str, path: Path) -> str:
    """The code, with the values of what stands in double braces."""
    places = {
        "fileDirname": path.resolve().parent.as_posix(),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }
    for name, value in places.items():
        text = re.sub(r"\{\{\s*" + name + r"\s*\}\}", value.replace("\\", r"\\"), text)
    text = _OF_BASE.sub(r"_base_.\2", text)
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], match[2]), text)
