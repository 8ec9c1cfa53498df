"""Importing libraries that greet the user with warnings that are not his."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_imports() -> Iterator[None]:
    """While it lasts, no warning of what is imported gets through.

    mmcv and PPQ import torch.utils.cpp_extension, which logs a warning where a compiler of CUDA is installed and no GPU is there:
    nothing in Octet needs either.
    """
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
