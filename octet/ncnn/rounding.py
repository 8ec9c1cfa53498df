"""How ncnn rounds to int8 (float2int8 in src/layer/quantize.cpp and every int8 layer)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def round_int8(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Half away from zero, clamped to -127..127; the same shape.

    >>> round_int8(np.array([0.5, -2.5, 300], np.float32)).tolist()
    [1, -3, 127]
    """
    rounded: npt.NDArray[np.float32] = np.trunc(values + np.copysign(np.float32(0.5), values))
    return np.clip(rounded, -127, 127).astype(np.int8)
