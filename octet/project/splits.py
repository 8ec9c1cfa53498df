"""A model's images and labels, looked at before any stage runs: a wrong split costs a minute, not an hour."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from octet.core import params
from octet.core.folder import ModelFolder
from octet.core.params import Model
from octet.core.places import CONFIGS
from octet.data import preprocess
from octet.data.cifar_layouts import find
from octet.data.config_split import with_entry
from octet.data.folders import ImageFiles
from octet.data.images import Images, report_source, split_images
from octet.data.listing import check_no_link
from octet.data.preprocess import Preprocess
from octet.data.source import some


def check_splits(name: str, entry: Model, split: str) -> None:
    """Checks that the splits fit the model where they are image files; of one that was not evaluated yet, says which.

    Args:
        name: The model's.
        entry: Its entry in params.yaml.
        split: On which split it is evaluated.

    Raises:
        OctetError: There is no such split, or it does not fit the classes.
    """
    data = Path(entry.data)
    if not data.is_dir() or (find(data) and not entry.splits):
        return  # data that a stage makes or fetches; CIFAR's batches are checked where they are read
    steps, is_new = _steps(ModelFolder(name), entry)
    if entry.onnx_engines:
        steps.needs_classes(f"models.{name}: engines: {', '.join(entry.engines)}")
    if entry.mixed_precision.metric != "none":
        steps.needs_classes(f"models.{name}: mixed_precision.metric: {entry.mixed_precision.metric}")
    if entry.rounding.method == "finetune":
        steps.needs_classes(f"models.{name}: rounding.method: finetune")
    files, class_folders = dict[str, set[Path]](), dict[str, set[str]]()
    for what in dict.fromkeys((split, "train")):
        images: Images = split_images(data, what, steps, None, "evaluate.limit")
        if is_new and isinstance(images.dataset, ImageFiles):
            files[what] = {images.dataset.root / file for file in images.dataset.names}
            class_folders[what] = set(images.dataset.folders)
        if is_new:
            report_source(f"{name}: {what} split", images)
            if what == split and images.labels is None:
                why = "the model gives no class scores" if steps.outputs else f"the {split} split has no labels"
                how = "how near its outputs are to fp32's" if steps.outputs else "how it agrees with fp32"
                print(
                    f"note: {name}: {why}: int8 is judged by {how}",
                    file=sys.stderr,
                )
    _warn_of_other_folders(name, list(class_folders.values()))
    if len(files) == 2 and (shared := files[split] & files["train"]):
        print(
            f"warning: {name}: {len(shared):,} of the {len(files[split]):,} images of the {split} split are in the train split, "
            "too: int8 is judged on images that it is calibrated on; name two splits that share none",
            file=sys.stderr,
        )


def _warn_of_other_folders(name: str, class_folders: Sequence[set[str]]) -> None:
    """Says where two splits have other class folders, so that the same label may stand for two classes."""
    if len(class_folders) == 2 and all(class_folders) and (unlike := sorted(class_folders[0] ^ class_folders[1])):
        print(
            f"warning: {name}: class folders that only one of the two splits has: {some(unlike)}; each split's are labelled "
            "by their own sorted order, so a label may stand for two classes",
            file=sys.stderr,
        )


def check_links(data: str) -> None:
    """Checks that no folder in a data set is a link: DVC calls figures current, whatever has come behind one.

    Args:
        data: The data set's folder; where there is none, as in a clone without the data, nothing is checked.

    Raises:
        OctetError: One is.
    """
    for folder, names, _ in os.walk(data):
        for name in names:
            check_no_link(Path(folder, name), Path(data))


def _steps(folder: ModelFolder, entry: Model) -> tuple[Preprocess, bool]:
    """What export wrote, or the same from the source where that is newer; and is it?"""
    sources = [Path(params.FILE), *CONFIGS.rglob("*"), *map(Path, filter(None, (entry.config, entry.onnx)))]
    newest = max((path.stat().st_mtime for path in sources if path.is_file()), default=0.0)
    if folder.preprocess.is_file() and folder.preprocess.stat().st_mtime > newest:
        return preprocess.load(folder.preprocess), not folder.figures("fp32").is_file()
    from octet.export.sources import source_of

    steps = source_of(entry).look()
    return replace(steps, splits=with_entry(steps.splits, entry.splits, folder.name)), True
