"""What int8 in other engines loses: metrics/<model>/engines.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import as_dataclass, decimals, figure, read_json
from octet.evaluate.pairs import Pairs, agreement_pct, kl_top5_nats, labelled, paired_drop


class NotRun(OctetError):
    """An engine that the model names was not run yet; its figures are not in the file."""


@dataclass(frozen=True)
class EngineFigures:
    """What one int8 model loses beside ncnn's fp32, on the same images; its fields are the keys of its part of the file.

    Args:
        agreement_pct: The share of the images for which the two predict the same class.
        kl_top5_nats: octet.evaluate.pairs.kl_top5_nats.
        top1_pct: The share of the images for which int8 predicts the label; None: they have no labels.
        top1_drop_pt: fp32's less int8's, in points; None: they have no labels.
        top1_drop_se_pt: Its paired standard error; None: they have no labels, or there is one.
        bytes: The size of the model's files.
    """

    agreement_pct: float
    kl_top5_nats: float
    bytes: int
    top1_pct: float | None = None
    top1_drop_pt: float | None = None
    top1_drop_se_pt: float | None = None

    @classmethod
    def of(cls, pairs: Pairs, bytes: int) -> EngineFigures:
        """The figures of a model.

        >>> from octet.evaluate.predictions import Prediction
        >>> cat, dog = Prediction("1", "cat", ["cat"], [1.0]), Prediction("1", "cat", ["dog"], [1.0])
        >>> EngineFigures.of([(cat, cat), (cat, dog)], 1000).top1_drop_pt
        50.0

        Args:
            pairs: What fp32 and it predict for each image.
            bytes: The size of its files.
        """
        agreement, kl = decimals(agreement_pct(pairs), 4), figure(kl_top5_nats(pairs))
        if not labelled(pairs):
            return cls(agreement, kl, bytes)
        drop, error = paired_drop(pairs)
        top1 = 100 * sum(int8.right for _, int8 in pairs) / len(pairs)
        return cls(
            agreement,
            kl,
            bytes,
            decimals(top1, 4),
            decimals(drop, 4),
            None if error is None else decimals(error, 4),
        )

    @property
    def loss_pt(self) -> float:
        """What max_drop_pt limits, in points: the drop in top-1, and without labels the disagreement."""
        return decimals(100 - self.agreement_pct, 4) if self.top1_drop_pt is None else self.top1_drop_pt


def engines_json(figures: Mapping[str, EngineFigures]) -> dict[str, Any]:
    """The file's content, by engine."""
    return {name: {k: v for k, v in asdict(of).items() if v is not None} for name, of in figures.items()}


def load(path: Path, names: Sequence[str], model: str) -> dict[str, EngineFigures]:
    """Reads the file, by engine.

    Args:
        path: The file.
        names: The engines beside ncnn that the model names; where there are none, nothing is read.
        model: The model's name.

    Raises:
        NotRun: It lacks an engine.
        OctetError: It is missing, or not what the stage evaluate_engines writes.
    """
    if not names:
        return {}
    made_by = f"'make quantize MODEL={model}' makes it"
    content = read_json(path, made_by)
    if not isinstance(content, dict):
        raise OctetError(f"{path}: expected the figures of each engine; {made_by}")
    if missing := [name for name in names if name not in content]:
        raise NotRun(f"{path}: lacks the figures of {', '.join(missing)}; {made_by} anew")
    figures = {name: as_dataclass(EngineFigures, content[name], path, made_by) for name in names}
    if len({value is None for of in figures.values() for value in (of.top1_pct, of.top1_drop_pt)}) > 1:
        raise OctetError(f"{path}: expected top1_pct and top1_drop_pt of all engines, or of none; {made_by}")
    return figures
