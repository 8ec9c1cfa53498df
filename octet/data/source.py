"""Where the images and labels of a split come from: what is printed, and what fp32.json says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Where a split comes from.

    >>> print(Source("meta/val.txt", "annotation file of the images in val"))
    meta/val.txt (annotation file of the images in val)

    Args:
        path: Its folder or file, in the data set's folder.
        kind: What that is, in a few words.
        remarks: What a user should know before trusting a figure, one line each.
    """

    path: str
    kind: str
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.path} ({self.kind})"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, in quotes."""
    return ", ".join(map(repr, names[:most])) + (", …" if len(names) > most else "")


def naming_remark(folders: Sequence[str], classes: Sequence[str]) -> list[str]:
    """One remark where some class folders are called as classes are, and not all by their sorted order.

    >>> naming_remark(["ant", "mole"], ["mole", "ant"])[0].partition(": ")[2]
    "folder 'ant' is label 0, which is called 'mole'; folder 'mole' is label 1, which is called 'ant'"
    >>> naming_remark(["n01440764", "n01443537"], ["tench", "goldfish"])
    []

    A folder great_white_shark is called as a class « Great white shark » is, where no two names differ by that alone.
    """
    written, named = [list(map(_letters, names)) for names in (folders, classes)]
    if len(set(written)) < len(set(folders)) or len(set(named)) < len(set(classes)):
        written, named = list(folders), list(classes)
    unlike = [k for k, pair in enumerate(zip(written, named, strict=False)) if pair[0] != pair[1]]
    if not unlike or not set(named).intersection(written):
        return []
    examples = "; ".join(f"folder {folders[k]!r} is label {k}, which is called {classes[k]!r}" for k in unlike[:3])
    more = f"; {len(unlike) - 3} more" if len(unlike) > 3 else ""
    return [f"class folders are labelled by their sorted order, as mmcls does it, and not by name: {examples}{more}"]


def misplaced(folders: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The class folders that are called as a class of another label is, capitals, blanks and signs aside.

    >>> misplaced(["cat", "dog", "owl"], ["Dog", "Cat", "barn owl"])
    ['cat', 'dog']
    """
    labels = dict[str, set[int]]()
    for label, name in enumerate(classes):
        labels.setdefault(_letters(name), set()).add(label)
    return [folder for label, folder in enumerate(folders) if label not in labels.get(_letters(folder), {label})]


def _letters(name: str) -> str:
    """A name's letters and digits, small, by which a folder's name and a class's are compared; without any, the name."""
    return "".join(filter(str.isalnum, name.casefold())) or name


def labels_remark(labels: Sequence[int], classes: Sequence[str], split: str) -> list[str]:
    """One remark where a split has no image of some classes.

    >>> labels_remark([0, 2, 2], ["cat", "dog", "owl"], "test")
    ["no image of 1 of the 3 classes: 'dog'. Each such class counts as 0 in the means of precision, recall and F1, as in mmcls"]

    Args:
        labels: Of its images.
        classes: The model's class names.
        split: 'train' or 'test'.
    """
    there = set(labels)
    absent = [name for label, name in enumerate(classes) if label not in there]
    if not absent or not there or (split == "train" and len(there) == 1):  # training images need no labels
        return []
    if len(there) > 1:
        why = "Each such class counts as 0 in the means of precision, recall and F1, as in mmcls"
        why = why if split == "test" else "Calibration sees none of them"
        return [f"no image of {len(absent):,} of the {len(classes):,} classes: {some(absent)}. {why}"]
    label = labels[0]
    return [
        f"all of its {len(labels):,} images have label {label} ({classes[label]!r}), and the model has {len(classes):,} "
        "classes: a figure on them says little. Does it hold labels at all?"
    ]
