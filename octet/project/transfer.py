"""One attempt to fetch a file over HTTP, with limits on what a server can do: how much it sends, how slowly, and from where.

A server that is slow, endless or hostile cannot hold the process up: it is read in a thread of its own, which is left
behind where nothing comes of it, and only what has come is written.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from queue import Empty, Full, Queue
from typing import IO, BinaryIO, cast
from urllib.parse import urlsplit

from octet.core.errors import OctetError
from octet.core.files import not_written
from octet.core.progress import bar

LARGEST_BYTES = 4 << 30  # of a file; the zoo's largest has 1.2 GB
STALL_S = 60  # without anything, before and after the first byte
WINDOW_S, SLOWEST_BYTES = 60, 300_000  # at least so many bytes in each such time, 5 kB a second
LONGEST_S = 6 * 3600  # of one attempt; the next goes on where it ended
_CHUNK = 1 << 20
_SCHEMES = ("http", "https")


class Refused(Exception):
    """What the server sends is not wanted, and would not be the next time. The message is half a sentence."""


@dataclass(frozen=True)
class _Head:
    """An answer's status, the length of its body, None where it is not known, and the part that it is."""

    status: int
    length: int | None
    part: str


_Piece = _Head | bytes | BaseException | None  # of an answer; None: its end


def fetch(url: str, partial: Path, path: Path) -> None:
    """Appends to a partial file what it lacks.

    Args:
        url: Of a server that speaks HTTP.
        partial: The file as far as it has come; made where it is missing. What is no regular file is removed.
        path: What it will be called, for errors and the progress bar.

    Raises:
        OSError: The connection breaks, is too slow, or less comes than was announced.
        HTTPException: The answer is not HTTP.
        Refused: The answer is too large, or no answer is to be had from such an address.
        OctetError: What comes cannot be written. Nothing is left behind.
    """
    if partial.is_symlink() or not partial.is_file():
        partial.unlink(missing_ok=True)
    have = partial.stat().st_size if partial.exists() else 0
    pieces: Queue[_Piece] = Queue(8)
    over = threading.Event()
    threading.Thread(target=_read, args=(url, have, pieces, over), daemon=True).start()
    try:
        head = _next(pieces)
        if head is None:  # nothing lies behind what we have: it is whole, or not this file
            return
        if not isinstance(head, _Head):
            raise OSError("the answer has no head")
        start = have if head.status == 206 else 0
        if start and head.part and not head.part.startswith(f"bytes {have}-"):
            raise OSError(f"the server sent another part than was asked for ({head.part[:50]})")
        _check_size(head, start, path)
        _write(_bodies(pieces), head, start, partial, path)
    finally:
        over.set()


def _check_size(head: _Head, start: int, path: Path) -> None:
    if start + (head.length or 0) > LARGEST_BYTES:
        raise Refused(f"it has {start + (head.length or 0):,} bytes, more than the {LARGEST_BYTES:,} that are fetched")
    free = shutil.disk_usage(path.parent).free
    if head.length is not None and head.length > free:
        raise OctetError(f"{path}: cannot be written: it needs {head.length:,} bytes, the disk has {free:,} left")


def _write(bodies: Iterator[bytes], head: _Head, start: int, partial: Path, path: Path) -> None:
    """Writes what comes, within the limits."""
    written, whole = start, None if head.length is None else start + head.length
    began = since = time.monotonic()
    in_window = 0
    try:
        file = _open(partial, start)
    except OSError as error:
        raise not_written(path, error) from None
    with file, bar(path.name, None if whole is None else -(-whole >> 20), "MiB") as shown:
        for body in bodies:
            try:
                file.write(body)
            except OSError as error:
                partial.unlink(missing_ok=True)
                raise not_written(path, error) from None
            shown.update((written + len(body) >> 20) - (written >> 20))
            written, in_window, now = written + len(body), in_window + len(body), time.monotonic()
            if written > LARGEST_BYTES:
                partial.unlink(missing_ok=True)
                raise Refused(f"more than the {LARGEST_BYTES:,} bytes came that are fetched")
            if now - began > LONGEST_S:
                raise OSError(f"it took more than {LONGEST_S // 3600} hours")
            if now - since > WINDOW_S:
                if in_window < SLOWEST_BYTES:
                    raise OSError(f"only {in_window:,} bytes came in {now - since:.0f} seconds")
                since, in_window = now, 0
    if whole is not None and written < whole:
        raise OSError(f"the connection broke after {written:,} of {whole:,} bytes")


def _open(partial: Path, start: int) -> BinaryIO:
    """The partial file, to go on behind its first bytes; a link that lies there meanwhile is not followed."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | (0 if start else os.O_TRUNC)
    file = cast(BinaryIO, os.fdopen(os.open(partial, flags, 0o666), "wb"))
    file.seek(start)
    return file


def _next(pieces: Queue[_Piece]) -> _Head | bytes | None:
    """What comes next, None for the end. Raises what the thread raised, and OSError where nothing comes."""
    try:
        piece = pieces.get(timeout=STALL_S)
    except Empty:
        raise OSError(f"nothing came for {STALL_S} seconds") from None
    if isinstance(piece, BaseException):
        raise piece
    return piece


def _bodies(pieces: Queue[_Piece]) -> Iterator[bytes]:
    while isinstance(piece := _next(pieces), bytes):
        yield piece


def _read(url: str, have: int, pieces: Queue[_Piece], over: threading.Event) -> None:
    """Puts an answer's head and body into the queue, piece by piece, or what went wrong."""

    def put(piece: _Piece) -> None:
        while not over.is_set():
            try:
                return pieces.put(piece, timeout=1)
            except Full:
                continue

    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        with _opener().open(request, timeout=2 * STALL_S) as response:
            put(_Head(response.status, response.length, str(response.headers.get("Content-Range", ""))))
            while not over.is_set() and (body := response.read1(_CHUNK)):
                put(body)
        put(None)
    except urllib.error.HTTPError as error:
        error.close()
        put(None if error.code == 416 and have else error)
    except ValueError as error:  # of an address that is none
        put(Refused(str(error)))
    except BaseException as error:  # whatever it is, who waits for this thread gets it
        put(error)


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https addresses and nothing else: no files, no ftp."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        *(urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler),
        *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler),
        _Redirects,
    )
    for handler in handlers:
        opener.add_handler(handler())
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, but from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in _SCHEMES or (req.type == "https" and scheme == "http"):
            raise Refused(f"it redirects from {req.type} to {newurl[:200]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
