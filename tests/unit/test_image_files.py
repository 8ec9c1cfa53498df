"""Image files that are none, or say that they are huge: left out, named, in little time and memory."""

import io
import os
import resource
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from octet.core.errors import Unreadable
from octet.data import PIXELS_VARIABLE
from octet.data.dataset import open_split
from octet.data.geometry import Resize
from octet.data.image_files import read
from octet.data.images import Images
from octet.data.preprocess import Preprocess

pytestmark = pytest.mark.unit

ANIMALS = ["cat", "dog", "owl"]


def png_header(width: int, height: int) -> bytes:
    """A PNG of 57 bytes that says that it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5), (1 << 21, 1)])
def test_headers_of_absurd_sizes(tmp_path, size):
    (tmp_path / "x.png").write_bytes(png_header(*size))
    with pytest.raises(Unreadable, match=r"x.png: (no pixels, or more than the|not an image that OpenCV can decode)"):
        read(tmp_path / "x.png")


READS = """
import resource, sys
from octet.data.image_files import read
from octet.core.errors import Unreadable
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read(sys.argv[1]).shape)
except Unreadable as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_an_image_of_400_million_pixels_needs_a_higher_limit(tmp_path):
    """In a process of its own, since OpenCV looks at the limit once. This JPEG of 600 bytes took 2.3 GB."""
    coded = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    place = coded.index(b"\xff\xc0")

    def reads(side: int, **environment: str) -> list[str]:
        coded[place + 5 : place + 9] = struct.pack(">HH", side, side)
        (tmp_path / "x.jpg").write_bytes(coded)
        clean = {key: value for key, value in os.environ.items() if key != PIXELS_VARIABLE}
        command = [sys.executable, "-c", READS, str(tmp_path / "x.jpg")]
        return subprocess.run(
            command, capture_output=True, text=True, env=clean | environment, check=True
        ).stdout.splitlines()

    output, mebibytes = reads(20_000)
    assert output.endswith(
        "x.jpg: no pixels, or more than the 33,554,432 pixels up to which an image is read; the environment variable "
        "OPENCV_IO_MAX_IMAGE_PIXELS raises the limit"
    )
    assert int(mebibytes) < 20
    assert reads(2_000)[0] == "(2000, 2000, 3)"
    assert "more than the 1,000,000 pixels" in reads(2_000, OPENCV_IO_MAX_IMAGE_PIXELS="1000000")[0]
    assert reads(6_000, OPENCV_IO_MAX_IMAGE_PIXELS="40000000")[0] == "(6000, 6000, 3)"


def test_a_file_that_is_larger_than_any_image(tmp_path):
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(1 << 40)  # of nothing: it takes no disk
    with pytest.raises(Unreadable, match="x.png: 1,099,511,627,776 bytes, more than the [0-9,]+ pixels"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "link to a pipe"])
def test_what_is_no_regular_file_is_no_image_and_nobody_waits_for_it(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = Path("x.png")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind("x.png")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo("pipe")
        path.symlink_to("pipe")
    with pytest.raises(Unreadable, match=r"x.png: (no regular file, so no image|cannot be read: )"):
        read(path)


def test_a_pipe_in_a_class_folder_is_left_out_and_named(tmp_path, capsys):
    for name in ANIMALS:
        (tmp_path / "train" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "train" / name / "a.png"), np.zeros((4, 4, 3), np.uint8))
    os.mkfifo(tmp_path / "train" / "dog" / "pipe.png")
    data = open_split(tmp_path, "train", ANIMALS)
    steps = Preprocess("RGB", [0.0] * 3, [1.0] * 3, [4, 4], ANIMALS)
    assert len(Images(data, steps, np.arange(len(data))).readable("calibrate")) == len(data) - 1
    assert "pipe.png: no regular file" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1_000_000, 3), (1_000_000, 1, 3)])
@pytest.mark.parametrize("edge", ["short", "long"])
def test_an_image_so_narrow_that_resizing_makes_too_much_of_it_or_nothing(shape, edge):
    """It took 200 GB; where nothing was left, OpenCV's error came through."""
    steps = Preprocess(
        "RGB", [0.0] * 3, [1.0] * 3, [256, 256], ANIMALS, geometry=[Resize(256, -1, edge, "bilinear", "cv2")]
    )
    with pytest.raises(Unreadable, match="so narrow that it would be resized to"):
        steps(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("ending", ["webp", "png"])
def test_of_several_frames_the_first_counts(tmp_path, ending):
    frames = [PIL.Image.new("RGB", (6, 4), (value, 0, 0)) for value in (200, 50)]
    frames[0].save(tmp_path / f"x.{ending}", save_all=True, append_images=frames[1:], lossless=True)
    result = read(tmp_path / f"x.{ending}")
    assert result.shape == (4, 6, 3)
    assert result[0, 0].tolist() == [200, 0, 0]


def animation() -> bytearray:
    """A PNG of two frames."""
    frames, out = [PIL.Image.new("RGB", (6, 4), (value, 0, 0)) for value in (200, 50)], io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return bytearray(out.getvalue())


def test_a_damaged_animation_does_not_make_opencv_write_where_it_must_not(tmp_path):
    """The first frame begins far below the image: OpenCV 4.11 ended the process. The still image is whole."""
    data = animation()
    place = data.index(b"fcTL") + 4
    data[place + 16 : place + 20] = struct.pack(">I", 1 << 24)
    (tmp_path / "x.png").write_bytes(data)
    assert read(tmp_path / "x.png")[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"fdAT", b"IEND"])
def test_a_chunk_that_says_that_it_is_larger_than_the_file_takes_no_memory(tmp_path, kind):
    """A gigabyte, for which OpenCV made room."""
    data = animation()
    place = data.index(kind) - 4
    data[place : place + 4] = struct.pack(">I", 1 << 30)
    (tmp_path / "x.png").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unreadable):
        read(tmp_path / "x.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
