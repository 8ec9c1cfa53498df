"""How faithful int8's outputs are to fp32's, of a network that gives no class scores: by cosine and by SQNR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.files import csv_text, decimals, figure, read_dataclass
from octet.core.outputs import Flat, Output, Sums, cosines, sqnr_db, sums
from octet.data.arrays import Input
from octet.evaluate.evaluate import each_block

COLUMNS = ["image", "output", "sqnr_db", "cosine"]
Engine = Callable[[Input], Flat]


@dataclass(frozen=True)
class OutputFidelity:
    """One output on all images; its fields are the file's keys.

    Args:
        shape: Of what the network gives for one image.
        rms: The root of the mean square of its values.
        sqnr_db: Signal to quantization noise over all images, in dB: fp32's power to that of int8's difference; None of fp32.
        cosine: The mean over the images of the cosine between int8's values and fp32's; None of fp32.
        cosine_min: That of the image where it is least; None of fp32.
    """

    shape: list[int]
    rms: float
    sqnr_db: float | None = None
    cosine: float | None = None
    cosine_min: float | None = None


@dataclass(frozen=True)
class Fidelity:
    """fp32.json and int8.json of a network that gives no class scores; its fields are the file's keys.

    Args:
        n_images: How many images it is measured on.
        outputs: By the outputs' names.
        n_unreadable: How many images more could not be read.
        split_source: Where the images come from: a place in the data set's folder, and what it is.
    """

    n_images: int
    outputs: dict[str, OutputFidelity] = field(default_factory=dict)
    n_unreadable: int = 0
    split_source: str = ""

    @classmethod
    def load(cls, path: Path, compared: bool) -> Fidelity:
        """Reads the file.

        Args:
            path: A model's fp32.json or int8.json.
            compared: Is it int8's, which is compared with fp32?

        Raises:
            OctetError: It is missing or another one.
        """
        figures = read_dataclass(cls, path, made_by := "the stage evaluate makes it")
        keys = ("sqnr_db", "cosine", "cosine_min")
        values = [getattr(output, key) for output in figures.outputs.values() for key in keys]
        if not figures.outputs or any((value is None) == compared for value in values):
            raise OctetError(f"{path}: expected 'outputs' with a mapping of {', '.join(keys)} for each; {made_by}")
        return figures

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        outputs = {
            name: {key: value for key, value in asdict(output).items() if value is not None}
            for name, output in self.outputs.items()
        }
        return asdict(self) | {"outputs": outputs}


@dataclass(frozen=True)
class Compared:
    """What was measured of each image.

    Args:
        indices: Which images could be read: their places in the sequence, ascending.
        sums: Of each what octet.core.outputs.sums gives: of shape (n, outputs, 4).
    """

    indices: npt.NDArray[np.int64]
    sums: Sums


def compare(
    reference: Engine,
    engine: Engine | None,
    images: Sequence[Input],
    outputs: Sequence[Output],
    what: str,
    workers: int | None = None,
    readers: int = 0,
    scheduler: str | None = None,
) -> Compared:
    """Runs two networks on the same images, and sums up how far their outputs are apart.

    >>> images = [np.full((3, 2, 2), value, np.float32) for value in (1, 2)]
    >>> twice = compare(lambda x: x[0, 0], lambda x: x[0, 0] + 1, images, [Output("row", [2])], "evaluate")
    >>> twice.sums[:, 0, :2].tolist()
    [[2.0, 2.0], [8.0, 2.0]]

    Args:
        reference: What fp32 gives for a network's input: its outputs, flat, one after the other; called by any thread.
        engine: What int8 gives; None: fp32 is looked at alone.
        images: Network inputs, of shape (C, H, W).
        outputs: What the network gives.
        what: Who asks, for the messages.
        workers: How many threads compute; None: one a core.
        readers: How many threads of this machine read ahead of them; 0: each worker reads its own.
        scheduler: A Dask cluster's, whose workers then compute and read.

    Raises:
        OctetError: Too many images cannot be read, or an output is not finite or of another size.
    """
    sizes = [output.size for output in outputs]

    def judge(k: int, x: Input) -> Sums:
        one = reference(x)
        other = one if engine is None else engine(x)
        for values in (one, other):
            if values.size != sum(sizes):
                raise OctetError(
                    f"{what}: the network gives {values.size:,} values, expected {sum(sizes):,}; run export again"
                )
            if not np.isfinite(values).all():
                raise OctetError(f"{what}: the outputs of test image {k} are not finite")
        return sums(one, other, sizes)

    def judge_block(numbers: Sequence[int], block: Sequence[Input]) -> list[Sums]:
        return [judge(k, x) for k, x in zip(numbers, block, strict=True)]

    results = each_block(judge_block, images, what, workers, readers, scheduler)
    return Compared(np.array([k for k, _ in results], np.int64), np.stack([row for _, row in results]))


def fidelity(
    compared: Compared, outputs: Sequence[Output], with_fp32: bool, n_unreadable: int = 0, split_source: str = ""
) -> Fidelity:
    """The figures of a model.

    Args:
        compared: What was measured.
        outputs: What the network gives.
        with_fp32: Is it int8, compared with fp32?
        n_unreadable: How many images more could not be read.
        split_source: Where the images come from.
    """
    total, count = compared.sums.sum(axis=0), len(compared.sums)
    angles = np.stack([cosines(row) for row in compared.sums])
    figures = {}
    for k, (output, db) in enumerate(zip(outputs, sqnr_db(total), strict=True)):
        rms = figure(float(np.sqrt(total[k, 2] / (count * output.size))))
        mean, least = (decimals(float(value), 6) for value in (angles[:, k].mean(), angles[:, k].min()))
        figures[output.name] = (
            OutputFidelity(output.shape, rms, decimals(db, 3), mean, least)
            if with_fp32
            else OutputFidelity(output.shape, rms)
        )
    return Fidelity(count, figures, n_unreadable, split_source)


def outputs_csv(compared: Compared, names: Sequence[str], outputs: Sequence[Output], with_fp32: bool) -> str:
    """One line for each image and output: its SQNR and cosine; of fp32 alone without them.

    Args:
        compared: What was measured.
        names: The names of the images that could be read.
        outputs: What the network gives.
        with_fp32: Is it int8, compared with fp32?
    """
    rows = []
    for name, row in zip(names, compared.sums, strict=True):
        for output, db, angle in zip(outputs, sqnr_db(row), cosines(row), strict=True):
            rows.append([name, output.name, *([f"{db:.3f}", f"{angle:.6f}"] if with_fp32 else ["", ""])])
    return csv_text(COLUMNS, rows)
