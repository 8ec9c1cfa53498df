"""What lies in git: no link that leads out of the project, and nothing large but the checkpoints."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 1 << 20


@pytest.fixture(scope="module")
def tracked():
    """The paths of all files in git, with their modes."""
    done = subprocess.run(["git", "ls-files", "-s", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git work tree")
    rows = [row.split("\t", 1) for row in done.stdout.split("\0") if row]
    return {path: head.split()[0] for head, path in rows}


def test_no_link_leads_out_of_the_project(tracked):
    for path in (path for path, mode in tracked.items() if mode == "120000"):
        target = os.path.normpath(Path(path).parent / (ROOT / path).readlink())
        assert not Path(target).is_absolute(), path
        assert not target.startswith(".."), path


def test_nothing_is_large_but_the_checkpoints(tracked):
    sizes = {path: (ROOT / path).lstat().st_size for path in tracked if (ROOT / path).exists()}
    assert len(sizes) > 300
    assert {path for path, size in sizes.items() if size > LARGEST_BYTES and not path.endswith(".pth")} == set()
