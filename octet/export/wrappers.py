"""What a config's data set is wrapped in, in mmcls and in mmpretrain, and whether all of its images are taken."""

from __future__ import annotations

from typing import Any

SEVERAL = "ConcatDataset"  # as the type of several data sets in one; mmcls takes a list for it, too
_TAKES_ALL = "RepeatDataset"


def unwrapped(settings: Any, where: str) -> tuple[dict[str, Any], str]:
    """A data set's settings, out of its wrappers, and what in the config does not take each of its images as often.

    >>> unwrapped({"type": "KFoldDataset", "fold": 0, "dataset": {"type": "CustomDataset"}}, "my.py: data.test")
    ({'type': 'CustomDataset'}, "my.py: data.test.type is 'KFoldDataset'")
    >>> unwrapped({"type": "RepeatDataset", "times": 2, "dataset": {"type": "CustomDataset"}}, "my.py: data.test")
    ({'type': 'CustomDataset'}, '')

    Of wrappers RepeatDataset alone takes all images alike; `indices` of mmengine's data sets takes some.

    Args:
        settings: As they stand in the config.
        where: Their place in it.

    Returns:
        The settings, {} where there are none, of type ConcatDataset alone where they are several; and what takes other images,
        by its place, or ''.
    """
    picked_by = ""
    while True:
        several = settings.get("datasets") if isinstance(settings, dict) else settings
        if isinstance(several, list | tuple):
            if len(several) != 1:
                return {"type": SEVERAL} if several else {}, ""
            settings = several[0]
        elif isinstance(settings, dict) and isinstance(settings.get("dataset"), dict):
            if settings.get("type") != _TAKES_ALL:
                picked_by = picked_by or f"{where}.type is {settings.get('type')!r}"
            settings, where = settings["dataset"], f"{where}.dataset"
        else:
            break
    if not isinstance(settings, dict):
        return {}, ""
    if settings.get("indices") is not None:
        picked_by = picked_by or f"{where}.indices is {settings['indices']!r:.40}"
    return settings, picked_by
