"""The named paths of a model's files. Who writes and who reads each: docs/architecture.md, « Which file goes where »."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True)
class NcnnFiles:
    """A model as ncnn reads it.

    Args:
        param: Its graph.
        bin: Its weights.
    """

    param: Path
    bin: Path

    @classmethod
    def named(cls, folder: Path, name: str) -> NcnnFiles:
        """`name`.param and `name`.bin in a folder.

        >>> NcnnFiles.named(Path("models"), "int8").bin.name
        'int8.bin'
        """
        return cls(folder / f"{name}.param", folder / f"{name}.bin")

    def __iter__(self) -> Iterator[Path]:
        return iter((self.param, self.bin))

    def size_bytes(self) -> int:
        """What the two take on disk."""
        return sum(path.stat().st_size for path in self)


@dataclass(frozen=True)
class ModelFolder:
    """Where a model's files lie.

    >>> ModelFolder("resnet18").int8.param.as_posix()
    'models/resnet18/int8.param'

    Args:
        name: The model's, as in params.yaml.
        root: The folder of the project.
    """

    name: str
    root: Path = Path()

    @property
    def models(self) -> Path:
        """The folder of the model's own files."""
        return self.root / "models" / self.name

    @property
    def metrics(self) -> Path:
        """The folder of the model's figures."""
        return self.root / "metrics" / self.name

    def setting(self, key: str) -> Path:
        """What of params.yaml counts for this model, one file for each key of params.Settings."""
        return self.models / "settings" / f"{key}.json"

    @property
    def onnx(self) -> Path:
        """The fp32 model as export writes it."""
        return self.models / "fp32.onnx"

    @property
    def preprocess(self) -> Path:
        """What happens to an image before the network sees it, and the class names."""
        return self.models / "preprocess.json"

    def ncnn(self, precision: str) -> NcnnFiles:
        """The ncnn model of a precision, 'fp32' or 'int8'."""
        return NcnnFiles.named(self.models, precision)

    @property
    def fp32(self) -> NcnnFiles:
        """ncnn's fp32 model."""
        return self.ncnn("fp32")

    @property
    def int8(self) -> NcnnFiles:
        """ncnn's int8 model."""
        return self.ncnn("int8")

    @property
    def table(self) -> Path:
        """ncnn's calibration table: the scales of weights and inputs."""
        return self.models / "int8.table"

    @property
    def ranges(self) -> Path:
        """What each layer's input reaches, and what of it int8 clips."""
        return self.models / "ranges.json"

    @property
    def rounding(self) -> Path:
        """The weights' integers, where GPTQ or fine-tuning chose them."""
        return self.models / "rounding.npz"

    @property
    def plan(self) -> Path:
        """The layers that mixed precision leaves in fp32."""
        return self.models / "plan.json"

    @property
    def parts(self) -> Path:
        """The folder of the parts of a partitioned model."""
        return self.models / "parts"

    @property
    def engines(self) -> Path:
        """The folder of the int8 models for other engines than ncnn, and of engine_layers."""
        return self.models / "engines"

    @property
    def engine_layers(self) -> Path:
        """Which layers are int8 in each of them, why others are not, and the checksum of its file."""
        return self.engines / "layers.json"

    def engine(self, name: str) -> Path:
        """The int8 model for an engine."""
        return self.engines / f"{name}.onnx"

    @property
    def engine_figures(self) -> Path:
        """What int8 loses in each of these engines."""
        return self.metrics / "engines.json"

    def figures(self, precision: str) -> Path:
        """The accuracy of a precision: fp32.json or int8.json."""
        return self.metrics / f"{precision}.json"

    def predictions(self, precision: str) -> Path:
        """What a precision predicted for each image."""
        return self.metrics / f"{precision}.predictions.csv"

    @property
    def activations(self) -> Path:
        """The histogram of what each layer reads, and its threshold."""
        return self.metrics / "activations.csv"

    @property
    def analysis(self) -> Path:
        """What each int8 layer costs."""
        return self.metrics / "analyze.json"

    @property
    def latency(self) -> Path:
        """How fast each precision is."""
        return self.metrics / "latency.json"

    @property
    def latency_samples(self) -> Path:
        """Every timed run."""
        return self.metrics / "latency_samples.csv"

    @property
    def summary(self) -> Path:
        """fp32 beside int8."""
        return self.metrics / "summary.json"

    @property
    def comparison(self) -> Path:
        """What of the summary does not depend on the machine: what int8 loses, and its size."""
        return self.metrics / "int8_vs_fp32.json"

    @property
    def classes(self) -> Path:
        """Precision, recall and F1 of every class, of both."""
        return self.metrics / "classes.csv"

    @property
    def confusion(self) -> Path:
        """Which class each precision took for which."""
        return self.metrics / "confusion.csv"

    @property
    def differing(self) -> Path:
        """A sheet of the images on which the two differ."""
        return self.metrics / "differ.png"

    @property
    def peers(self) -> Path:
        """The model beside other engines."""
        return self.metrics / "peers.json"

    @property
    def devices(self) -> Path:
        """The folder of what devices answer and how fast, a file a device."""
        return self.metrics / "devices"
