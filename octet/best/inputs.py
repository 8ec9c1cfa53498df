"""What the loss of a candidate depends on, as one checksum: where it changes, candidates are measured anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from octet.best.candidates import Candidate
from octet.best.versions import LIBRARIES, engine_version, version
from octet.core.errors import OctetError
from octet.core.files import checksum, require
from octet.core.folder import ModelFolder
from octet.core.params import Model
from octet.core.places import is_file
from octet.core.registry import PROFILES
from octet.core.settings import table_path
from octet.project.provenance import files_of, stages_of

LOCK = Path("dvc.lock")
_CODE = Path(__file__).parents[1]
# Whose code makes int8, and its loss. What export and convert make, and these need no longer, is compared itself.
ROOMS = ("calibrate", "core", "data", "evaluate", "graph", "ncnn", "qdq", "quantize")
STAGES = ("settings", "calibrate", "round", "plan", "quantize", "qdq", "evaluate", "evaluate_engines")
_JUDGES = ("best/judge.py", "best/loss.py")
_SEARCHED = {"target", "equalize", "mixed_precision"}  # what candidates say themselves
_AS_IN_ENTRY = {"target", "equalize", "rounding", "mixed_precision"}  # of another engine's candidate, which does not
_ELSEWHERE = {
    "engines",
    "export",
    "analyze",
    "evaluate",
    "benchmark",
    "max_drop_pt",
    "min_sqnr_db",
}  # what int8 does not depend on


def digest(folder: ModelFolder, entry: Model, n_images: int) -> str:
    """The checksum of what the losses of all candidates of a model depend on.

    Args:
        folder: The model's files; fp32's, preprocess.json and dvc.lock have to be current.
        entry: Its entry.
        n_images: On how many hold-out images it is judged.

    Raises:
        OctetError: A file is missing, or dvc.lock has no checksum of the images.
    """
    settings = entry.model_dump(mode="json", exclude=_SEARCHED | _ELSEWHERE)
    for section, keys in (("calibrate", ("method", "weights")), ("rounding", ("method",))):
        for key in keys:
            del settings[section][key]
    del settings["rounding"]["finetune"]["hold_out"]  # which is n_images (Candidate.settings)
    files = [folder.onnx, folder.preprocess, *folder.fp32]
    require(files, f"'dvc repro convert@{folder.name}' makes it")
    content = [
        settings,
        n_images,
        _data(folder.name, entry.data),
        {name: version(name) for name in LIBRARIES},
        [checksum(path, "md5") for path in (*files, *code())],
    ]
    return _sha256(content)


def of_candidate(inputs: str, name: str, entry: Model, candidate: Candidate) -> str:
    """The checksum of what the loss of one candidate depends on, beside its settings.

    Args:
        inputs: The digest of its model.
        name: The model's.
        entry: The model's.
        candidate: The candidate.
    """
    files = {path.as_posix(): checksum(path, "sha256") for path in files_read(name, entry, candidate)}
    content: list[Any] = [inputs, files]
    if candidate.engine != "ncnn":  # which says nothing of these: they are as the entry has them, and reach it
        settings = entry.model_dump(mode="json", include=_AS_IN_ENTRY, exclude={"rounding": {"finetune"}})
        content += [settings, engine_version(candidate.engine)]
    return _sha256(content)


def files_read(name: str, entry: Model, candidate: Candidate) -> list[Path]:
    """The files that a candidate's settings name and that are there: its profile and its table. Arguments as for of_candidate."""
    files = [PROFILES / f"{candidate.target or entry.target}.yaml"]
    if candidate.method == "file":
        files.append(table_path(name, entry.calibrate.file))
    return [path for path in files if is_file(path)]


def code() -> list[Path]:
    """The files whose code makes int8, and judges it."""
    rooms = [path for room in ROOMS for path in sorted((_CODE / room).rglob("*.py"))]
    scripts = [_CODE.parent / "stages" / f"{stage}.py" for stage in STAGES]
    return [*rooms, *scripts, *(_CODE / file for file in _JUDGES)]


def _data(name: str, data: str) -> str:
    """What DVC knows of the images, by the stage that made the fp32 model: their checksum.

    DVC writes a path that leads into the project as one relative to it, whatever params.yaml has.
    """
    convert, wanted = stages_of(name, LOCK).get(f"convert@{name}", {}), Path(data).resolve()
    known = next((md5 for path, md5 in files_of(convert, "deps") if Path(path).resolve() == wanted), None)
    if known is None:
        raise OctetError(f"{LOCK}: has no checksum of {data} for {name}; 'dvc repro convert@{name}' writes it")
    return known


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
