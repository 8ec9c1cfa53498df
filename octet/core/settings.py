"""What of params.yaml counts for one model, each setting in a file of its own, on which the stages that read it depend.

DVC compares these files: so a setting of one model, or one of all that this model has its own of, makes no more stages run
than it has to. What a setting names, a target profile or a table, is part of it: another file beside it changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import checksum, write_json
from octet.core.folder import ModelFolder
from octet.core.params import Model, Settings, source
from octet.core.places import config_files, is_file
from octet.core.registry import BUILT_IN_TARGETS, PROFILES

TABLES = Path("configs/tables")


def write(folder: ModelFolder, entry: Model) -> None:
    """Writes all settings of a model."""
    for key, content in contents(folder.name, entry).items():
        write_json(folder.setting(key), content)


def contents(name: str, entry: Model) -> dict[str, dict[str, Any]]:
    """The settings of a model as their files have them, by key; and 'source': what its entry says of where it comes from, with
    the checksums of the files that its config can be made of.

    Args:
        name: The model's.
        entry: Its entry, with what it has from the top of params.yaml.
    """
    values = entry.model_dump(mode="json", include=set(Settings.model_fields))
    settings: dict[str, dict[str, Any]] = {key: {key: value} for key, value in values.items()}
    settings["source"] = source(entry)
    if entry.config and (files := config_files(entry.config)):
        settings["source"]["files_sha256"] = {path.as_posix(): checksum(path, "sha256") for path in files}
    if entry.target not in BUILT_IN_TARGETS:
        settings["target"] |= _file(PROFILES / f"{entry.target}.yaml")
    if entry.calibrate.method == "file":
        settings["calibrate"] |= _file(table_path(name, entry.calibrate.file))
    return settings


def table_path(name: str, file: str | None) -> Path:
    """The table from which a model with calibrate.method file takes its scales.

    Args:
        name: The model's.
        file: calibrate.file.
    """
    return Path(file) if file else TABLES / f"{name}.table"


def check_table_path(path: Path) -> None:
    """Checks that a table is there, where DVC sees that it changes.

    Raises:
        OctetError: It is not.
    """
    if "\0" not in str(path) and not path.resolve().is_relative_to(TABLES.resolve()):
        raise OctetError(
            f"calibrate.file: {path}: lies outside {TABLES}, where DVC sees that a table changes; move it there"
        )
    if not is_file(path):
        raise OctetError(f"{path}: no such file; calibrate.method is file, so expected there is the model's table")


def _file(path: Path) -> dict[str, str]:
    """What DVC is to compare of a file that a setting names. Where it is missing, the stage that reads it says so."""
    return {"file_sha256": checksum(path, "sha256")} if is_file(path) else {}
