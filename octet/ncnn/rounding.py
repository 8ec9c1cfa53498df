"""How ncnn rounds to int8 (float2int8 in src/layer/quantize.cpp and every int8 layer)."""

from __future__ import annotations

import numpy as np


def round_int8(values: np.ndarray) -> np.ndarray:
    """Half away from zero, clamped to -127..127. fp32 in, int8 out, the same shape."""
    return np.clip(np.trunc(values + np.copysign(np.float32(0.5), values)), -127, 127).astype(np.int8)
