"""What a killed DVC wrote in part goes; what is whole, in use or a merge's stays."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.strictyaml import load

from octet.core import yaml
from octet.project.killed_dvc import remove_damaged

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
WHOLE = "schema: '2.0'\nstages:\n  a:\n    cmd: b\n"
RWLOCK = '{"write": {}, "read": {}}'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".dvc/tmp").mkdir(parents=True)
    Path("data").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "lock", [*(WHOLE[:cut] for cut in (0, 5, 12, 17)), "schema: '2.0'\nstages:\n  a:\n    cm", "\0" * 40]
)
@pytest.mark.parametrize("rwlock", ["", RWLOCK[:9]])
def test_files_cut_off(here, lock, rwlock):
    Path("data/dvc.lock").write_text(lock)
    Path("dvc.lock").write_text(WHOLE)
    Path(".dvc/tmp/rwlock").write_text(rwlock)
    assert [line.split(":")[0] for line in remove_damaged()] == [".dvc/tmp/rwlock", "data/dvc.lock"]
    assert not Path("data/dvc.lock").exists()
    assert not Path(".dvc/tmp/rwlock").exists()
    assert Path("dvc.lock").read_text() == WHOLE
    assert remove_damaged() == []


def test_what_is_whole_stays(here):
    Path("dvc.lock").write_text(WHOLE)
    Path("data/dvc.lock").write_text(f"<<<<<<< HEAD\n{WHOLE}=======\n{WHOLE}>>>>>>> other\n")
    Path(".dvc/tmp/rwlock").write_text(RWLOCK)
    assert remove_damaged() == []


def test_a_whole_one_of_many_models_stays(here):
    """As large as that of 20 models: Octet reads no file of a user's that is so large, but DVC writes it."""
    text = (ROOT / "dvc.lock").read_text()
    head, stages = text.split("stages:\n")
    large = f"{head}stages:\n" + "".join(stages.replace("@", f"@m{number}_") for number in range(18))
    assert len(large) > yaml.LARGEST_BYTES
    Path("dvc.lock").write_text(large)
    assert remove_damaged() == []


@pytest.mark.parametrize("value", ["0o7", "2024-12-01", "1e-3", "&a {x: 1}"])
def test_what_dvc_reads_stays_whatever_other_readers_say(here, value):
    text = f"schema: '2.0'\nstages:\n  on:\n    cmd: b\n    params:\n      params.yaml:\n        a: {value}\n"
    Path("dvc.lock").write_text(text)
    load("dvc.lock", COMPILED_LOCKFILE_SCHEMA)
    assert remove_damaged() == []


def test_what_a_running_dvc_writes_stays(here):
    Path("dvc.lock").write_text("")
    lock = Path(".dvc/tmp/lock")
    lock.write_text("")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_damaged() == []
    assert len(remove_damaged()) == 1
