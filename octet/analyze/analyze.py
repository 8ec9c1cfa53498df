"""analyze: what every int8 layer costs, in its own output and in the final probabilities.

For each layer the network is run twice on the same calibration images: with only this layer in int8, and with all but
this layer. The first says what it loses by itself, the second what leaving it in fp32 would win back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from octet.core import text
from octet.core.files import figure
from octet.core.logits import decibels, kl_divergence
from octet.core.outputs import flat, sqnr_db, sums
from octet.core.parallel import map_blocks, map_ordered
from octet.graph.ranges import Range
from octet.ncnn.engine import Engine, Floats, logits
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.side_by_side import Mats
from octet.ncnn.variants import Base, Variant
from octet.quantize.sensitivity import Bases, Images, Int8, groups, int8_layers, int8_weights, multiplications

Kept = npt.NDArray[np.floating[Any]]
_OF_CLASSES, _OF_OUTPUTS = ("kl_alone", "kl_without"), ("output_sqnr_alone_db", "output_sqnr_without_db")


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs in int8.

    Args:
        layer: Its name.
        type: Its type in ncnn.
        macs: How often it multiplies with a weight, for one image.
        sqnr_db: Signal to quantization noise of its output when only it is int8, in dB.
        kl_alone: KL divergence of the final probabilities from fp32's, in nats, with only this layer in int8; None of a network
            that gives no class scores.
        kl_without: The same with all int8 layers but this one.
        weight_absmax: The largest magnitude of its weights.
        input_absmax: The largest magnitude that it reads, on the calibration images; None where it finds its input's
            scale anew at every run.
        input_threshold: The largest that its int8 holds; None likewise.
        clipped_pct: The share of the values over that, in percent; None likewise.
        output_sqnr_alone_db: Of a network that gives no class scores, the SQNR of the output where it is least, in dB, with only
            this layer in int8; None of one that does.
        output_sqnr_without_db: The same with all int8 layers but this one.
    """

    layer: str
    type: str
    macs: int
    sqnr_db: float
    kl_alone: float | None
    kl_without: float | None
    weight_absmax: float
    input_absmax: float | None = None
    input_threshold: float | None = None
    clipped_pct: float | None = None
    output_sqnr_alone_db: float | None = None
    output_sqnr_without_db: float | None = None

    @property
    def rank(self) -> float:
        """Larger where the layer costs more."""
        return self.kl_alone if self.kl_alone is not None else -(self.output_sqnr_alone_db or 0.0)


@dataclass(frozen=True)
class ModelCost:
    """What all layers in int8 cost together.

    Args:
        n_images: How many images were used.
        sqnr_db: Signal to quantization noise of the logits, in dB; of other outputs, that of the one where it is least.
        kl: KL divergence of the probabilities from fp32's, in nats; None of other outputs.
    """

    n_images: int
    sqnr_db: float
    kl: float | None = None


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
        content = asdict(self)
        for figures in (content["model"], *content["layers"]):
            for key in ("kl", *_OF_CLASSES, *_OF_OUTPUTS):
                if key in figures and figures[key] is None:
                    del figures[key]
        return content

    def __str__(self) -> str:
        """A table for the terminal, the layers that cost most first."""
        rows = [
            [
                layer.layer,
                layer.type,
                f"{layer.sqnr_db:.1f} dB",
                *_cost(layer),
                f"{layer.macs / 1e6:.2f}",
                "" if layer.clipped_pct is None else f"{layer.clipped_pct:.3f} %",
            ]
            for layer in sorted(self.layers, key=lambda layer: -layer.rank)
        ]
        costs = ["outputs alone", "outputs without"] if self.model.kl is None else ["KL alone", "KL without"]
        what = "the worst output" if self.model.kl is None else "the logits"
        divergence = "" if self.model.kl is None else f"KL {self.model.kl:.1e} nats, "
        return (
            f"{text.table(rows, ['layer', 'type', 'SQNR', *costs, 'MMAC', 'clipped'], 'llrrrrr')}\nAll in int8: {divergence}"
            f"SQNR of {what} {self.model.sqnr_db:.1f} dB, on {self.model.n_images} images."
        )


def _cost(layer: LayerCost) -> list[str]:
    if layer.kl_alone is None or layer.kl_without is None:
        return [f"{layer.output_sqnr_alone_db:.1f} dB", f"{layer.output_sqnr_without_db:.1f} dB"]
    return [f"{layer.kl_alone:.1e}", f"{layer.kl_without:.1e}"]


def analyze(
    net: Net, int8: Int8, ranges: Mapping[str, Range], images: Images, sizes: Sequence[int] | None = None
) -> Analysis:
    """What every int8 layer costs.

    Args:
        net: The fp32 network.
        int8: Its int8 networks.
        ranges: Of the layers' inputs, as the stage calibrate measured them.
        images: Calibration images.
        sizes: How many values each output of a network has that gives no class scores; None: it gives them.
    """
    whole = Base(int8([]))
    names = int8_layers(whole.net)
    bases = Bases(net, int8, names)
    macs = multiplications(bases.fp32, names, images[0])
    judge: _Judge = _Scores(bases.fp32.engine, images) if sizes is None else _Outputs(bases.fp32.engine, images, sizes)
    together = judge.model(whole.engine)
    costs: list[LayerCost] = []
    for group in groups(net, names):
        layers, withouts = [net.layer(name) for name in group], [Variant(whole, int8([name])) for name in group]
        per_image = _costs_per_image(bases, whole, layers, bases.alone(group), withouts, images, judge)
        for layer, runs in zip(layers, zip(*per_image, strict=True), strict=True):
            costs.append(
                LayerCost(
                    layer.name,
                    layer.type,
                    macs[layer.name],
                    round(decibels(sum(run.signal for run in runs), sum(run.noise for run in runs)), 3),
                    None,
                    None,
                    figure(max((float(np.abs(t.data).max()) for t in int8_weights(layer)), default=0.0)),
                    **asdict(ranges[layer.name]) if layer.name in ranges else {},
                )
            )
            alone, without = (np.stack([getattr(run, key) for run in runs]) for key in ("alone", "without"))
            costs[-1] = judge.layer(costs[-1], alone, without)
    return Analysis(costs, judge.whole(together))


class _Judge(Protocol):
    """How far an int8 network is from fp32: what is kept of each image, and what figures that gives."""

    def model(self, engine: Engine) -> Kept:
        """What is kept of each image of a whole network."""

    def image(self, fp32: Floats, values: Floats) -> Kept:
        """What is kept of what a network gives for an image, and of what fp32 gives."""

    def layer(self, cost: LayerCost, alone: Kept, without: Kept) -> LayerCost:
        """A layer's cost with the figures of the final outputs."""

    def whole(self, together: Kept) -> ModelCost:
        """The cost of all layers together."""


class _Scores:
    """Of class scores the logits are kept, of shape (n, classes)."""

    def __init__(self, fp32: Engine, images: Images):
        self.images, self.fp32 = images, logits(fp32, images, "analyze, fp32")

    def model(self, engine: Engine) -> Kept:
        return logits(engine, self.images, "analyze, int8")

    def image(self, fp32: Floats, values: Floats) -> Kept:  # noqa: ARG002, fp32's are there already
        return values

    def layer(self, cost: LayerCost, alone: Kept, without: Kept) -> LayerCost:
        kl_alone, kl_without = (figure(kl_divergence(self.fp32, values)) for values in (alone, without))
        return replace(cost, kl_alone=kl_alone, kl_without=kl_without)

    def whole(self, together: Kept) -> ModelCost:
        noise = np.square(together.astype(np.float64) - self.fp32).sum()
        decibel = decibels(np.square(self.fp32.astype(np.float64)).sum(), noise)
        return ModelCost(len(together), round(decibel, 3), figure(kl_divergence(self.fp32, together)))


class _Outputs:
    """Of other outputs, which may be large, octet.core.outputs.sums are kept, of shape (n, outputs, 4)."""

    def __init__(self, fp32: Engine, images: Images, sizes: Sequence[int]):
        self.fp32, self.images, self.sizes = fp32, images, sizes

    def model(self, engine: Engine) -> Kept:
        def run(k: int) -> Kept:
            image = self.images[k]
            return self.image(self.fp32(image), engine(image))

        return np.stack(list(map_ordered(run, range(len(self.images)), "analyze, int8")))

    def image(self, fp32: Floats, values: Floats) -> Kept:
        return sums(fp32, values, self.sizes)

    def layer(self, cost: LayerCost, alone: Kept, without: Kept) -> LayerCost:
        return replace(cost, output_sqnr_alone_db=_least(alone), output_sqnr_without_db=_least(without))

    def whole(self, together: Kept) -> ModelCost:
        return ModelCost(len(together), _least(together))


def _least(kept: Kept) -> float:
    """The SQNR of the output where it is least, in dB."""
    return round(min(sqnr_db(kept.sum(axis=0))), 3)


@dataclass(frozen=True)
class _ImageCost:
    """One layer on one image.

    Args:
        signal: The sum of its output's squares in fp32.
        noise: The same of what int8 adds, with only this layer in int8.
        alone: What the judge keeps of the outputs then: of class scores the logits, of shape (classes,).
        without: The same with all int8 layers but this one.
    """

    signal: float
    noise: float
    alone: Kept
    without: Kept


def _costs_per_image(
    bases: Bases,
    whole: Base,
    layers: Sequence[Layer],
    alones: Sequence[Variant],
    withouts: Sequence[Variant],
    images: Images,
    judge: _Judge,
) -> Iterator[Sequence[_ImageCost]]:
    """For each image what each of these layers costs.

    Args:
        bases: What `alones` run from.
        whole: What `withouts` run from: all in int8.
        layers: The layers.
        alones: For each of them, the network in which only it is int8.
        withouts: For each of them, the network in which only it is not.
        images: Network inputs.
        judge: What is kept of the final outputs.
    """
    blobs, last = [layer.outputs[0] for layer in layers], bases.fp32.net.outputs
    needs = {blob for variant in withouts for blob in variant.needs}

    def run(block: range) -> Sequence[Sequence[_ImageCost]]:
        inputs = [images[k] for k in block]
        from_fp32, fp32 = zip(*bases.run(inputs, alones, [*blobs, *last]), strict=True)
        from_int8 = [mats for mats, _ in whole.run(inputs, needs, [])]
        final = [flat(arrays[name] for name in last) for arrays in fp32]
        by_layer = [
            _image_costs(alone, from_fp32, blob, [of[blob] for of in fp32], without.logits(from_int8), judge, final)
            for alone, without, blob in zip(alones, withouts, blobs, strict=True)
        ]
        return list(zip(*by_layer, strict=True))

    size = bases.images_together(images[0], alones)
    return map_blocks(run, len(images), size, f"analyze, {layers[0].name} to {layers[-1].name}")


def _image_costs(
    alone: Variant,
    mats: Sequence[Mats],
    blob: str,
    fp32: Sequence[Floats],
    withouts: Sequence[Floats],
    judge: _Judge,
    finals: Sequence[Floats],
) -> list[_ImageCost]:
    """The mean error of an image is no noise: a shift of the activations (octet.graph.zero_points) moves outputs by a
    constant, which the next layer takes back.
    """
    costs = []
    for (output, *outputs), reference, final, without in zip(
        zip(*alone.run(mats, [blob]), strict=True), fp32, finals, withouts, strict=True
    ):
        signal = reference.astype(np.float64)
        error = output - signal
        noise = np.square(error - error.mean()).sum()
        kept = judge.image(final, flat(outputs)), judge.image(final, without)
        costs.append(_ImageCost(np.square(signal).sum(), noise, *kept))
    return costs
