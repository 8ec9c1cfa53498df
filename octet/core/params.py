"""params.yaml: what every parameter asks and may be, all required as DVC tracks them, and one check of the file.

A parameter is a field of a section: its title is the question, its example a value that works, and the text below it
what a user should know. From these follow the check's messages (octet.core.check), the JSON schema that editors use,
configs/params.schema.json, and docs/parameters.md (octet.project.schema writes both: `make schema`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from octet.core import registry, yaml
from octet.core.check import checked
from octet.core.errors import OctetError, nearest
from octet.core.fields import Form, FormerKey, FormerValues, OneOf, Section, ask, conflict, examples, show
from octet.core.names import NAME, NAME_RULE
from octet.core.places import config_problem
from octet.core.preprocessing import Preprocessing, PresetOrFile
from octet.core.renaming import Renaming, renamed

FILE = "params.yaml"
ADDRESS = r"^(tcp|tls|wss?|ucx)://\S+:[0-9]+$"

OTHERS = ("onnx", "timm", "torchvision")  # what an entry may have in the place of config
SOURCE = ("config", "checkpoint", "trusted", *OTHERS, "preprocess", "splits")  # what of an entry says what export makes

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Text = Annotated[str, Field(min_length=1)]
Engine = Annotated[str, OneOf(lambda _: registry.ENGINES)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]


class Export(Section):
    """How is the model exported?"""

    opset: int = ask("Which ONNX opset?", 13, ge=11, le=13)
    """PPQ and pnnx both read these."""


class Ppq(Section):
    """How does PPQ calibrate? Only read where the method is ppq."""

    algorithm: Literal["percentile", "kl", "mse", "minmax"] = ask("Which PPQ algorithm?", "percentile")
    """PPQ's own observer of that name."""
    batch: int = ask("How many images a step?", 32, ge=1)
    """PPQ's observers see this many at once, so the scales depend on it."""


class Calibrate(Section):
    """How are the activations' scales found?"""

    method: Annotated[str, OneOf(registry.calibrators)] = ask("Which calibrator?", "kl")
    """All but PPQ are Octet's own, in one pass over the images. `docs/calibrators.md` compares them."""
    images: int = ask("How many training images?", 256, ge=1)
    """Balanced over the classes. More than 128 change little; PPQ needs at least 8."""
    weights: Literal["absmax", "mse"] = ask("How are the weights' scales found?", "absmax")
    """`absmax`: by each channel's largest weight; `mse`: by the least squared error. Not read where the method is ppq or file."""
    percentile: float = ask("Which share of the values does method percentile keep, in percent?", 99.99, ge=50, le=100)
    """Zeros count. Only read where the method is percentile."""
    ppq: Ppq
    file: Text | None = ask("Which table does method file take?", None, default=None)
    """A file in `configs/tables`. Null, or left out: the model's name with `.table`, there. Only read where the method is file."""

    @field_validator("images")
    @classmethod
    def _enough_images(cls, images: int, info: ValidationInfo) -> int:
        needs = _needs(info.data.get("method"))
        if images < needs.least_images:
            text = f"{needs.title} needs at least {needs.least_images}, found {images}. Raise it or change 'method'"
            raise conflict(text, "images")
        return images


class Finetune(Section):
    """How long is an int8 model fine-tuned, and on what? Only read where rounding.method is finetune; all may be left out."""

    images: int = ask("On how many training images?", 8000, default=8000, ge=1)
    """From the front of the split, balanced over the classes; no labels are read."""
    hold_out: int = ask("How many others decide which state is kept?", 1000, default=1000, ge=1)
    """From the end of the training split."""
    steps: int = ask("How many steps?", 500, default=500, ge=1)
    """What it takes grows with them, with `batch` and with the network: `docs/finetune.md` says how."""
    batch: int = ask("How many images a step?", 32, default=32, ge=2)
    """All of them are in memory at once, with what every layer gives for them."""
    rate: float = ask("How far does a step move the weights?", 1.0, default=1.0, gt=0, le=100)
    """As a multiple of Octet's own rates."""
    seed: int = ask("Which order of the images?", 0, default=0, ge=0, le=2**32 - 1)
    """The same seed gives the same bytes on one machine, but for a GPU."""


class Rounding(Section):
    """How do weights become integers?"""

    method: Annotated[Literal["auto", "nearest", "gptq", "finetune"], FormerValues({"learned": "gptq"})] = ask(
        "By GPTQ, to the nearest, or by fine-tuning?", "auto"
    )
    """`auto`: `gptq`, except with target `ncnn2int8`, where it is `nearest`, so that the files are that tool's. `gptq` chooses the
    integers of a layer together, from what the layer reads, so that their errors cancel. The bias takes up the mean error.
    `finetune` trains all int8 layers with ncnn's arithmetic, taught by fp32: minutes (`docs/finetune.md`)."""
    images: int = ask("From how many training images does GPTQ learn?", 64, ge=1)
    """Not read where weights round to the nearest; fine-tuning begins with GPTQ's."""
    finetune: Finetune = Field(default=Finetune())


class Analyze(Section):
    """Which layer costs how much?"""

    images: int = ask("On how many training images?", 128, ge=1)
    """Each layer's cost is measured on them."""


class MixedPrecision(Section):
    """Which layers stay in fp32 by themselves, so that int8 keeps a budget of loss?"""

    metric: Literal["none", "kl", "top1"] = ask("In which unit is the budget?", "none")
    """`none`: there is no budget; `kl`: the KL divergence of the probabilities, in nats; `top1`: points of top-1."""
    budget: float = ask("How much may int8 lose?", 0.001, ge=0)
    """The loss on hold-out images, with twice its standard error to spare, stays below it. Set it with the metric. `kl`, as is to
    be expected on new images (`docs/accuracy.md`): 1e-5 to 1e-4 nats for `dotprod`, 1e-4 to 1e-3 for `ncnn2int8`. `top1`: at least
    200 points by the number of images, so 0.2 of 1,000."""
    images: int = ask("On how many hold-out images?", 1000, ge=1)
    """From the end of the training split. Calibration takes others, from the front; where the split is too small for both, a note
    says how many are both."""


class Evaluate(Section):
    """On what is the accuracy measured?"""

    split: Literal["test", "train"] = ask("On which split?", "test")
    """`train`: hold-out images, from the end of the training split. Calibration takes others, from the front; where the split is
    too small for both, a note says how many are both."""
    limit: int | None = ask("How many images?", None, ge=1)
    """null: all of the test split; of the training split half."""


class Benchmark(Section):
    """How is the latency measured?"""

    runs: int = ask("How many timed runs of each kind?", 100, ge=1)
    """fp32 and int8 in turn, one image each."""
    warmup: int = ask("How many untimed runs before them?", 10, ge=0)
    """The first runs are slower: memory is allocated, caches are cold."""


class Settings(Section):
    """What is set for all models, and may be set in a model's entry for it alone."""

    engines: Annotated[tuple[Engine, ...], Field(strict=False)] = ask(
        "In which engines does int8 run?", ["ncnn", "openvino"]
    )
    """ncnn is always there. `onnxruntime`, `openvino` and `tensorrt` get an int8 ONNX model each (`docs/engines.md`)."""
    target: Annotated[str, OneOf(registry.targets, open=True)] = ask(
        "Which int8 kernels does the device run best?", "dotprod"
    )
    """In doubt, and before shipping, `make tune` measures a profile on the device."""
    export: Export
    equalize: bool = ask("Are channels between two layers scaled alike before calibration?", False)
    """Cross-layer equalization: the weights of both are scaled so that the network stays the same."""
    calibrate: Calibrate
    rounding: Rounding
    analyze: Analyze
    mixed_precision: MixedPrecision
    evaluate: Evaluate
    benchmark: Benchmark

    @property
    def onnx_engines(self) -> list[str]:
        """The engines beside ncnn, which read ONNX: each once."""
        return [name for name in dict.fromkeys(self.engines) if name != "ncnn"]

    @field_validator("calibrate")
    @classmethod
    def _goes_with_the_others(cls, calibrate: Calibrate, info: ValidationInfo) -> Calibrate:
        for key, why in _needs(calibrate.method).not_with.items():
            if info.data.get(key):
                text = f"{why}. Change it or calibrate.method"
                raise conflict(text, key)
        return calibrate


class SplitPlace(Section):
    """Where are the images and labels of this split? Both places are in the data set's folder."""

    folder: Text = ask("In which folder are its images?", "val")
    """A folder for each class in it, or images without labels, or those that `annotations` names. `.` is the data set's folder."""
    annotations: Text | None = ask("Which file has a line « path label » for each image?", "meta/val.txt", default=None)
    """The paths in it are from `folder`. null, or left out: none."""

    @field_validator("folder", "annotations")
    @classmethod
    def _is_inside(cls, place: str | None) -> str | None:
        if place is not None and (Path(place).is_absolute() or ".." in Path(place).parts or "\0" in place):
            raise conflict(
                f"expected a path in the data set's folder, where DVC sees that it changes, found {show(place)}"
            )
        return place


class Splits(Section):
    """Where are the images of a split? It counts before what the config says and what the folders are called."""

    train: SplitPlace | None = ask("Where are the training images?", {"folder": "train"}, default=None)
    test: SplitPlace | None = ask("Where are the test images?", {"folder": "val"}, default=None)


class Model(Settings):
    """Which models? One entry a model: its name is that of its folders in models/ and metrics/ and of its stages."""

    config: Text | None = ask("Which mmcls config?", "configs/models/NAME.py")
    """A file, or a name in mmcls's zoo such as `resnet/resnet18_8xb16_cifar10.py`. A config is Python code and runs when it
    is read. An entry with `onnx`, `timm` or `torchvision` has none."""
    checkpoint: Text = ask("Which weights?", "models/NAME.pth")
    """A `.pth`, of which only the weights are read. In an entry with `onnx` that file, which `make quantize` fills in."""
    trusted: bool = ask("May reading the checkpoint run code?", False)
    """Only for files whose origin you trust. Needed only where the weights are in a pickled object, as in a network saved whole."""
    data: Text = ask("Which data set folder?", "data/digits32")
    """It holds the images to calibrate with and those to test on: CIFAR's files, class folders, annotation files."""
    splits: Splits | None = ask("Where are the images of a split?", {"test": {"folder": "val"}}, default=None)
    keep_fp32: Texts = ask("Which ncnn layers stay in fp32?", [])
    """By their names in `fp32.param`, which are also those in the report."""
    partition: Annotated[Texts, FormerKey("cuts")] = ask(
        "At which ncnn blobs or layers is the model cut into several?", []
    )
    """Names as in `fp32.param`. The parts run one after the other, with the same result; `make quantize` writes them to
    `models/<model>/parts/`."""
    max_drop_pt: float = ask("How many points of top-1 may int8 lose?", 0.3, ge=0, le=100)
    """Where it loses more, `make check` fails."""
    min_sqnr_db: float = ask(
        "How many dB of SQNR have int8's outputs to have, where they are no class scores?",
        20.0,
        default=20.0,
        ge=0,
        le=200,
    )
    """Signal to quantization noise of each output over all test images. Where one has less, `make check` fails. May be left out."""
    zoo: Text | None = ask("Which model of mmcls's zoo?", "resnet18_8xb16_cifar10", default=None)
    """May be left out. `make quantize` fills in from it what the entry lacks; `make zoo` lists the names."""
    onnx: Text | None = ask("Which ONNX model, where there is no config?", "models/NAME.onnx", default=None)
    """A file. It needs `preprocess`, too."""
    timm: Text | None = ask("Which network of timm's, where there is no config?", "resnet18.a1_in1k", default=None)
    """By its name in timm, with or without a tag. `make timm` installs timm. Where the entry has no `preprocess`, an image goes
    through what timm's data config says."""
    torchvision: Text | None = ask("Which network of torchvision's?", "resnet18", default=None)
    """By its name in `torchvision.models`. As for `timm`."""
    preprocess: Annotated[Preprocessing | None, PresetOrFile()] = ask(
        "What happens to an image, where no config says it?", "imagenet", default=None, validate_default=True
    )
    """A preset, a YAML file in `configs/models`, or the mapping itself."""

    def learned_from(self, split: int) -> int:
        """How many training images, from the front, scales and weights are made from at the most.

        Args:
            split: How many the training split has.
        """
        gptq = self.rounding.images if self.rounding.method != "nearest" else 0
        tuning, most = self.rounding.finetune, max(self.calibrate.images * (self.calibrate.method != "file"), gptq)
        if self.rounding.method == "finetune":  # where those that judge there do not teach
            most = max(most, min(tuning.images, split - min(tuning.hold_out, split // 2)))
        return min(most, split)

    inherited: ClassVar[frozenset[str]] = frozenset(Settings.model_fields)
    advice: ClassVar[Mapping[str, str]] = {
        key: f"'make quantize' fills in what an entry with '{key}' leaves out" for key in ("zoo", *OTHERS)
    }

    @model_validator(mode="before")
    @classmethod
    def _no_config(cls, values: Any) -> Any:
        """Another source stands in the place of the config."""
        if isinstance(values, dict) and "config" not in values and any(values.get(key) is not None for key in OTHERS):
            return {"config": None} | values
        return values

    @field_validator("config")
    @classmethod
    def _config_is_seen_by_dvc(cls, config: str | None, info: ValidationInfo) -> str | None:
        problem = config and config_problem(config, (info.context or {}).get("folder", Path()))
        if problem:
            raise conflict(problem, "config")
        return config

    @field_validator("preprocess")
    @classmethod
    def _has_one_source(cls, preprocess: Preprocessing | None, info: ValidationInfo) -> Preprocessing | None:
        """Runs last, when all else of the entry is known."""
        if not {"config", "zoo", *OTHERS} <= info.data.keys():
            return preprocess  # one of them is wrong by itself
        given = [key for key in ("config", *OTHERS) if info.data[key] is not None]
        if not given:
            raise conflict("expected text, found null. For example configs/models/NAME.py", "config")
        if len(given) > 1:
            raise conflict(f"the entry has '{given[0]}', too. A model has one source; keep one of them", given[1])
        key = given[0]
        if key != "config" and info.data["zoo"] is not None:
            raise conflict(f"the entry has '{key}', too. A model has one source; keep one of them", "zoo")
        if key == "config" and preprocess is not None:
            raise conflict(
                "is for models without a config. This one's config says it: change its test pipeline", "preprocess"
            )
        if key == "onnx" and info.data.get("checkpoint", info.data["onnx"]) != info.data["onnx"]:
            raise conflict(f"expected {show(info.data['onnx'])}, as 'onnx' has it. Change one of them", "checkpoint")
        return preprocess


class Parallel(Section):
    """Who computes? The results do not depend on it: no stage runs again when it changes."""

    scheduler: Annotated[str | None, Form("an address as tcp://host:8786, or null")] = ask(
        "Which Dask scheduler gives calibrate and evaluate workers?", None, pattern=ADDRESS
    )
    """null: this machine's cores."""


class Check(Section):
    """What does `make check` ask of the devices on which a model was run? null: nothing."""

    device_max_drop_pt: float | None = ask(
        "How many points of top-1 may int8 lose on a device?", None, ge=0, le=100, default=None
    )
    """By the images of `make device`, which are fewer than those of the stage evaluate: of 100 images each is a whole point."""
    device_min_agreement_pct: float | None = ask(
        "On how many images must a device's int8 predict what this machine's does, in percent?",
        99,
        ge=0,
        le=100,
        default=None,
    )
    """Where a device computes something else, its answers are wrong."""
    device_min_speedup: float | None = ask(
        "How many times as fast as the device's own default float must int8 be, at one thread?", 1.0, gt=0, default=None
    )
    """The default float is fp16 where the processor has it. Not asked of emulators. One way to run int8, with the pipeline's
    options or ncnn's default, must have all three."""


class Models(Section):
    """The models that the pipeline runs for."""

    models: Annotated[dict[Name, Model], Field(min_length=1)]


class Params(Settings, Models):  # the keys of the last base come first, as in the file
    """All parameters of the pipeline."""

    parallel: Parallel
    check: Check = Field(default=Check())


def _needs(method: str | None) -> registry.CalibratorNeeds:
    """What a calibrator asks of the other parameters; of one that is not known, nothing."""
    return registry.calibrator_needs(method) if method else registry.CalibratorNeeds()


def source(entry: Model) -> dict[str, Any]:
    """What of an entry says which model export makes, as it stands in a file."""
    return entry.model_dump(mode="json", include=set(SOURCE), exclude_none=True)


# What 'make quantize' writes where an entry lacks it.
MODEL_DEFAULTS = {"trusted": False, "keep_fp32": [], "partition": [], "max_drop_pt": 0.3}


def load(path: str | Path = FILE) -> Params:
    """Reads and checks the whole file; of old names it notes on standard error what they are called now.

    Raises:
        OctetError: With one line for each problem, or the place of a syntax error.
    """
    document = yaml.read(path, "run this in the project's top folder, where params.yaml lies")
    values, renamings = with_new_names({} if document.values is None else document.values)
    for renaming in renamings:
        print(f"note: {path}: {renaming}; 'make quantize' writes it so", file=sys.stderr)
    return checked(Params, path, inherit(values), document.duplicates, values)


def with_new_names(values: Any) -> tuple[Any, list[Renaming]]:
    """The content of a params.yaml, of whatever form, with today's names in place of old ones; and which these were."""
    return renamed(values, Params)


def inherit(values: Any) -> Any:
    """The content of a params.yaml, of whatever form, where each entry of `models` has all settings that it does not set.

    >>> inherit({"models": {"net": {"calibrate": {"images": 20}}}, "calibrate": {"method": "kl", "images": 256}})["models"]
    {'net': {'calibrate': {'method': 'kl', 'images': 20}}}
    """
    entries = values.get("models") if isinstance(values, dict) else None
    if not isinstance(entries, dict):
        return values
    shared = {key: values[key] for key in Settings.model_fields if key in values}
    return values | {"models": {name: merged(shared, entry) for name, entry in entries.items()}}


def merged(values: Any, more: Any) -> Any:
    """A mapping with more keys and other values, at any depth; what is no mapping takes the place of all.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4})
    {'a': {'b': 3, 'c': 2}, 'd': 4}
    """
    if not isinstance(values, dict) or not isinstance(more, dict):
        return more
    both = {key: merged(values[key], more[key]) for key in values.keys() & more.keys()}
    return values | more | both


def model(params: Params, name: str) -> Model:
    """The entry of that name.

    Raises:
        OctetError: There is none; with the nearest name, and the entry to add.
    """
    if name in params.models:
        return params.models[name]
    missing = f"params.yaml: models.{name}: no such model. {nearest(name, params.models)}"
    if not NAME.fullmatch(name):
        raise OctetError(f"{missing} Nor can it be added. {NAME_RULE}")
    key = name if yaml.parse(name, name).values == name else show(name)
    entry = "\n    ".join(examples(Model)).replace("NAME", name)
    raise OctetError(f"{missing} To add it, put its entry under 'models':\n\nmodels:\n  {key}:\n    {entry}")
