"""A folder that git does not trust, one without git, and one that git knows."""

import os
import subprocess

import pytest

from octet.project import environment
from octet.project.git import DISTRUST, git
from octet.report import history

pytestmark = pytest.mark.unit


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit, the current folder."""
    for name in ("HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "x").write_text("x")
    who = ["-c", "user.name=t", "-c", "user.email=t@t.invalid"]
    for words in (["init", "-q"], ["add", "x"], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], check=True)
    return folder


def test_a_checkout_of_another_user_is_named_as_the_reason(checkout, monkeypatch, capsys):
    assert git("rev-parse", "--is-inside-work-tree").text == "true\n"
    assert environment._commit().startswith(", commit ")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests use it
    assert git("log").problem == DISTRUST
    assert "dubious ownership" in environment._commit()
    assert "safe.directory" in environment._commit()
    assert history.last_change("net", {}, "") is None
    assert capsys.readouterr().err == f"warning: the report has no earlier figures: {DISTRUST}\n"


def test_no_checkout_and_no_git(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(tmp_path.parent))
    assert environment._commit() == ", not in a git work tree"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._commit() == ", no git"
    assert history.last_change("net", {}, "") is None
    assert capsys.readouterr().err == ""
