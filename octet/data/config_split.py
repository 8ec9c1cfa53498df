"""Where a data set lies and how it is read, by the entry or the config: what export tells later stages in preprocess.json."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.params import Splits

SPLIT_NAMES = ("train", "test", "val", "validation", "meta")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")  # mmcls 0.25's, datasets/custom.py


@dataclass(frozen=True)
class ConfigSplit:
    """The data set of one split, as an mmcls config has it; its fields are the keys in preprocess.json.

    Args:
        type: mmcls's name for its kind, such as 'ImageNet'.
        reads: 'files': image files, as mmcls's CustomDataset; 'arrays': CIFAR; 'unknown': in a way of its own; 'layout': what
            lies there tells, as nothing else does.
        folder: Its data_prefix, in the data set's folder; 'arrays' and 'unknown' have ''.
        annotations: Its ann_file, there; None: class folders.
        extensions: The endings of image files, in small letters.
        has_names: Has the data set class names itself? Then mmcls wants as many class folders.
        test_mode: Does mmcls take the test images? Only CIFAR asks.
        annotations_optional: Are they class folders where that file is not there, as mmpretrain's ImageNet has it?
        key: The key in params.yaml that names folder and annotations; '': the config does.
        by_name: Are class folders labelled by the classes' names? Where these are all called so, in whatever order.
        timm: Is the network timm's? Then class folders may have been labelled in timm's order or in the sorted one.
        picked_by: What in the config does not take each image there once, as KFoldDataset, and its place; '': nothing.
    """

    type: str
    reads: str
    folder: str = ""
    annotations: str | None = None
    extensions: list[str] = field(default_factory=lambda: list(EXTENSIONS))
    has_names: bool = True
    test_mode: bool = True
    annotations_optional: bool = False
    key: str = ""
    by_name: bool = False
    timm: bool = False
    picked_by: str = ""

    def annotation_file(self, data: Path) -> Path | None:
        """The annotation file in a data set's folder; None: class folders."""
        if self.annotations is None:
            return None
        file = data / self.annotations
        return None if self.annotations_optional and not file.is_file() else file

    def lies_in(self, data: Path) -> bool:
        """Is all that it names in a data set's folder?"""
        if self.reads != "files":
            return False
        root, file = data / self.folder, self.annotation_file(data)
        if file is not None:
            return root.is_dir() and file.is_file()
        # Where the config names the folder itself, any folder looks like it: one with train/ and test/ is another.
        return root.is_dir() and not (self.folder == "." and any((root / name).is_dir() for name in SPLIT_NAMES))


UNTOLD = ConfigSplit("", "layout")  # nothing but what lies there tells how it is read


def with_entry(splits: dict[str, ConfigSplit], entry: Splits | None, model: str) -> dict[str, ConfigSplit]:
    """The splits of a config, or none, with those in their place that a model's entry names.

    Args:
        splits: The config's.
        entry: `splits` of the entry.
        model: The model's name.
    """
    given = {name: place for name in ("train", "test") if (place := getattr(entry, name, None))}
    return splits | {
        name: replace(
            splits.get(name, UNTOLD),
            reads="files",
            folder=os.path.normpath(place.folder),
            annotations=os.path.normpath(place.annotations) if place.annotations else None,
            annotations_optional=False,
            key=f"models.{model}.splits.{name}",
            picked_by="",
        )
        for name, place in given.items()
    }


def to_json(splits: dict[str, ConfigSplit]) -> dict[str, Any]:
    """The splits as they stand in preprocess.json."""
    content = {name: asdict(split) for name, split in splits.items()}
    for split in content.values():
        for key in ("annotations_optional", "key", "by_name", "timm", "picked_by"):
            if not split[key]:
                del split[key]
    return content


def from_json(content: dict[str, Any]) -> dict[str, ConfigSplit]:
    """The splits of preprocess.json.

    Raises:
        TypeError: They are not as to_json writes them.
    """
    splits = {name: ConfigSplit(**values) for name, values in content.items()}
    for name, split in splits.items():
        texts = [
            split.type,
            split.reads,
            split.folder,
            split.key,
            split.picked_by,
            *split.extensions,
            *filter(None, [split.annotations]),
        ]
        if name not in ("train", "test") or not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise TypeError(name)
        flags = (split.has_names, split.test_mode, split.annotations_optional, split.by_name, split.timm)
        if not isinstance(split.extensions, list) or not all(isinstance(flag, bool) for flag in flags):
            raise TypeError(name)
    return splits


def common_folder(places: Sequence[str]) -> str:
    """The folder of a data set, of which a config names these places.

    >>> common_folder(["data/imagenet/train", "data/imagenet/val", "data/imagenet/meta/val.txt"])
    'data/imagenet'
    >>> common_folder(["data/cifar10"])
    'data/cifar10'

    Args:
        places: Folders and annotation files; one at least.

    Raises:
        OctetError: Some are absolute and some are not.
    """
    folders = [str(Path(p).parent if Path(p).suffix or Path(p).name in SPLIT_NAMES else Path(p)) for p in places]
    try:
        common = Path(os.path.commonpath(folders))
    except ValueError:
        raise OctetError(
            f"the data section names {', '.join(places)}; expected absolute paths alone, or none"
        ) from None
    return str(common.parent if common.name in SPLIT_NAMES else common)
