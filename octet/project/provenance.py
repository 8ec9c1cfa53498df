"""The parameters with which a model's files were made: dvc.lock's, which params.yaml may have left behind."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from octet.calibrate.methods import describe
from octet.core import yaml
from octet.core.errors import OctetError
from octet.core.files import read_bytes
from octet.core.params import OTHERS, inherit
from octet.core.registry import calibrators

_WHOLE_BYTES = 100_000  # of a dvc.lock that is read as a whole: five models


@dataclass(frozen=True)
class Provenance:
    """What of params.yaml a model was made with.

    Args:
        source: What says which model it is: the mmcls config, or the ONNX file.
        codebase: The package that reads that: 'mmcls', 'onnx', 'timm' or 'torchvision'.
        keep_fp32: The layers that its entry keeps in fp32.
        opset: The ONNX opset.
        target: The target profile's name.
        calibrate: The section of that name.
        split: On which split it was evaluated.
        runs: How many runs of each kind were timed.
        made: The MD5 of each file that the pipeline made of the model, by its path.
        rounding: The section of that name; of a dvc.lock that has none, weights rounded to the nearest.
        equalize: Were channels scaled alike?
    """

    source: str
    codebase: str
    keep_fp32: list[str]
    opset: int
    target: str
    calibrate: dict[str, Any]
    split: str
    runs: int
    made: dict[str, str] = field(default_factory=dict)
    rounding: dict[str, Any] = field(default_factory=lambda: {"method": "nearest"})
    equalize: bool = False

    @property
    def calibration(self) -> str:
        """The calibration in words."""
        return describe(self.calibrate)

    @property
    def calibration_images(self) -> int:
        """How many training images it was calibrated on."""
        return int(self.calibrate["images"])

    def rounded(self, engine: str = "ncnn") -> str:
        """How an engine's weights became integers, in words that follow «rounded».

        >>> made_with = Provenance("c", "mmcls", [], 13, "dotprod", {}, "test", 1, rounding={"method": "auto", "images": 64})
        >>> made_with.rounded()
        'by GPTQ, from 64 training images'
        """
        method, is_ncnn = self.rounding["method"], engine == "ncnn"
        if method == "nearest" or (method == "auto" and is_ncnn and self.target == "ncnn2int8"):
            return "to the nearest"
        words = f"by GPTQ, from {self.rounding['images']} training images"
        return f"{words}, and fine-tuned" if method == "finetune" and is_ncnn else words

    def check(self, paths: Iterable[Path], made_by: str) -> None:
        """Checks that files are those that the pipeline made, so that figures are of the files that they stand beside.

        Args:
            paths: The files, or folders that a stage makes whole.
            made_by: What makes them, for the error.

        Raises:
            OctetError: One is missing, or was changed since.
        """
        for path in paths:
            _check_sum(path, self.made, made_by)


def provenance(name: str, lock: str | Path = "dvc.lock") -> Provenance:
    """What dvc.lock says of a model.

    Raises:
        OctetError: The pipeline did not run for this model, or not to its end, or the file is damaged.
    """
    made_by = f"'make quantize MODEL={name}' makes it"
    of_model = stages_of(name, lock)
    if f"summary@{name}" not in of_model:
        raise OctetError(f"{lock}: the pipeline did not run for {name}; 'make quantize MODEL={name}' does that")
    # models.NAME.config and such; of the stage settings models.NAME, and what all models have
    parameters: dict[str, Any] = {}
    made = _made(of_model)
    for stage, recorded in of_model.items():
        parameters |= _mapping(_mapping(recorded.get("params")).get("params.yaml"))
        if stage != f"analyze@{name}":
            _check_current(name, lock, stage, recorded, made)
    entry = {"models": {name: _mapping(parameters.pop(f"models.{name}", None))}}
    parameters |= inherit(parameters | entry)["models"][name]
    settled: dict[str, Any] = {str(key).removeprefix(f"models.{name}."): value for key, value in parameters.items()}
    other = next((key for key in OTHERS if settled.get(key) is not None), None)
    try:
        return _checked(
            source=settled[other or "config"],
            codebase=other or "mmcls",
            keep_fp32=settled["keep_fp32"],
            opset=settled["export"]["opset"],
            target=settled["target"],
            calibrate=settled["calibrate"],
            split=settled["evaluate"]["split"],
            runs=settled["benchmark"]["runs"],
            made=made,
            **{key: settled[key] for key in ("rounding", "equalize") if key in settled},
        )
    except (TypeError, ValueError):
        raise OctetError(f"{lock}: damaged where it has the parameters of {name}; {made_by}") from None
    except KeyError as error:
        raise OctetError(f"{lock}: lacks the parameter {error} of {name}; {made_by}") from None


def check_current(name: str, paths: Iterable[Path], lock: str | Path = "dvc.lock") -> None:
    """Checks that figures are those of the model's files: made by the pipeline, and from what it made last.

    `dvc repro quantize@net` alone leaves figures of the int8 model before. The files that they were made from need not be there,
    as in a clone without DVC's cache.

    Args:
        name: The model's.
        paths: The files of figures.
        lock: DVC's.

    Raises:
        OctetError: One is missing, was changed since, or was made from other files than the pipeline has made since.
    """
    of_model = stages_of(name, lock)
    made, makers = _made(of_model), {path: of for of in of_model.items() for path, _ in files_of(of[1], "outs")}
    for path in paths:
        _check_sum(path, made, f"'make quantize MODEL={name}' makes it")
        wanted, seen = [path.as_posix()], set[str]()
        while wanted:
            stage, recorded = makers.get(wanted.pop(), ("", {}))
            if stage and stage not in seen:
                seen.add(stage)
                _check_current(name, lock, stage, recorded, made)
                wanted += [file for file, _ in files_of(recorded, "deps")]


def check_unchanged(name: str, paths: Iterable[Path] = (), lock: str | Path = "dvc.lock") -> None:
    """Checks that what is there of a model is as the pipeline made it: a weight that was changed makes another model.

    Files that are not there, as in a clone without DVC's cache, and those that no stage has made yet, are passed over.

    Args:
        name: The model's.
        paths: The files or folders; none: all that the pipeline makes of it.
        lock: DVC's.

    Raises:
        OctetError: One was changed since.
    """
    made = _made(stages_of(name, lock)) if Path(lock).is_file() else {}
    for path in list(paths) or map(Path, made):
        if path.as_posix() in made and path.exists():
            _check_sum(path, made, f"'make quantize MODEL={name}' makes it")


def stages_of(name: str, lock: str | Path = "dvc.lock") -> dict[str, dict[Any, Any]]:
    """What dvc.lock has of each stage of a model, by STAGE@MODEL, however many other models it has.

    Args:
        name: The model's.
        lock: DVC's.

    Raises:
        OctetError: It is missing or damaged.
    """
    data = read_bytes(lock, f"'make quantize MODEL={name}' makes it")
    values = yaml.loads(data if len(data) <= _WHOLE_BYTES else _part(data, name), lock)
    stages = _mapping(_mapping(values).get("stages"))
    return {str(stage): _mapping(recorded) for stage, recorded in stages.items() if str(stage).endswith(f"@{name}")}


def _made(of_model: Mapping[str, dict[Any, Any]]) -> dict[str, str]:
    """The MD5 of each file that stages made, by its path."""
    return dict(file for recorded in of_model.values() for file in files_of(recorded, "outs"))


def _check_current(name: str, lock: str | Path, stage: str, recorded: dict[Any, Any], made: Mapping[str, str]) -> None:
    """Checks that a stage ran on the files that the pipeline has made."""
    other_files = [path for path, md5 in files_of(recorded, "deps") if made.get(path, md5) != md5]
    if other_files:
        settings = all(path.startswith(f"models/{name}/settings/") for path in other_files)
        why = " with its settings" if settings else f": {stage} was made from another {other_files[0]}"
        raise OctetError(
            f"{lock}: the pipeline did not run to its end for {name}{why}; 'make quantize MODEL={name}' does that"
        )


def _check_sum(path: Path, made: Mapping[str, str], made_by: str) -> None:
    """Checks that a file or folder is as the pipeline made it."""
    recorded = made.get(path.as_posix(), "")
    of_folder = recorded.endswith(".dir") and path.is_dir()
    if recorded != (_folder_md5(path, made_by) if of_folder else _md5(read_bytes(path, made_by))):
        raise OctetError(f"{path}: changed since the pipeline made it, by dvc.lock's checksum; {made_by} anew")


def _checked(**values: Any) -> Provenance:
    """The Provenance of these values. Raises TypeError, ValueError or KeyError where one is not what params.yaml may have."""
    result = TypeAdapter(Provenance).validate_json(json.dumps(values), strict=True)
    images, method, weights = (result.calibrate[key] for key in ("images", "method", "weights"))
    if type(images) is not int or not isinstance(weights, str) or method not in calibrators():
        raise TypeError("no calibration")
    result.rounded()
    return result


def _part(data: bytes, name: str) -> bytes:
    r"""Of a dvc.lock as DVC writes it, what it has of one model: of many models, the whole takes seconds.

    >>> _part(b"schema: '2.0'\nstages:\n  plan@a:\n    cmd: c\n  plan@b:\n    cmd: c\n", "b")
    b'stages:\n  plan@b:\n    cmd: c\n'
    """
    stages = re.findall(rb"^  \S+@" + re.escape(name.encode()) + rb":\r?\n(?:    .*\n?)*", data, re.MULTILINE)
    return b"stages:\n" + b"".join(stages)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _folder_md5(folder: Path, made_by: str) -> str:
    """A folder's checksum as DVC has it: of the JSON list of its files and theirs (dvc_data/hashfile/tree.py)."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    listed = [{"md5": _md5(read_bytes(files[name], made_by)), "relpath": name} for name in sorted(files)]
    return f"{_md5(json.dumps(listed, sort_keys=True).encode())}.dir"


def files_of(recorded: dict[Any, Any], kind: str) -> Iterator[tuple[str, str]]:
    """The path and checksum of each file that a stage's record has.

    Args:
        recorded: What dvc.lock has of the stage.
        kind: deps or outs.
    """
    files = recorded.get(kind)
    for file in map(_mapping, files if isinstance(files, list) else []):
        yield str(file.get("path")), str(file.get("md5"))


def _mapping(value: Any) -> dict[Any, Any]:
    """The value where it is a mapping; otherwise an empty one."""
    return value if isinstance(value, dict) else {}
