"""Which library an entry of params.yaml names: one line for each."""

from __future__ import annotations

from octet.export.library import Library


def library(name: str) -> Library:
    """The library of that name, one of EXTRA.

    Raises:
        OctetError: It is not installed.
    """
    if name == "timm":
        from octet.export.timm_library import Timm

        return Timm()
    from octet.export.torchvision_library import Torchvision

    return Torchvision()
