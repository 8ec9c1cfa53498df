"""How two engines' logits are compared."""

from __future__ import annotations

import numpy as np


def spread_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest absolute difference of two arrays of logits, as a share of the second's spread (max - min).

    Logits, not probabilities: where no class is likely, any output's probabilities agree.
    """
    return float(np.abs(found - wanted).max() / max(np.ptp(wanted), np.finfo(np.float32).tiny))
