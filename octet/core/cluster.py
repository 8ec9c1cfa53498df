"""Shards computed by the workers of a Dask cluster, through distributed's public interface.

The workers get the work itself, models included, over the network; images they read from disk, where they find them
under the same path as here. The scheduler gives a lost worker's shards to the others.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Callable, Generator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import TypeVar

from octet.core.errors import OctetError
from octet.core.shards import shards

T = TypeVar("T")
CONNECT_S = 10  # how long a scheduler may take to answer
_PARAMETER = "params.yaml: parallel.scheduler"
_unpacking = threading.Lock()


def map_on_cluster(work: Callable[[range], T], count: int, scheduler: str) -> Generator[tuple[int, T], None, None]:
    """Has the workers of a cluster compute the shards of range(count), in any order; closing it cancels those that are left.

    Args:
        work: Called with a shard by the threads of all workers; picklable by cloudpickle.
        count: How many images there are.
        scheduler: The scheduler's address, as tcp://host:8786.

    Yields:
        The size of a shard, and what work gives for it.

    Raises:
        Exception: What work raises.
        OctetError: The cluster cannot be reached, has no worker, loses them all, or runs other versions than this machine.
    """
    try:
        import cloudpickle
        import distributed
    except ModuleNotFoundError as error:
        raise OctetError(
            f"{_PARAMETER}: needs the package '{error.name}': run \"pip install -e '.[dask]'\", or set it to null to compute "
            "on this machine"
        ) from None
    where = f"{_PARAMETER}: {scheduler}"
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OctetError(
            f"{where}: no Dask scheduler answers ({error}); start one with 'dask scheduler', or set it to null"
        ) from None
    packed = pickle.dumps((code_versions(), cloudpickle.dumps(work)))
    with client:
        threads = sum(client.ncores().values())
        if not threads:
            raise OctetError(f"{where}: has no worker; start some with 'dask worker {scheduler}'")
        try:
            sent = client.scatter(packed, broadcast=True, hash=False)
            futures = [client.submit(_compute, sent, shard, pure=False) for shard in shards(count, threads)]
            try:
                for future in distributed.as_completed(futures, loop=client.loop):
                    yield future.result()
            finally:
                client.cancel(futures)
        except (distributed.CancelledError, distributed.KilledWorker, TimeoutError, OSError) as error:
            raise OctetError(
                f"{where}: all its workers were lost, or too many; see what they logged ({error})"
            ) from None


def _compute(packed: bytes, shard: range) -> tuple[int, object]:
    """One shard, on a worker."""
    with _unpacking:
        work = _unpacked(packed)
    return len(shard), work(shard)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[range], object]:
    """The work, made ready once in each process of a cluster."""
    wanted, work = pickle.loads(packed)
    here = code_versions()
    if here != wanted:
        other = ", ".join(f"{key} {here[key]}, not {wanted[key]}" for key in wanted if here[key] != wanted[key])
        raise OctetError(
            f"the Dask worker on {gethostname()} has {other}: its results could differ; give it this commit and "
            "the versions of requirements.lock"
        )
    try:
        unpacked: Callable[[range], object] = pickle.loads(work)
    except OctetError as error:
        raise OctetError(
            f"on the Dask worker on {gethostname()}: {error}. Workers read the images themselves: share the folder, so that "
            "it has the same path on all machines"
        ) from None
    return unpacked


@lru_cache(maxsize=1)
def code_versions() -> dict[str, str]:
    """What a result depends on besides its inputs: versions of packages, and a hash of this library's own code."""
    folder, code = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        code.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    packages = ("ncnn", "numpy", "opencv-python-headless")
    return {"octet": code.hexdigest()[:12]} | {name: version(name) for name in packages}
