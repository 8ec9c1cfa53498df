"""The installed versions of libraries that compute: with another one a figure may be another."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import distributions

from octet.core.engines.engine import runs_in
from octet.core.engines.open_vino import FOLDER

# What the rooms of octet.best.inputs compute with; engines have a version of their own in what is measured in them.
LIBRARIES = (
    "ncnn",
    "numpy",
    "onnx",
    "opencv-python-headless",
    "pillow",
    "ppq",
    "threadpoolctl",
    "torch",
)


@cache
def version(name: str) -> str:
    """The version of an installed package; empty: it is not installed.

    >>> version("no-such-package")
    ''
    """
    return next((found.version for found in distributions(name=name, path=[*sys.path, str(FOLDER)])), "")


def engine_version(engine: str) -> str:
    """The version of what runs the models for an engine beside ncnn.

    Args:
        engine: Its name, as in params.yaml.
    """
    return version(runs_in(engine))
