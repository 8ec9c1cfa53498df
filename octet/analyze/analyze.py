"""analyze: what every int8 layer costs, in its own output and in the final probabilities.

For each layer the network is run twice on the same calibration images: with only this layer in int8, and with all but
this layer. The first says what it loses by itself, the second what leaving it in fp32 would win back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from octet.core import text
from octet.core.files import figure
from octet.core.logits import decibels, kl_divergence
from octet.core.parallel import map_ordered
from octet.core.progress import progress
from octet.graph.ranges import Range
from octet.ncnn.engine import Engine, logits
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.quantize.sensitivity import Images, Int8, alone, int8_layers, int8_weights, multiplications


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs in int8.

    Args:
        layer: Its name.
        type: Its type in ncnn.
        macs: How often it multiplies with a weight, for one image.
        sqnr_db: Signal to quantization noise of its output when only it is int8, in dB.
        kl_alone: KL divergence of the final probabilities from fp32's, in nats, with only this layer in int8.
        kl_without: The same with all int8 layers but this one.
        weight_absmax: The largest magnitude of its weights.
        input_absmax: The largest magnitude that it reads, on the calibration images; None where it finds its input's
            scale anew at every run.
        input_threshold: The largest that its int8 holds; None likewise.
        clipped_pct: The share of the values over that, in percent; None likewise.
    """

    layer: str
    type: str
    macs: int
    sqnr_db: float
    kl_alone: float
    kl_without: float
    weight_absmax: float
    input_absmax: float | None = None
    input_threshold: float | None = None
    clipped_pct: float | None = None


@dataclass(frozen=True)
class ModelCost:
    """What all layers in int8 cost together.

    Args:
        n_images: How many images were used.
        sqnr_db: Signal to quantization noise of the logits, in dB.
        kl: KL divergence of the probabilities from fp32's, in nats.
    """

    n_images: int
    sqnr_db: float
    kl: float


@dataclass(frozen=True)
class Analysis:
    """The int8 layers, in the network's order, and the model with all of them.

    >>> rows = [LayerCost("conv_1", "Convolution", 1_769_472, 41.2, 2e-06, 3.1e-05, 0.5, clipped_pct=0.01)]
    >>> print(Analysis(rows, ModelCost(n_images=128, sqnr_db=38.9, kl=3.3e-05)))
    layer   type            SQNR  KL alone  KL without  MMAC  clipped
    ------  -----------  -------  --------  ----------  ----  -------
    conv_1  Convolution  41.2 dB   2.0e-06     3.1e-05  1.77  0.010 %
    All in int8: KL 3.3e-05 nats, SQNR of the logits 38.9 dB, on 128 images.
    """

    layers: list[LayerCost]
    model: ModelCost

    def to_json(self) -> dict[str, object]:
        """What analyze.json holds."""
        return asdict(self)

    def __str__(self) -> str:
        """A table for the terminal, the layers that cost most first."""
        rows = [
            [
                layer.layer,
                layer.type,
                f"{layer.sqnr_db:.1f} dB",
                f"{layer.kl_alone:.1e}",
                f"{layer.kl_without:.1e}",
                f"{layer.macs / 1e6:.2f}",
                "" if layer.clipped_pct is None else f"{layer.clipped_pct:.3f} %",
            ]
            for layer in sorted(self.layers, key=lambda layer: -layer.kl_alone)
        ]
        head = ["layer", "type", "SQNR", "KL alone", "KL without", "MMAC", "clipped"]
        return (
            f"{text.table(rows, head, 'llrrrrr')}\nAll in int8: KL {self.model.kl:.1e} nats, "
            f"SQNR of the logits {self.model.sqnr_db:.1f} dB, on {self.model.n_images} images."
        )


def analyze(net: Net, int8: Int8, ranges: Mapping[str, Range], images: Images) -> Analysis:
    """What every int8 layer costs.

    Args:
        net: The fp32 network.
        int8: Its int8 networks.
        ranges: Of the layers' inputs, as the stage calibrate measured them.
        images: Calibration images.
    """
    whole, engine = int8([]), Engine.of(net)
    names = int8_layers(whole)
    macs = multiplications(net, names, images[0])
    fp32 = logits(engine, images, "analyze, fp32")
    layers = []
    for name in progress(names, "analyze", unit="layer"):
        layer = net.layer(name)
        sqnr_db, logits_alone = _alone(engine, alone(int8, names, name), layer, images)
        without = logits(Engine.of(int8([name])), images, f"without {name}")
        layers.append(
            LayerCost(
                name,
                layer.type,
                macs[name],
                round(sqnr_db, 3),
                figure(kl_divergence(fp32, logits_alone)),
                figure(kl_divergence(fp32, without)),
                figure(max((float(np.abs(t.data).max()) for t in int8_weights(layer)), default=0.0)),
                **asdict(ranges[name]) if name in ranges else {},
            )
        )
    together = logits(Engine.of(whole), images, "analyze, int8")
    noise = np.square(together.astype(np.float64) - fp32).sum()
    sqnr_db = decibels(np.square(fp32.astype(np.float64)).sum(), noise)
    return Analysis(layers, ModelCost(len(images), round(sqnr_db, 3), figure(kl_divergence(fp32, together))))


def _alone(fp32: Engine, int8: Engine, layer: Layer, images: Images) -> tuple[float, npt.NDArray[np.float32]]:
    """The SQNR of this layer's output in dB, and the logits, of shape (n, classes).

    The mean error of an image is no noise: a shift of the activations (octet.graph.zero_points) moves outputs by a
    constant, which the next layer takes back.
    """
    blob = layer.outputs[0]

    def one(k: int) -> tuple[float, float, npt.NDArray[np.float32]]:
        image = images[k]
        reference = next(fp32.blobs(image, [blob])).astype(np.float64)
        output, last = (np.array(values) for values in int8.blobs(image, [blob, int8.output]))
        error = output - reference
        return np.square(reference).sum(), np.square(error - error.mean()).sum(), last.reshape(-1)

    signal, noise, last = zip(*map_ordered(one, range(len(images)), layer.name), strict=True)
    return decibels(sum(signal), sum(noise)), np.stack(last)
