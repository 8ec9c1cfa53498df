"""What an input may take: two seconds of a processor, and half a GiB over what the process has before."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from octet.core.errors import OctetError
from tests.fuzz.readers import FuzzReader

MOST_S, MOST_MIB = 2.0, 512
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


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


def run(reader: FuzzReader, data: bytes, folder: Path) -> int:
    """Gives a reader a file; returns how many MiB it took.

    Raises:
        AssertionError: It takes more than MOST_S of a processor or MOST_MIB.
        MemoryError: It asks for more than MOST_MIB, whether it would use it or not; on Linux alone.
        Exception: What it raises beside OctetError.
    """
    began = time.process_time()
    with _memory() as took_mib, suppress(OctetError):
        reader.read(data, folder)
    took_s = time.process_time() - began
    assert took_s < MOST_S, f"{reader.name}: {len(data)} bytes take {took_s:.1f} s"
    assert took_mib[0] < MOST_MIB, f"{reader.name}: {len(data)} bytes take {took_mib[0]} MiB"
    return took_mib[0]


@contextmanager
def _memory() -> Iterator[list[int]]:
    """How many MiB the block took at most, over what the process had before, once the block is left.

    On Linux no more than MOST_MIB can be had in it, and the system's high-water mark is that of the block; elsewhere the mark is
    that of the whole process, so that only what goes over it is seen.
    """
    took_mib = [0]
    if not _CLEAR.exists():
        before = peak_mib()
        yield took_mib
        took_mib[0] = peak_mib() - before
        return
    _CLEAR.write_text("5")  # the high-water mark is what is held now
    held = _status_kib()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, ((held["VmSize"] + (MOST_MIB << 10)) << 10, limits[1]))
    try:
        yield took_mib
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    took_mib[0] = (_status_kib()["VmHWM"] - held["VmRSS"]) >> 10


def _status_kib() -> dict[str, int]:
    """What the process has, by the system's names."""
    lines = (line.split() for line in _STATUS.read_text().splitlines() if line.startswith("Vm"))
    return {name.removesuffix(":"): int(size) for name, size, _ in lines}
