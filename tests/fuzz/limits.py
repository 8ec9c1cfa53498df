"""What an input may take: two seconds of a processor and half a GiB over what the process took before."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from octet.core.errors import OctetError
from tests.fuzz.readers import FuzzReader

MOST_S, MOST_MIB = 2.0, 512


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for the readers' files, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def peak_mib() -> int:
    """What this process took at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def clear(folder: Path) -> None:
    """Removes what is in the folder."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def run(reader: FuzzReader, data: bytes, folder: Path) -> None:
    """Gives a reader a file. Raises AssertionError where it takes too much, and what it raises beside OctetError."""
    before, began = peak_mib(), time.process_time()
    _quietly(lambda: reader.read(data, folder))
    took_s, took_mib = time.process_time() - began, peak_mib() - before
    assert took_s < MOST_S, f"{reader.name}: {len(data)} bytes take {took_s:.1f} s"
    assert took_mib < MOST_MIB, f"{reader.name}: {len(data)} bytes take {took_mib} MiB"


def _quietly(read: Callable[[], None]) -> None:
    with suppress(OctetError):
        read()
