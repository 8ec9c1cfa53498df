"""Files from the network: with progress, resumed where they were cut off, and checked before they are used."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

from octet.core.errors import OctetError
from octet.core.files import checksum
from octet.core.text import printable
from octet.project import transfer

ATTEMPTS = 4
_PASSING = (408, 425, 429)  # of the answers that blame who asks, those that may be others next time
MIRROR = "OCTET_MIRROR"  # an environment variable: scheme and host to take instead of an address's own


def download(url: str, path: Path, algorithm: str, digest: str) -> bool:
    """Fetches a file unless it is there, and checks it either way.

    What came before the connection broke stays beside it as .NAME.partial, and the next run goes on from there.

    Args:
        url: Where it is published; OCTET_MIRROR may name another server.
        path: Where it belongs.
        algorithm: Of its checksum, by a name in hashlib.
        digest: The checksum's first hex digits.

    Returns:
        Whether it was fetched.

    Raises:
        OctetError: The checksum differs, or the address cannot be reached: then with which file to put where.
    """
    if path.exists():
        if not path.is_file():
            raise OctetError(f"{path}: expected a file; remove what is there, and it will be fetched")
        digits = checksum(path, algorithm)
        if not digits.startswith(digest):
            raise OctetError(
                f"{path}: its {algorithm} begins with {digits[: len(digest)]}, the published file's with {digest}; the file is "
                "damaged or another one. Remove it, and it will be fetched again, or put the right one there"
            )
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    problem = "nothing came"
    for attempt in range(ATTEMPTS):
        time.sleep(min(attempt, 3))
        try:
            transfer.fetch(mirrored(url), partial, path)
            break
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in _PASSING:
                _by_hand(url, path, printable(problem))
        except transfer.Refused as error:
            _by_hand(url, path, printable(str(error)))
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            problem = str(getattr(error, "reason", error)) or type(error).__name__
    else:
        kept = (
            f"; {partial.stat().st_size:,} bytes are kept, and the next run goes on from them"
            if partial.exists()
            else ""
        )
        _by_hand(url, path, f"{printable(problem)}{kept}")
    digits = checksum(partial, algorithm)
    if not digits.startswith(digest):
        partial.unlink()
        raise OctetError(
            f"{url}: what came has a {algorithm} that begins with {digits[: len(digest)]}, expected was {digest}; it was thrown "
            f"away. Try again, or put the right file there by hand: {path}"
        )
    partial.replace(path)
    return True


def mirrored(url: str) -> str:
    """The address on the server that OCTET_MIRROR names, if it names one."""
    mirror = os.environ.get(MIRROR)
    return mirror.rstrip("/") + urlsplit(url).path if mirror else url


def _by_hand(url: str, path: Path, problem: str) -> None:
    raise OctetError(
        f"{url}: cannot be fetched ({problem}). Without a network, fetch it elsewhere and put it there by hand: {path}. "
        f"A mirror's address can be given as {MIRROR}"
    ) from None
