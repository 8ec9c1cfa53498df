"""The python version of CIFAR: dictionaries of numpy arrays and names, read without running what their pickles ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.pickle_reader import BadPickle
from octet.core.pickled_arrays import CONSTRUCTORS, Array
from octet.core.pickles import loads
from octet.core.text import printable
from octet.data.arrays import Labels

_PIXELS = 3 * 32 * 32


def read_batch(data: bytes, path: Path, key: str, title: str) -> tuple[Labels, npt.NDArray[np.uint8]]:
    """The labels of a batch, and its images, a row of 3072 bytes each.

    >>> import pickle
    >>> content = {"data": np.zeros((2, 3072), np.uint8), "labels": [7, 1]}
    >>> labels, rows = read_batch(pickle.dumps(content), Path("data_batch_1"), "labels", "CIFAR-10")
    >>> labels.tolist(), rows.shape
    ([7, 1], (2, 3072))

    Args:
        data: The file's bytes.
        path: Where it lies, for the errors.
        key: That of the labels.
        title: What the data set is called, for the errors.

    Raises:
        OctetError: It is no such pickle.
    """
    content = _dictionary(data, path)
    pixels, labels = content.get("data"), _whole_numbers(content.get(key))
    rows = pixels.values if isinstance(pixels, Array) else None
    if rows is not None and labels is not None:
        fits = rows.dtype == np.uint8 and rows.shape == (len(labels), _PIXELS) and len(labels) > 0
        if fits:
            return labels, rows.astype(np.uint8, copy=False)
    raise OctetError(f"{path}: expected uint8 'data' of shape (n, 3072) and n '{key}' in it, as in {title}")


def read_names(data: bytes, path: Path, key: str, title: str) -> tuple[str, ...]:
    """The class names, by label. Arguments and errors as for read_batch."""
    names = _dictionary(data, path).get(key, ())
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise OctetError(f"{path}: expected a list of class names under '{key}', as in {title}")


def _whole_numbers(values: object) -> Labels | None:
    """A list, or an array, of whole numbers, of shape (n,); None for anything else."""
    if isinstance(values, Array):
        numbers = values.values
        whole = numbers is not None and numbers.ndim == 1 and numbers.dtype.kind in "iu"
        return numbers.astype(np.int64) if numbers is not None and whole else None
    if not isinstance(values, list) or not all(isinstance(v, int) and abs(v) < 1 << 31 for v in values):
        return None
    return np.array(values, np.int64)


def _dictionary(data: bytes, path: Path) -> dict[object, object]:
    try:
        loaded = loads(data, CONSTRUCTORS)
        if loaded.opaque:
            raise BadPickle(f"it names {printable(loaded.opaque[0])}")
    except BadPickle as error:
        raise OctetError(
            f"{path}: not a pickle of numpy arrays alone, or damaged ({error}); expected a batch of CIFAR's python version. "
            "Reading anything else could run code"
        ) from None
    if not isinstance(loaded.value, dict):
        raise OctetError(f"{path}: expected a pickled dictionary, found {type(loaded.value).__name__}")
    return loaded.value
