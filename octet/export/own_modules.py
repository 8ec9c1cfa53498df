"""Modules of a user's own, which a config names in custom_imports: found beside the config, one config's at a time."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from octet.core.errors import OctetError
from octet.core.places import from_here

# What comes through a user's code and is not told as its own.
NOT_ITS_OWN: tuple[type[BaseException], ...] = (OctetError, MemoryError, KeyboardInterrupt, GeneratorExit)
_OCTET = ("octet", "stages", "tests")
_pristine: list[tuple[Any, dict[str, Any]]] = []  # mmcls's and mmcv's registries, and what they hold by themselves
_roots: list[Path] = []  # of the config that was read last
_at_the_end: list[str] = []  # its folders on sys.path
_others: set[str] = set()  # modules that were loaded before it


@contextmanager
def user_code(what: str, *but: type[BaseException]) -> Iterator[None]:
    """Runs code of a user's, which may raise anything, classes of its own too: that is an OctetError « WHAT: REASON ».

    Args:
        what: What cannot be done.
        but: What goes on as it is.
    """
    try:
        yield
    except NOT_ITS_OWN + but:
        raise
    except BaseException as error:
        raise OctetError(f"{what}: {failure(error)}") from None


def roots(config: Path) -> list[Path]:
    """The folders in which a config's modules are looked for: one called as the config, and the config's own."""
    return [folder for folder in (config.with_suffix("").absolute(), config.parent.absolute()) if folder.is_dir()]


@contextmanager
def beside(config: Path) -> Iterator[None]:
    """Modules beside the config come before all others meanwhile, and after all others from then on.

    What another config brought is forgotten: two may have modules of one name, or register classes of one name.

    Args:
        config: Its file.
    """
    _forget()
    _roots[:] = [] if _is_installed(config) else roots(config)
    _others.clear()
    _others.update(sys.modules)
    before, no_bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path[:0] = map(str, _roots)
    sys.dont_write_bytecode = (
        True  # bytecode goes by the second: of two changes within one, Python would miss the other
    )
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _at_the_end[:] = [str(root) for root in _roots if str(root) not in before]
        sys.path[:], sys.dont_write_bytecode = [*before, *_at_the_end], no_bytecode


def import_all(custom_imports: Any, config: Path, where: str) -> None:
    """Imports what a config's custom_imports names.

    Args:
        custom_imports: As mmcv has it: imports, and allow_failed_imports.
        config: The config's file.
        where: What it is called in errors.

    Raises:
        OctetError: It is not so; a module is missing, or cannot be imported.
    """
    names = custom_imports.get("imports") if isinstance(custom_imports, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        raise OctetError(f"{where}: custom_imports: expected a dict like dict(imports=['my_models'])")
    for name in names:
        try:
            _import(name, config, where)
        except OctetError as error:
            if not custom_imports.get("allow_failed_imports"):
                raise
            print(f"warning: {error}", file=sys.stderr)


def _import(name: str, config: Path, where: str) -> None:
    top, folder = name.partition(".")[0], config.parent
    here = next((root for root in _roots if _is_module(root, top)), None)
    if top in _others and here is not None:
        raise OctetError(
            f"{where}: custom_imports names {name!r}, which lies in {from_here(here)}, but Octet or a package has loaded another "
            "module of that name; rename yours"
        )
    problem = ""
    try:
        with user_code(f"{where}: custom_imports names {name!r}, which cannot be imported", ModuleNotFoundError):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        who = "" if name.split(".")[: missing.count(".") + 1] == missing.split(".") else f"imports {missing!r}, which "
        place = f"{from_here(folder)}/{missing.partition('.')[0]}"
        what = f"custom_imports names {name!r}, which " + (f"{who}" if who else "")
        problem = (
            f"{what}is neither beside the config, as {place}.py or in {place}/, nor in the environment; put it there, or "
            "install it into .venv"
        )
    if problem:
        raise OctetError(f"{where}: {problem}")


def failure(error: BaseException) -> str:
    """What a user's code raised and, where it is in a module beside the config that was read last, in which line."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and all(inner is not one for one in chain):
        chain, inner = [*chain, inner], inner.__context__
    frames = [frame for one in chain for frame in reversed(traceback.extract_tb(one.__traceback__))]
    here = [frame for frame in frames if any(Path(frame.filename).is_relative_to(root) for root in _roots)]
    place = f" ({from_here(Path(here[0].filename))}, line {here[0].lineno})" if here else ""
    words = str(traceback.TracebackException.from_exception(error)).strip().splitlines()  # where __str__ fails, too
    return f"{type(error).__name__}{f': {words[0]}' if words else ''}{place}"


def loaded_modules() -> dict[str, Path]:
    """The files of the modules beside the config that was read last, by the modules' names; a folder of one without."""
    files = {name: _place(name, module) for name, module in list(sys.modules.items())}
    return {name: file for name, file in files.items() if file}


def _place(name: str, module: ModuleType) -> Path | None:
    """Where a module lies; None: not beside the config."""
    if name in _others or name.partition(".")[0] in _OCTET:
        return None
    folders = getattr(module, "__path__", [])
    places = [getattr(module, "__file__", None) or "", *(folders if isinstance(folders, Iterable) else [])]
    file = Path(next(filter(None, places), os.devnull)).absolute()
    return file if any(file.is_relative_to(root) for root in _roots) and not _is_installed(file) else None


def _is_installed(file: Path) -> bool:
    return any(file.absolute().is_relative_to(prefix) for prefix in {sys.prefix, sys.base_prefix})


def _is_module(root: Path, name: str) -> bool:
    return (root / f"{name}.py").is_file() or (root / name).is_dir()


def _forget() -> None:
    """Takes away what the last config brought: its modules, and the classes that they registered."""
    if not _pristine:
        from mmcv.utils import Registry

        modules = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] in ("mmcls", "mmcv")]
        registries = {id(r): r for m in modules for r in list(vars(m).values()) if isinstance(r, Registry)}
        _pristine.extend((registry, dict(registry.module_dict)) for registry in registries.values())
    names = set(loaded_modules())
    for name in names:
        del sys.modules[name]
    for registry, before in _pristine:
        for key, kind in list(registry.module_dict.items()):
            if getattr(kind, "__module__", None) in names:
                del registry.module_dict[key]
                registry.module_dict.update({key: before[key]} if key in before else {})
    sys.path[:] = [place for place in sys.path if place not in _at_the_end]
    _at_the_end.clear()
