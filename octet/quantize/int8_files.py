"""The int8 model's files: written, read back and run before they get their names."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.graph.layers import is_requantized
from octet.ncnn.engine import Engine
from octet.ncnn.net import Net, load_net, save_net


def write(net: Net, param: Path, bin: Path, image: npt.NDArray[np.float32]) -> None:
    """Writes the model under temporary names, reads it back, runs it on the image, and only then gives it its names.

    Args:
        net: The int8 model.
        param: Where its graph goes.
        bin: Where its weights go.
        image: A network's input, fp32 of shape (C, H, W).

    Raises:
        OctetError: What comes back differs, ncnn gives a value that is not finite, or a blob that should leave its layer
            as int8 does not.
    """
    partial = param.with_name(f".{param.name}.partial"), bin.with_name(f".{bin.name}.partial")
    try:
        save_net(net, *partial)
        again = load_net(*partial)
        _check_same(net, again, param)
        requantized = [layer.outputs[0] for layer in again.layers if is_requantized(layer)]
        engine = Engine(*partial)
        for name, bits in engine.bits(image, requantized).items():
            if bits != 8:
                raise OctetError(f"{param}: blob '{name}' should have 8 bits in ncnn, it has {bits}")
        logits = engine(image)
        if not np.isfinite(logits).all():
            raise OctetError(f"{param}: ncnn gives logits that are not finite: {logits[:5]}")
        partial[1].replace(bin)
        partial[0].replace(param)
    finally:
        for path in partial:
            with suppress(OSError):  # as on a read-only disk, of which an error tells already
                path.unlink(missing_ok=True)


def _check_same(net: Net, again: Net, param: Path) -> None:
    for written, read in zip(net.layers, again.layers, strict=True):
        same = written.params == read.params and written.weights.keys() == read.weights.keys()
        if not same or any(
            tensor.tag != read.weights[role].tag or not np.array_equal(tensor.data, read.weights[role].data)
            for role, tensor in written.weights.items()
        ):
            raise OctetError(f"{param}: layer {written.name} did not read back as it was written")
