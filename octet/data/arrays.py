"""What images, labels and network inputs are as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # an image: RGB of shape (H, W, 3), or grey of shape (H, W)
Input = npt.NDArray[np.float32]  # a network's input: of shape (C, H, W)
Labels = npt.NDArray[np.int64]  # a class for each image: of shape (n,)
Indices = npt.NDArray[np.int64]  # some images of a split, of shape (n,)
