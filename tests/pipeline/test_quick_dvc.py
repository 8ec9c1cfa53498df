"""octet.project.quick_dvc: the same as DVC itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from octet.core import yaml

pytestmark = pytest.mark.pipeline

QUICK = Path("octet/project/quick_dvc.py").resolve()
# Stages `draw` and `edit` change the folder on which the others depend; `edit` does it in place.
PIPELINE = """
stages:
  before: {cmd: ls images/a > before.txt, deps: [images], outs: [before.txt]}
  draw: {cmd: echo 3 > images/a/3.png && touch draw.txt, deps: [before.txt], outs: [draw.txt]}
  behind: {cmd: ls images/a > behind.txt, deps: [images, draw.txt], outs: [behind.txt]}
  edit: {cmd: echo more >> images/b/1.png && touch edit.txt, deps: [behind.txt], outs: [edit.txt]}
  last: {cmd: cat images/b/1.png > last.txt, deps: [images, edit.txt], outs: [last.txt]}
"""


def dvc(command: list[str], folder: Path, *words: str) -> str:
    ran = subprocess.run([sys.executable, *command, *words], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout


def project(folder: Path, command: list[str]) -> Path:
    """A project in which the pipeline ran."""
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_text(name)
    (folder / "dvc.yaml").write_text(PIPELINE)
    dvc(["-m", "dvc"], folder, "init", "--no-scm", "--quiet")
    dvc(command, folder, "repro")
    return folder


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("quick"), [str(QUICK)])


def test_its_lock_is_dvc_s_where_a_stage_changes_the_folder(quick: Path, tmp_path: Path) -> None:
    plain = project(tmp_path, ["-m", "dvc"])
    assert (quick / "dvc.lock").read_bytes() == (plain / "dvc.lock").read_bytes()
    assert (quick / "behind.txt").read_text() == "1.png\n2.png\n3.png\n"
    stages = yaml.read(quick / "dvc.lock", "").values["stages"]
    assert stages["before"]["deps"][0]["nfiles"] == 3
    assert stages["behind"]["deps"][-1]["nfiles"] == 4
    of_images = {
        one["md5"] for name in ("before", "behind", "last") for one in stages[name]["deps"] if one["path"] == "images"
    }
    assert len(of_images) == 3


@pytest.mark.parametrize("change", ["edited", "replaced", "removed"])
def test_it_finds_what_changed_since_the_last_run(quick: Path, change: str) -> None:
    image = quick / "images" / "b" / "1.png"
    dvc([str(QUICK)], quick, "repro")
    assert "behind" not in dvc([str(QUICK)], quick, "status")
    if change == "edited":
        image.write_text("another image")
    elif change == "replaced":
        (quick / "new.png").write_text("a third one")
        (quick / "new.png").replace(image)
    else:
        image.unlink()
    assert "behind" in dvc([str(QUICK)], quick, "status")
