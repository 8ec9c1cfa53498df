"""What a killed DVC wrote in part goes; what is whole, in use or a merge's stays."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from octet.project.killed_dvc import remove_damaged

pytestmark = pytest.mark.unit

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


def test_what_a_running_dvc_writes_stays(here):
    Path("dvc.lock").write_text("")
    lock = Path(".dvc/tmp/lock")
    lock.write_text("")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_damaged() == []
    assert len(remove_damaged()) == 1
