"""Downloads from a server that is slow, endless, confused or hostile: an error in bounded time, memory and disk."""

import hashlib
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from octet.core.errors import OctetError
from octet.project import download as downloading
from octet.project import transfer
from octet.project.download import download

pytestmark = pytest.mark.unit

CONTENT = bytes(range(256)) * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server:
    """Answers what `answer` says, a function of the request and the connection, on a socket of its own."""

    def __init__(self, answer):
        self.answer, self.requests, self.listening = answer, [], socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            try:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(4096)
                self.requests.append(request.decode())
                self.answer(request.decode(), connection)
            except OSError:
                pass


@pytest.fixture
def serve(monkeypatch):
    started = []
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def start(answer) -> Server:
        if isinstance(answer, bytes):
            started.append(Server(lambda _, connection: connection.sendall(answer)))
        else:
            started.append(Server(answer))
        return started[-1]

    yield start
    for server in started:
        server.listening.close()


def fails(server: Server, folder: Path, message: str, within_s: float = 20) -> None:
    """The download ends with that message, and soon."""
    began = time.monotonic()
    with pytest.raises(OctetError, match=message):
        download(f"{server.url}/x.pth", folder / "x.pth", "sha256", SHA)
    assert time.monotonic() - began < within_s


@pytest.mark.parametrize(
    "length", [b"Content-Length: abc\r\n", b"Content-Length: -5\r\n", b"Content-Length: \r\n", b""]
)
def test_a_length_that_is_none(serve, tmp_path, length):
    """Then a body ends with the connection."""
    server = serve(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + CONTENT)
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA)
    assert (tmp_path / "x.pth").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_a_body_in_chunks(serve, tmp_path):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (CONTENT[:100_000], CONTENT[100_000:]))
    server = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA)


def test_a_length_beyond_all_bounds_is_refused_at_once(serve, tmp_path):
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n" + CONTENT)
    fails(
        server,
        tmp_path,
        r"cannot be fetched \(it has 99,999,999,999,999 bytes, more than the 4,294,967,296 that are fetched\)",
    )
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_length_beyond_the_disk_s_room(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST_BYTES", 1 << 62)
    free = shutil.disk_usage(tmp_path).free
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * free))
    fails(server, tmp_path, rf"x.pth: cannot be written: it needs {2 * free:,} bytes, the disk has [0-9,]+ left")
    assert list(tmp_path.iterdir()) == []


def test_a_body_without_an_end(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST_BYTES", 5_000_000)

    def endless(_, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(CONTENT)

    server = serve(endless)
    fails(server, tmp_path, "more than the 5,000,000 bytes came that are fetched")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def drops(*pieces: bytes, every_s: float = 0.05):
    """An answer of those pieces, then one byte at a time."""

    def answer(_, connection):
        for piece in pieces:
            connection.sendall(piece)
        wait = threading.Event()
        while not wait.wait(every_s):
            connection.sendall(b"x")

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _, connection: threading.Event().wait(60), "nothing came for 0.5 seconds"),
        (drops(b"HTTP/1.1 200 OK\r\nX: "), "nothing came for 0.5 seconds"),
        (drops(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5"), "nothing came for 0.5 seconds"),
        (drops(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n"), r"only \d+ bytes came in 1 seconds"),
        (drops(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n", every_s=60), "nothing came for 0.5 seconds"),
    ],
)
def test_a_server_that_sends_a_byte_now_and_then(serve, tmp_path, monkeypatch, answer, message):
    """No answer, a head that does not end, a chunk's size that does not end, a slow body, a body that stops."""
    monkeypatch.setattr(transfer, "STALL_S", 0.5)
    monkeypatch.setattr(transfer, "WINDOW_S", 1)
    server = serve(answer)
    fails(server, tmp_path, message)
    assert len(server.requests) == downloading.ATTEMPTS


def test_a_download_that_takes_too_long(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LONGEST_S", 0)
    fails(serve(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n" + CONTENT), tmp_path, "it took more than 0 hours")


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://127.0.0.1/", "FILE:/etc/passwd", "javascript:1"],
)
def test_redirects_to_other_schemes(serve, tmp_path, target):
    server = serve(b"HTTP/1.1 302 Found\r\nLocation: " + target.encode() + b"\r\nContent-Length: 0\r\n\r\n")
    fails(server, tmp_path, r"cannot be fetched \((HTTP 302|it redirects from http to)")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_redirects_within_the_web_are_followed_but_not_for_ever(serve, tmp_path):
    good = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n" + CONTENT)
    server = serve(f"HTTP/1.1 301 Moved\r\nLocation: {good.url}/y\r\nContent-Length: 0\r\n\r\n".encode())
    assert download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA)
    circle = serve(b"HTTP/1.1 302 Found\r\nLocation: /x.pth\r\nContent-Length: 0\r\n\r\n")
    (tmp_path / "x.pth").unlink()
    fails(circle, tmp_path, "redirect")
    assert len(circle.requests) < 15


def test_from_https_to_http_is_no_redirect_that_is_followed():
    request = transfer.urllib.request.Request("https://a.invalid/x")
    with pytest.raises(transfer.Refused, match="it redirects from https to http://a.invalid/x"):
        transfer._Redirects().redirect_request(request, None, 302, "", {}, "http://a.invalid/x")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 1000,
        b"HTTP/9.9 2000 Yes\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 300 + b"/\r\n\r\n",
        b"HTTP/1.1 500 \x1b[2J\xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 Nothing\r\n\r\n",
    ],
)
def test_answers_that_are_none(serve, tmp_path, answer):
    server = serve(answer)
    with pytest.raises(OctetError, match=r"cannot be fetched|it was thrown away") as caught:
        download(f"{server.url}/x.pth", tmp_path / "x.pth", "sha256", SHA)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize("mirror", ["nonsense", "file:///etc", "ftp://127.0.0.1", "http://", "http://[", "http://a b/"])
def test_a_mirror_that_is_none(tmp_path, monkeypatch, mirror):
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)
    monkeypatch.setenv("OCTET_MIRROR", mirror)
    with pytest.raises(OctetError, match=r"https://a.invalid/x.pth: cannot be fetched \(.*OCTET_MIRROR"):
        download("https://a.invalid/x.pth", tmp_path / "x.pth", "sha256", SHA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "dangling"])
def test_a_link_under_the_temporary_name_is_not_followed(serve, tmp_path, kind):
    (tmp_path / "other").write_bytes(b"precious")
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / ".x.pth.partial").symlink_to(tmp_path / ("other" if kind == "link" else "nowhere"))
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n" + CONTENT)
    assert download(f"{server.url}/x.pth", folder / "x.pth", "sha256", SHA)
    assert (tmp_path / "other").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "zoo"]
    assert not (folder / "x.pth").is_symlink()
