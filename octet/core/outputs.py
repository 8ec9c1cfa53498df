"""The outputs of a network that gives no class scores, and how far two engines' are apart.

What a network gives for an image travels as one array: its outputs one after the other, flat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.logits import decibels, spread_difference

Flat = npt.NDArray[np.float32]  # of shape (values of all outputs,)
Sums = npt.NDArray[np.float64]  # of shape (outputs, 4)


@dataclass(frozen=True)
class Output:
    """One output of a network.

    Args:
        name: As the model calls it.
        shape: Of what it gives for one image, without an axis for the batch.
    """

    name: str
    shape: list[int]

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


def flat(outputs: Iterable[npt.NDArray[Any]]) -> Flat:
    """What a network gives for an image, as one array; each output is copied before the next one is computed."""
    values: Flat = np.concatenate([np.array(output, np.float32).reshape(-1) for output in outputs])
    return values


def parts(values: npt.NDArray[Any], sizes: Sequence[int]) -> list[npt.NDArray[Any]]:
    """The outputs again.

    >>> [part.tolist() for part in parts(np.arange(5), [2, 3])]
    [[0, 1], [2, 3, 4]]

    Args:
        values: Of shape (…, values of all outputs).
        sizes: How many values each output has.
    """
    return np.split(values, np.cumsum(sizes)[:-1], axis=-1)


def largest_difference(values: npt.NDArray[Any], reference: npt.NDArray[Any], sizes: Sequence[int]) -> float:
    """The largest spread_difference of any output.

    Args:
        values: Of shape (n, values of all outputs).
        reference: Of the same shape.
        sizes: How many values each output has; class scores are one output.
    """
    pairs = zip(parts(values, sizes), parts(reference, sizes), strict=True)
    return max(spread_difference(*pair) for pair in pairs)


def sums(reference: Flat, values: Flat, sizes: Sequence[int]) -> Sums:
    """What cosine and signal to noise are made of, in double precision.

    Args:
        reference: What the one network gives for an image.
        values: What the other one gives.
        sizes: How many values each output has.

    Returns:
        Of each output the sum of the reference's squares, of the difference's squares, of the values' squares, and of the
        products of both; of shape (outputs, 4).
    """
    rows = []
    for one, other in zip(parts(reference, sizes), parts(values, sizes), strict=True):
        one, other = one.astype(np.float64), other.astype(np.float64)
        rows.append([one @ one, np.square(other - one).sum(), other @ other, one @ other])
    return np.array(rows)


def sqnr_db(total: Sums) -> list[float]:
    """The signal to quantization noise of each output, in dB.

    >>> sqnr_db(sums(np.float32([10, 0]), np.float32([10, 1]), [2]))
    [20.0]

    Args:
        total: Sums over images.
    """
    return [decibels(float(signal), float(noise)) for signal, noise, *_ in total]


def cosines(of_one: Sums) -> npt.NDArray[np.float64]:
    """The cosine of the angle between both networks' outputs, of shape (outputs,); 1 where both are nothing but zeros.

    >>> cosines(sums(np.float32([1, 0, 0]), np.float32([1, 1, 0]), [2, 1])).round(4).tolist()
    [0.7071, 1.0]

    Args:
        of_one: The sums of one image.
    """
    signal, _, other, both = of_one.T
    length = np.sqrt(signal * other)
    quiet = (signal == 0) & (other == 0)
    result: npt.NDArray[np.float64] = np.where(quiet, 1.0, both / np.where(length > 0, length, 1.0)).clip(-1, 1)
    return result
