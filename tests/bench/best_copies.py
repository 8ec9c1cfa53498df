"""Copies of the project in which nothing was searched before, for tests.bench.best."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octet.core.files import write_json
from octet.project import entries
from tests.bench import cifar_jpeg
from tests.bench.loop import ROOT, Clone

SHARED = ROOT.parent / "shared"  # with CIFAR-10 as JPEGs and a checkpoint: see tests.bench.cifar_jpeg
_FINISHED = "bench.json"  # in a base that is whole
_COMMIT = (
    "-c",
    "user.name=bench",
    "-c",
    "user.email=bench@localhost",
    "commit",
    "--quiet",
    "--all",
    "--message",
    "bench",
)


def is_there(model: str) -> bool:
    """Has this machine what the model is made of?"""
    return model != cifar_jpeg.MODEL or (SHARED / "cifar10-jpeg").is_dir()


def base(model: str, folder: Path) -> Path:
    """The project at the newest commit with a model's int8 files, as make quantize leaves it; in FOLDER/base.

    Args:
        model: The model's name.
        folder: Where the model's copies lie.
    """
    project = folder / "base"
    if (folder / _FINISHED).is_file():
        return project
    shutil.rmtree(folder, ignore_errors=True)
    clone = Clone.at("HEAD", project)
    if model == cifar_jpeg.MODEL:
        cifar_jpeg.unpack(SHARED / "cifar10-jpeg", folder / "cifar10_jpeg")
        shutil.rmtree(project / "data" / "digits32")  # the images are read where they are
        with inside(project):
            checkpoint = (SHARED / "checkpoints" / f"{model}.pth").resolve()
            entry = {"config": cifar_jpeg.CONFIG, "checkpoint": str(checkpoint), "data": str(folder / "cifar10_jpeg")}
            entries.add(model, entry)
    clone.repro(f"quantize@{model}")
    clone.run("git", *_COMMIT)
    write_json(folder / _FINISHED, {"commit": clone.run("git", "rev-parse", "HEAD~").strip()})
    return project


def copy(project: Path, folder: Path) -> Clone:
    """A copy of a project, unless there is one. DVC's cache is linked: its files never change."""
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(project, partial, symlinks=True, copy_function=_copy_file)
        partial.rename(folder)
    return Clone(folder)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Makes a folder the current one."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _copy_file(source: str, target: str) -> None:
    if "/.dvc/cache/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
