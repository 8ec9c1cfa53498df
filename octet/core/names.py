"""Names that become folders and files: of models, and of target profiles. None leads out of its folder."""

from __future__ import annotations

import re

from octet.core.errors import OctetError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
NAME_RULE = "Names are text (18 needs quotes) of letters, digits, _ and -, no - in front: DVC splits at dots"
_LONGEST = 200  # bytes; with what Octet adds, a file's name may have 255


def usable(name: str, where: str) -> str:
    """The name, where it is one.

    >>> usable("resnet18_cifar10", "MODEL")
    'resnet18_cifar10'

    Args:
        name: What a user gave.
        where: Where, for the error.

    Raises:
        OctetError: It is none, as where it leads out of a folder.
    """
    if len(name) > _LONGEST:
        raise OctetError(f"{where}={name[:20]}…: {len(name):,} characters; expected {_LONGEST} at most")
    if not NAME.fullmatch(name):
        raise OctetError(f"{where}={name}: no usable name. {NAME_RULE}")
    return name
