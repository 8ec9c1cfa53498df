"""Files appear whole or not at all: with links planted in the way, on full and read-only disks, and where a stage stops."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from octet.core import files
from octet.core.errors import OctetError
from octet.core.files import new_folder, write_bytes

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "hard link", "pipe"])
def test_what_lies_under_the_temporary_name_is_not_written_to(tmp_path, kind):
    other, partial = tmp_path / "other", tmp_path / "folder" / ".x.partial"
    other.write_text("precious")
    partial.parent.mkdir()
    if kind == "link":
        partial.symlink_to(other)
    elif kind == "dangling link":
        partial.symlink_to(tmp_path / "nowhere")
    elif kind == "file":
        partial.write_text("left behind")
    elif kind == "hard link":
        partial.hardlink_to(other)
    else:
        os.mkfifo(partial)
    write_bytes(tmp_path / "folder" / "x", b"new")
    assert (tmp_path / "folder" / "x").read_bytes() == b"new"
    assert not (tmp_path / "folder" / "x").is_symlink()
    assert other.read_text() == "precious"
    assert names(tmp_path) == ["folder", "other"]
    assert names(partial.parent) == ["x"]


def test_a_link_in_the_place_of_a_file_or_folder_is_replaced_not_followed(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("precious")
    (tmp_path / "file").symlink_to("other/file")
    (tmp_path / "folder").symlink_to("other")
    write_bytes(tmp_path / "file", b"new")
    with new_folder(tmp_path / "folder") as folder:
        (folder / "x").write_bytes(b"new")
    assert (tmp_path / "other" / "file").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "new"
    assert names(tmp_path / "folder") == ["x"]
    assert names(tmp_path) == ["file", "folder", "other"]


@pytest.fixture
def small_files():
    """Files of at most 1,000 bytes, as the system has it; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_the_system_does_not_take(tmp_path, small_files):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OctetError) as file:
        write_bytes(tmp_path / "x", bytes(5000))

    def fill():
        with new_folder(tmp_path / "y") as folder:
            (folder / "z").write_bytes(bytes(5000))

    with pytest.raises(OctetError) as folder:
        fill()
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    for error, name in ((file, "x"), (folder, "y")):
        assert str(error.value).startswith(
            f"{tmp_path / name}: cannot be written: File too large; the file is larger than"
        )
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.parametrize("path", ["/dev/null/x", "{}/folder", "{}/" + "n" * 300, "/proc/x"])
def test_a_place_where_no_file_can_be(tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OctetError, match=r"cannot be written: \w+"):
        write_bytes(path.format(tmp_path), b"")
    assert names(tmp_path) == ["folder"]


WRITES = """
mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1" && mkdir models && echo 12 > models/old && mount -o remount,$3 "$1"
"$2" -c '
from octet.core.errors import run
from octet.core.files import write_bytes
run(lambda: write_bytes("models/x", bytes(1 << 20)))
'
echo "exit $?"; ls -A models
"""


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("rw", "error: models/x: cannot be written: No space left on device; the disk is full: make room on it"),
        ("ro", "error: models/x: cannot be written: Read-only file system; the disk is read-only: work in a copy on"),
    ],
)
def test_a_full_and_a_read_only_disk(tmp_path, option, line):
    """A disk of 64 KiB in memory, which only this test's process sees."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk of their own")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = ["unshare", "-rm", "sh", "-c", WRITES, "sh", str(tmp_path), sys.executable, option]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert result.stdout.split() == ["exit", "1", "old"]


def write_and_fail(folder):
    (folder / "x").write_text("x")
    raise KeyError


def test_files_are_whole_or_absent(tmp_path):
    with pytest.raises(ValueError, match="Out of range float values"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), files.new_folder(tmp_path / "d") as new:
        write_and_fail(new)
    assert list(tmp_path.iterdir()) == []
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    with files.new_folder(tmp_path / "d") as new:
        (new / "x").write_text("new")
    assert (tmp_path / "d" / "x").read_text() == "new"


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_a_killed_process_left_of_a_folder_goes_with_the_next_run(tmp_path, kind):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("precious")
    code = (
        "import os; from octet.core.files import new_folder\nwith new_folder('d') as new:\n"
        "    (new / 'y').write_text('half'); os.kill(os.getpid(), 9)"
    )
    if kind == "folder":
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
        )
        assert len(names(tmp_path)) == 2, "the process was killed in the middle"
    elif kind == "link":
        (tmp_path / ".d.partial").symlink_to("other")
    else:
        (tmp_path / ".d.partial").write_text("left behind")
    with new_folder(tmp_path / "d") as new:
        (new / "z").write_text("new")
    assert names(tmp_path) == ["d", "other"]
    assert names(tmp_path / "d") == ["z"]
    assert (tmp_path / "other" / "x").read_text() == "precious"


def test_an_error_names_what_a_temporary_file_was_to_become(tmp_path):
    error = files.not_written(tmp_path / ".int8.param.partial", OSError(28, "No space left on device"))
    assert str(error).startswith(
        f"{tmp_path / 'int8.param'}: cannot be written: No space left on device; the disk is full"
    )


def test_an_error_names_the_file_of_what_a_temporary_folder_was_to_become(tmp_path):
    error = files.not_written(tmp_path / ".engines.partial" / ".x.onnx.partial", OSError(28, "No space left on device"))
    assert str(error).startswith(f"{tmp_path / 'engines' / 'x.onnx'}: cannot be written: No space left")


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "int8.table")
    for path in (tmp_path / "int8.table", Path("/dev/zero")):
        with pytest.raises(OctetError, match=r"(table|zero): expected a file, found a pipe, socket or device; made"):
            files.read_bytes(path, "made")
