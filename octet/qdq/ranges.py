"""One pass of ONNX Runtime over the calibration images: what each tensor reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from octet.calibrate.histogram import Histogram
from octet.core.engines.onnx_runtime import Session
from octet.core.errors import OctetError
from octet.core.parallel import map_shards
from octet.qdq.network import Floats, Network

# Bytes of tensors that are counted at once: of small ones, each count takes longer than the counting.
TOGETHER = 16 << 20


@dataclass
class Sides:
    """The two sides of zero of a tensor that is only added to another one before a ReLU.

    Args:
        negative: The histogram of what lies below zero.
        positive: Of what lies above.
        passed: How many of the values the ReLU lets through: the others' rounding does not matter.
    """

    negative: Histogram
    positive: Histogram
    passed: int

    @classmethod
    def of(cls, values: Floats, passed: int) -> Sides:
        """The sides of an array."""
        return cls(Histogram.of(np.minimum(values, 0)), Histogram.of(np.maximum(values, 0)), passed)

    def merge(self, other: Sides) -> None:
        """Takes in the other's values."""
        self.negative.merge(other.negative)
        self.positive.merge(other.positive)
        self.passed += other.passed


@dataclass
class Range:
    """What a tensor's values are, over all images; ranges merge exactly, whatever the order.

    Args:
        histogram: Of the magnitudes.
        low: The least value, or 0 where that is less.
        high: The largest value, or 0 where that is more.
        sides: Of a tensor that is only added before a ReLU.
    """

    histogram: Histogram
    low: float
    high: float
    sides: Sides | None = None

    @classmethod
    def of(cls, values: Floats, passed: int | None = None) -> Range:
        """The range of an array; passed: as in Sides, of a tensor that has them. Raises ValueError where a value is not finite."""
        sides = None if passed is None else Sides.of(values, passed)
        return cls(Histogram.of(values), min(float(values.min()), 0.0), max(float(values.max()), 0.0), sides)

    def merge(self, other: Range) -> Range:
        """Takes in the other's values; returns itself."""
        self.histogram.merge(other.histogram)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if self.sides and other.sides:
            self.sides.merge(other.sides)
        return self


def ranges(
    network: Network,
    tensors: Sequence[str],
    images: Sequence[npt.NDArray[np.float32]],
    summands: Mapping[str, str] | None = None,
    workers: int | None = None,
) -> dict[str, Range]:
    """The range of each tensor over all images. Memory does not grow with their number.

    Args:
        network: The fp32 network.
        tensors: Names of fp32 tensors that it computes or is given.
        images: Network inputs, fp32 of shape (C, H, W).
        summands: As Placement has them: of these, what lies below the other's negative counts as that.
        workers: As in octet.core.parallel; the result does not depend on it.

    Raises:
        OctetError: A tensor has values that are not finite.
    """
    below = {name: other for name, other in (summands or {}).items() if name in tensors}
    wanted = list(dict.fromkeys([*tensors, *below.values()]))
    run = runner(network.rebuilt(network.nodes, {}), network.where, wanted)

    def of_image(k: int) -> list[tuple[Floats, int | None]]:
        values = dict(zip(wanted, run(images[k]), strict=True))
        return [
            summand(values[name], values[below[name]]) if name in below else (values[name], None) for name in tensors
        ]

    def of_block(block: dict[int, list[tuple[Floats, int | None]]]) -> list[Range]:
        result = []
        for name, column in zip(tensors, zip(*block.values(), strict=True), strict=True):
            passed = [of for _, of in column if of is not None]
            try:
                tensor = np.concatenate([values.reshape(-1) for values, _ in column])
                result.append(Range.of(tensor, sum(passed) if passed else None))
            except ValueError:
                k = next(k for k, (values, _) in zip(block, column, strict=True) if not np.isfinite(values).all())
                raise OctetError(
                    f"{network.where}: tensor '{name}' has values that are not finite on calibration image {k}"
                ) from None
        return result

    def of_shard(shard: range) -> list[Range]:
        result, block, size = list[Range](), dict[int, list[tuple[Floats, int | None]]](), 0
        for k in shard:
            block[k] = of_image(k)
            size += sum(values.nbytes for values, _ in block[k])
            if size >= TOGETHER or k == shard[-1]:
                result = _merge(result, of_block(block)) if result else of_block(block)
                block, size = {}, 0
        return result

    with map_shards(of_shard, len(images), "calibrate", workers) as shards:
        merged: list[Range] = reduce(_merge, shards)
        return dict(zip(tensors, merged, strict=True))


def summand(values: Floats, other: Floats) -> tuple[Floats, int]:
    """What is added to another array before a ReLU: what lies below the other's negative counts as that, and how many lie above.

    Both are fp32 of any shape that numpy broadcasts.
    """
    return np.maximum(values, -other), int(np.count_nonzero(values > -other))


def runner(model: onnx.ModelProto, where: str, tensors: Sequence[str] = ()) -> Callable[[Floats], list[Floats]]:
    """A model in ONNX Runtime, one thread an image, that gives some of its tensors.

    Args:
        model: Of one input.
        where: Names it in errors.
        tensors: Names of fp32 tensors that it computes or is given; none: its outputs.

    Returns:
        From an image, fp32 of shape (C, H, W), to the tensors.

    Raises:
        OctetError: ONNX Runtime cannot read it; so does what is returned where it cannot run it.
    """
    outputs = [output.name for output in model.graph.output]
    entry, wanted = model.graph.input[0].name, list(tensors) or outputs
    computed = [name for name in dict.fromkeys(wanted) if name != entry]
    more = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in computed if name not in outputs]
    model.graph.output.extend(more)
    session = Session(model.SerializeToString(), where)
    del model.graph.output[len(outputs) :]

    def run(image: Floats) -> list[Floats]:
        whole = np.ascontiguousarray(image[None], np.float32)
        values = {entry: whole}
        if computed:
            values |= dict(zip(computed, session.run(computed, {entry: whole}), strict=True))
        return [values[name] for name in wanted]

    return run


def _merge(a: list[Range], b: list[Range]) -> list[Range]:
    return [mine.merge(other) for mine, other in zip(a, b, strict=True)]
