"""All that an int8 model is made of, from the files that the stages left: which layers stay in fp32 is still open."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from octet.core.folder import ModelFolder
from octet.graph.equalize import fp32_net
from octet.graph.targets import Target, target
from octet.ncnn import table
from octet.ncnn.net import Net
from octet.ncnn.partition import exchanged
from octet.ncnn.table import Table
from octet.quantize import rounded
from octet.quantize.quantize import quantize
from octet.quantize.rounded import Rounded


@dataclass(frozen=True)
class Maker:
    """net: the fp32 network that is quantized; keep_fp32: the layers that the model's entry names; exchanged: the blobs that
    go from one part to another where the entry has cuts; table_file: where the table is, for errors.
    """

    net: Net
    table: Table
    target: Target
    keep_fp32: tuple[str, ...]
    exchanged: frozenset[str]
    table_file: str
    rounded: Mapping[str, Rounded] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        folder: ModelFolder,
        target_name: str,
        equalized: bool,
        keep_fp32: Collection[str],
        cuts: Sequence[str],
        learned: bool = True,
    ) -> Maker:
        """learned: with what the stage round made."""
        chosen = rounded.load(folder.rounding) if learned else {}
        net = fp32_net(folder, equalized)
        apart = exchanged(net, cuts, f"params.yaml: models.{folder.name}")
        return cls(
            net, table.load(folder.table), target(target_name), tuple(keep_fp32), apart, str(folder.table), chosen
        )

    def int8(self, keep_fp32: Collection[str] = ()) -> Net:
        """The int8 network that leaves these layers in fp32, too."""
        kept = [*self.keep_fp32, *keep_fp32]
        return quantize(self.net, self.table, self.target, kept, self.table_file, self.rounded, self.exchanged)
