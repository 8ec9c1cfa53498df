"""A config from elsewhere, copied into configs/models with what it inherits, its own modules and the files that it reads.

DVC sees changes only there. sources.json beside the copies has what they were made of, so that `make quantize` copies
anew what has changed since.
"""

from __future__ import annotations

import ast
import hashlib
import pprint
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import checksum, read_dataclass, write_bytes, write_json
from octet.core.places import CONFIGS, from_here

_MOST_BYTES = 2**24  # of all copies


@dataclass(frozen=True)
class Sources:
    """sources.json: what a model's copies were made of; its fields are the file's keys.

    Args:
        config: The config that was given.
        sources: By path, the sha256 of each file that was read.
        copies: By path, the sha256 of each copy as it was written.
    """

    config: str
    sources: dict[str, str]
    copies: dict[str, str]

    @classmethod
    def load(cls, name: str) -> Sources | None:
        """Those of a model; None: its config is no copy. Raises OctetError where the file is damaged."""
        path = _record(name)
        return read_dataclass(cls, path, "'make quantize' makes it") if path.is_file() else None

    def changed(self) -> list[str]:
        """The files that are there, and are not as they were."""
        return [path for path, sha in self.sources.items() if Path(path).is_file() and checksum(path, "sha256") != sha]

    def edited(self) -> list[str]:
        """The copies that are not as they were written."""
        return [
            path for path, sha in self.copies.items() if not Path(path).is_file() or checksum(path, "sha256") != sha
        ]


@dataclass(frozen=True)
class Copies:
    """Copies of a config and of what belongs to it, not yet written.

    Args:
        name: The model's.
        config: The config that was given.
        files: The copies, by path.
        sources: What they are made of.
    """

    name: str
    config: str
    files: dict[Path, bytes]
    sources: list[Path]

    def are_there(self) -> bool:
        """Are all of them written, just so?"""
        return all(path.is_file() and path.read_bytes() == data for path, data in self.files.items())

    def write(self) -> None:
        """Writes them and sources.json, and removes the model's former copies that are none now."""
        former = Sources.load(self.name)
        for path in former.copies if former else ():
            if Path(path) not in self.files:
                Path(path).unlink(missing_ok=True)
        for file, data in self.files.items():
            write_bytes(file, data)
        sources = {str(from_here(path)): checksum(path, "sha256") for path in sorted(self.sources)}
        copies = {str(path): hashlib.sha256(data).hexdigest() for path, data in sorted(self.files.items())}
        write_json(_record(self.name), asdict(Sources(self.config, sources, copies)))


def copies(name: str, config: str) -> Copies:
    """What is to be copied of a config.

    Args:
        name: The model's.
        config: A file.

    Raises:
        OctetError: It cannot be read, or is not of plain values.
    """
    from octet.export.mmcls_model import build, read_config  # imports torch
    from octet.export.mmcls_pipeline import derive
    from octet.export.own_modules import loaded_modules, roots
    from octet.export.reads import absolute, recorded, texts

    with recorded() as of_config:
        whole = read_config(config)
    with recorded() as later:
        try:
            build(whole, config)
            derive(whole, config)
        except OctetError:
            pass  # export says so; here it is about the files alone
    modules = {name: file for name, file in loaded_modules().items() if file.is_file()}
    code = _code_of(modules, roots(Path(config)))
    packages = {root / top for root in roots(Path(config)) for top in {name.partition(".")[0] for name in modules}}
    values, places = whole._cfg_dict.to_dict(), {file: place for file, place in code.items()}
    named = {absolute(text): text for text in texts(values)}
    read = later | {file for file in of_config if any(file.is_relative_to(package) for package in packages)}
    for file in sorted(read - code.keys()):
        root = next((root for root in roots(Path(config)) if file.is_relative_to(root)), None)
        if root or file in named:
            places[file] = file.relative_to(root) if root else Path(file.name)
    folder = CONFIGS / name
    renamed = {text: str(folder / places[file]) for file, text in named.items() if file in places}
    text = _as_text(name, config, _replaced(values, renamed))
    files = {CONFIGS / f"{name}.py": text.encode()} | {
        folder / place: file.read_bytes() for file, place in places.items()
    }
    if len(files) <= len(places):
        raise OctetError(f"{config}: reads several files of one name; give them different ones")
    if (size := sum(map(len, files.values()))) > _MOST_BYTES:
        raise OctetError(
            f"{config}: reads {size / 1e6:.0f} MB of files, too much for copies in {folder}; move them there"
        )
    return Copies(name, config, files, sorted({*of_config, *places}))


def refresh(name: str) -> None:
    """Copies a model's config and what belongs to it anew where that has changed since; a copy that was edited stays."""
    sources = Sources.load(name)
    changed = sources.changed() if sources else []
    if not sources or not changed:
        return
    edited = sources.edited()
    what = f"{', '.join(changed)}: changed since {'they were' if len(changed) > 1 else 'it was'} copied into {CONFIGS}"
    if edited:
        print(f"warning: {what}, and so did {', '.join(edited)}, which stays as it is")
        return
    copies(name, sources.config).write()
    print(f"{what}; copied anew")


def _record(name: str) -> Path:
    return CONFIGS / name / "sources.json"


def _code_of(modules: dict[str, Path], roots: Iterable[Path]) -> dict[Path, Path]:
    """The files of modules, of the packages that they are in, and of what they import beside, with their places there."""
    files, todo = dict[Path, Path](), list(modules.values())
    while todo:
        file = todo.pop()
        root = next((root for root in roots if file.is_relative_to(root)), None)
        if root is None or file in files:
            continue
        files[file] = place = file.relative_to(root)
        if len(place.parts) > 1:
            todo += (root / place.parts[0]).rglob("*.py")
        todo += [
            other
            for name in _imports(file)
            for other in (root / f"{name}.py", root / name / "__init__.py")
            if other.is_file()
        ]
    return files


def _imports(file: Path) -> set[str]:
    """The names of the top modules that a module imports anywhere in it."""
    names = set[str]()
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return names
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _replaced(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, texts) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replaced(item, texts) for item in value)
    return texts.get(value, value) if isinstance(value, str) else value


def _as_text(name: str, config: str, values: dict[str, Any]) -> str:
    lines = [f"{key} = {pprint.pformat(value, width=118, sort_dicts=False)}\n" for key, value in values.items()]
    try:
        ast.literal_eval(repr(values))
    except (ValueError, SyntaxError):
        raise OctetError(
            f"{config}: holds more than plain values; move it to {CONFIGS / name}.py yourself, and name it so"
        ) from None
    return f"# All of {Path(config).name}, and of what it inherits.\n" + "".join(lines)
