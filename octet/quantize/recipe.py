"""All that an int8 model is made of, from the files that the stages left: which layers stay in fp32 is still open."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from octet.core.folder import ModelFolder
from octet.graph.equalize import fp32_net
from octet.graph.origins import partition_boundaries
from octet.graph.profiles import target
from octet.graph.targets import Target
from octet.ncnn import table
from octet.ncnn.layer import Layer
from octet.ncnn.net import Net
from octet.ncnn.table import Table
from octet.quantize import gptq_weights
from octet.quantize.gptq_weights import GptqWeights
from octet.quantize.quantize import quantize


@dataclass(frozen=True)
class Recipe:
    """What an int8 model is made from.

    Args:
        net: The fp32 network.
        table: The scales of its layers.
        target: The device's profile.
        keep_fp32: The layers that the model's entry leaves in fp32.
        boundaries: The blobs that pass from one partition to another.
        table_file: Where the table is, for errors.
        gptq_weights: The layers whose integers GPTQ chose.
    """

    net: Net
    table: Table
    target: Target
    keep_fp32: tuple[str, ...]
    boundaries: frozenset[str]
    table_file: str
    gptq_weights: Mapping[str, GptqWeights] = field(default_factory=dict)
    _ready: dict[str, Layer] = field(default_factory=dict, init=False, repr=False)  # int8 layers that int8() made

    @classmethod
    def load(
        cls,
        folder: ModelFolder,
        target_name: str,
        equalized: bool,
        keep_fp32: Collection[str],
        partition: Sequence[str],
        with_gptq: bool = True,
    ) -> Recipe:
        """Reads it from a model's files.

        Args:
            folder: The model's files.
            target_name: The device's profile.
            equalized: Are the fp32 network's channels scaled alike first?
            keep_fp32: The layers that the model's entry leaves in fp32.
            partition: The blobs or layers after which the model is partitioned.
            with_gptq: With the integers that the stage round chose?
        """
        chosen = gptq_weights.load(folder.rounding) if with_gptq else {}
        net = fp32_net(folder, equalized)
        boundaries = partition_boundaries(net, partition, f"params.yaml: models.{folder.name}")
        scales, profile = table.load(folder.table), target(target_name)
        return cls(net, scales, profile, tuple(keep_fp32), boundaries, str(folder.table), chosen)

    def int8(self, keep_fp32: Collection[str] = ()) -> Net:
        """The int8 network that leaves these layers in fp32, too."""
        kept = [*self.keep_fp32, *keep_fp32]
        weights, boundaries = self.gptq_weights, self.boundaries
        return quantize(self.net, self.table, self.target, kept, self.table_file, weights, boundaries, self._ready)
