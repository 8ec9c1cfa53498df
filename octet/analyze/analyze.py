"""analyze: what every int8 layer costs, in its own output and in the final probabilities.

For each layer the network is run twice on the same calibration images: with only this layer in int8, and with all but
this layer. The first says what it loses by itself, the second what leaving it in fp32 would win back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from octet.core import text
from octet.core.files import figure
from octet.core.logits import decibels, kl_divergence
from octet.core.parallel import map_ordered
from octet.graph.ranges import Range
from octet.ncnn.engine import Floats, logits
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.variants import Base, Mats, Variant
from octet.quantize.sensitivity import Bases, Images, Int8, groups, int8_layers, int8_weights, multiplications


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
    whole = Base(int8([]))
    names = int8_layers(whole.net)
    macs, bases = multiplications(net, names, images[0]), Bases(net, int8, names)
    fp32 = logits(bases.fp32.engine, images, "analyze, fp32")
    together = logits(whole.engine, images, "analyze, int8")
    costs: list[LayerCost] = []
    for group in groups(net, names):
        layers, withouts = [net.layer(name) for name in group], [Variant(whole, int8([name])) for name in group]
        per_image = _costs_per_image(bases, whole, layers, bases.alone(group), withouts, images)
        for layer, runs in zip(layers, zip(*per_image, strict=True), strict=True):
            costs.append(
                LayerCost(
                    layer.name,
                    layer.type,
                    macs[layer.name],
                    round(decibels(sum(run.signal for run in runs), sum(run.noise for run in runs)), 3),
                    figure(kl_divergence(fp32, np.stack([run.alone for run in runs]))),
                    figure(kl_divergence(fp32, np.stack([run.without for run in runs]))),
                    figure(max((float(np.abs(t.data).max()) for t in int8_weights(layer)), default=0.0)),
                    **asdict(ranges[layer.name]) if layer.name in ranges else {},
                )
            )
    noise = np.square(together.astype(np.float64) - fp32).sum()
    sqnr_db = decibels(np.square(fp32.astype(np.float64)).sum(), noise)
    return Analysis(costs, ModelCost(len(images), round(sqnr_db, 3), figure(kl_divergence(fp32, together))))


@dataclass(frozen=True)
class _ImageCost:
    """One layer on one image.

    Args:
        signal: The sum of its output's squares in fp32.
        noise: The same of what int8 adds, with only this layer in int8.
        alone: The logits then, of shape (classes,).
        without: The logits with all int8 layers but this one.
    """

    signal: float
    noise: float
    alone: Floats
    without: Floats


def _costs_per_image(
    bases: Bases,
    whole: Base,
    layers: Sequence[Layer],
    alones: Sequence[Variant],
    withouts: Sequence[Variant],
    images: Images,
) -> Iterator[list[_ImageCost]]:
    """For each image what each of these layers costs.

    Args:
        bases: What `alones` run from.
        whole: What `withouts` run from: all in int8.
        layers: The layers.
        alones: For each of them, the network in which only it is int8.
        withouts: For each of them, the network in which only it is not.
        images: Network inputs.
    """
    blobs = [layer.outputs[0] for layer in layers]
    needs = {blob for variant in withouts for blob in variant.needs}

    def run(k: int) -> list[_ImageCost]:
        from_fp32, fp32 = bases.run(images[k], alones, blobs)
        from_int8, _ = whole.run(images[k], needs, [])
        return [
            _image_cost(alone, from_fp32, blob, fp32[blob], without.logits(from_int8))
            for alone, without, blob in zip(alones, withouts, blobs, strict=True)
        ]

    return map_ordered(run, range(len(images)), f"analyze, {layers[0].name} to {layers[-1].name}")


def _image_cost(alone: Variant, mats: Mats, blob: str, fp32: Floats, without: Floats) -> _ImageCost:
    """The mean error of an image is no noise: a shift of the activations (octet.graph.zero_points) moves outputs by a
    constant, which the next layer takes back.
    """
    outputs, reference = alone.run(mats, [blob]), fp32.astype(np.float64)
    error = next(outputs) - reference
    logits = np.array(next(outputs)).reshape(-1)
    return _ImageCost(np.square(reference).sum(), np.square(error - error.mean()).sum(), logits, without)
