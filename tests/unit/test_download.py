"""Files and data sets, fetched from a server on this machine: once, checked, resumed, from a mirror, by hand."""

import hashlib
import re
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.data import cifar, cifar_layouts
from octet.project import data_sets as fetch
from octet.project import download as downloading
from octet.project.download import download

pytestmark = pytest.mark.unit

CONTENT = np.random.Generator(np.random.PCG64(0)).bytes(300_000)


SHA = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT at any address. What it is asked for is in `ranges`; `broken`: how many answers end early;
    `ranged`: whether it knows ranges."""

    def __init__(self):
        self.ranges, self.broken, self.ranged, self.content = [], 0, True, CONTENT
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if "missing" in self.path:
                    return self.send_error(404)
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and outer.ranged else 0
                if start >= len(outer.content):
                    return self.send_error(416)
                body = outer.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                outer.broken -= 1
                self.wfile.write(body[:100_000] if outer.broken >= 0 else body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    result = Server()
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield result
    result.http.shutdown()
    result.http.server_close()


def test_a_file_is_fetched_once_and_checked(server, tmp_path):
    path = tmp_path / "zoo" / "x.pth"
    assert download(f"{server.url}/x.pth", path, "sha256", SHA[:8]) is True
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["x.pth"]
    assert download(f"{server.url}/x.pth", path, "sha256", SHA[:8]) is False
    assert len(server.ranges) == 1


def test_a_file_put_there_by_hand_needs_no_network(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(CONTENT)
    assert download("http://nowhere.invalid/x.pth", path, "sha256", SHA[:8]) is False
    path.write_bytes(b"another file")
    with pytest.raises(OctetError, match=f"x.pth: its sha256 begins with .*, the published file's with {SHA[:8]}"):
        download("http://nowhere.invalid/x.pth", path, "sha256", SHA[:8])
    assert path.read_bytes() == b"another file", "what is there stays"


@pytest.mark.parametrize("ranged", [True, False])
def test_a_broken_connection_is_resumed(server, tmp_path, ranged):
    server.broken, server.ranged = 2, ranged
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA[:8])
    assert (tmp_path / "x.pth").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-" if ranged else "bytes=100000-"]


def test_the_next_run_goes_on_where_the_last_was_cut_off(server, tmp_path):
    server.content, server.broken = CONTENT * 3, 4
    with pytest.raises(OctetError, match=r"broke after 400,000 of 900,000 bytes; 400,000 bytes are kept"):
        download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", hashlib.sha256(CONTENT * 3).hexdigest())
    assert not (tmp_path / "x.pth").exists()
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", hashlib.sha256(CONTENT * 3).hexdigest())
    assert server.ranges[-1] == "bytes=400000-"
    assert (tmp_path / "x.pth").read_bytes() == CONTENT * 3


def test_a_whole_partial_file_is_taken(server, tmp_path):
    (tmp_path / ".x.pth.partial").write_bytes(CONTENT)
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA[:8])
    assert server.ranges == ["bytes=300000-"]
    assert (tmp_path / "x.pth").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(OctetError, match=f"what came has a sha256 that begins with {SHA[:8]}, expected was 00000000"):
        download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", "00000000")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["missing", "closed"])
def test_without_a_network_the_error_says_which_file_to_put_where(server, tmp_path, where):
    url = f"{server.url}/missing.pth" if where == "missing" else "http://127.0.0.1:9/x.pth"
    with pytest.raises(OctetError, match=rf"{url}: cannot be fetched .*put it there by hand: .*x\.pth.*OCTET_MIRROR"):
        download(url, tmp_path / "x.pth", "sha256", SHA[:8])


def test_a_mirror(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTET_MIRROR", f"{server.url}/mirror/")
    assert downloading.mirrored("https://a.invalid/b/c.pth") == f"{server.url}/mirror/b/c.pth"
    assert download("https://a.invalid/b/c.pth", tmp_path / "c.pth", "sha256", SHA[:8])


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small CIFAR-10 as an official archive, whose checksum is made the official one."""
    images, labels = np.zeros((10, 3, 32, 32), np.uint8), np.arange(10, dtype=np.uint8)
    cifar.write(tmp_path / "made", (images, labels), (images, labels), [f"class {k}" for k in range(10)])
    path = tmp_path / "made.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(tmp_path / "made", "cifar-10-batches-bin")
        file.add(Path(__file__), "../outside.py")
    official = replace(cifar_layouts.BINARY10, md5=hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(fetch, "FETCHED", {"cifar10": (official,)})
    return path


def test_cifar_is_fetched_unpacked_and_then_accepted(server, archive, tmp_path, monkeypatch):
    server.content = archive.read_bytes()
    monkeypatch.setenv("OCTET_MIRROR", server.url)
    folder = tmp_path / "data" / "cifar10"
    assert fetch.fetch("cifar10", folder).startswith("fetched https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz")
    assert sorted(p.name for p in folder.parent.iterdir()) == ["cifar10"]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in (tmp_path / "made").iterdir())
    assert fetch.fetch("cifar10", folder) == "CIFAR-10's binary version was there: 10 training and 10 test images"
    assert len(server.ranges) == 1


@pytest.mark.parametrize("beside", [True, False])
def test_an_archive_is_found(archive, tmp_path, beside):
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    place = (folder.parent if beside else folder) / "cifar-10-binary.tar.gz"
    archive.rename(place)
    assert fetch.fetch("cifar10", folder) == f"unpacked {place}"
    assert place.exists()
    assert len(cifar.Cifar(folder, "train")) == 10
    place.write_bytes(b"damaged")
    (folder / "test_batch.bin").unlink()
    with pytest.raises(OctetError, match=r"cifar-10-binary\.tar\.gz: its md5 is .*, the official archive's"):
        fetch.fetch("cifar10", folder)
