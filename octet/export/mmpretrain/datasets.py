"""mmpretrain's data sets, by the settings of mmcls's: where images and labels are, and which split.

- `data_root` is put before `data_prefix` and `ann_file`, where these are not absolute.
- ImageNet's `split` is a folder; its labels stand in meta/<split>.txt where there is such a file, else the class folders
  have them. `ann_file_optional` says so to octet.export.mmcls_data.
- CIFAR and MNIST take `split`, where mmcls has test_mode; without one it is the training split.
- `indices` and wrappers that take some of the images have no form in mmcls's settings: `picked_by` names them.

Source: mmpretrain/datasets/base_dataset.py, custom.py, imagenet.py, cifar.py; mmengine/dataset/base_dataset.py.
"""

from __future__ import annotations

import os.path
from typing import Any

from octet.core.errors import OctetError
from octet.export.wrappers import SEVERAL, unwrapped

_ARRAYS = ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST")
_SPLITS = {"ImageNet": ("train", "val", "test"), "ImageNet21k": ("train",)}


def data_set(loader: Any, where: str) -> tuple[dict[str, Any], list[Any]]:
    """A dataloader's data set as mmcls 0.x has it, without its pipeline, and the pipeline.

    >>> loader = {"dataset": {"type": "ImageNet", "data_root": "data/imagenet", "split": "val", "pipeline": []}}
    >>> data_set(loader, "my.py: val_dataloader.dataset")[0]["ann_file"]
    'data/imagenet/meta/val.txt'

    Args:
        loader: The config's test_dataloader or the like.
        where: The data set's place in the config, for errors.

    Raises:
        OctetError: There is none, or it has no pipeline, or a split that mmpretrain's data set has not.
    """
    settings, picked_by = unwrapped(loader.get("dataset") if isinstance(loader, dict) else None, where)
    if settings.get("type") == SEVERAL:
        return {"type": SEVERAL}, []
    if not isinstance(settings.get("type"), str):
        raise OctetError(f"{where}: expected one data set with type and pipeline")
    pipeline = settings.get("pipeline")
    if not isinstance(pipeline, list | tuple):
        raise OctetError(f"{where}: has no pipeline, which says what happens to an image")
    kind = settings["type"]
    read = _arrays(settings) if kind in _ARRAYS else _files(settings, where)
    classes = (settings.get("metainfo") or {}).get("classes", settings.get("classes"))
    told = {"classes": classes, "picked_by": picked_by}
    return {"type": kind} | read | {key: value for key, value in told.items() if value}, list(pipeline)


def _arrays(settings: dict[str, Any]) -> dict[str, Any]:
    place = _joined(settings, settings.get("data_prefix"), "root")
    return {"data_prefix": place, "test_mode": settings.get("split", "train") == "test"}


def _files(settings: dict[str, Any], where: str) -> dict[str, Any]:
    kind, split = settings["type"], settings.get("split")
    prefix, annotations = settings.get("data_prefix"), settings.get("ann_file") or ""
    read: dict[str, Any] = {}
    if split and kind in _SPLITS:
        if split not in _SPLITS[kind]:
            raise OctetError(f"{where}.split is {split!r}; expected {' or '.join(_SPLITS[kind])}")
        prefix = prefix or split
        if not annotations and split != "test":
            annotations, read["ann_file_optional"] = f"meta/{split}.txt", True
    if settings.get("with_label") is False or (kind == "ImageNet" and split == "test"):
        return {}  # no labels: what lies there is taken
    read["data_prefix"] = _joined(settings, prefix, "img_path")
    if annotations:
        read["ann_file"] = _joined(settings, annotations, "")
    if "extensions" in settings:
        read["extensions"] = settings["extensions"]
    return read


def _joined(settings: dict[str, Any], place: Any, key: str) -> str:
    """A place in data_root. key: the one that has it, where it is a dictionary."""
    place = place.get(key) if isinstance(place, dict) else place
    joined = os.path.join(str(settings.get("data_root") or ""), os.path.expanduser(str(place or "")))  # noqa: PTH111, PTH118
    return joined.rstrip("/") or joined
