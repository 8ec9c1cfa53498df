"""Images mapped over workers, shard by shard: this machine's threads, or those of a Dask cluster.

What a shard gives must merge exactly in any order, as integer sums and lists with indices do: then the result is the
same from any number of shards and workers, and from a shard that was computed again because its worker was lost.

A cluster's workers get the work itself, models included, over the network; images they read from disk, where they
find them under the same path as here.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import TypeVar

from octet.core.errors import OctetError
from octet.core.progress import bar, progress

T = TypeVar("T")
TOGETHER = 8  # images that are read before one computes on them: decoding in between would empty the caches
LARGEST = 32  # images a shard, one of which a lost worker costs
TIMEOUT_S = 10
_opening = threading.Lock()
# joblib's advice on work that was begun in vain, where a shard's error ended it all
warnings.filterwarnings("ignore", r"\d+ tasks (have|which)", module="joblib.parallel")


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    function: Callable[[int], T], indices: Sequence[int], what: str, workers: int | None = None
) -> Iterator[T]:
    """function(index) for every index, in order, on `workers` threads (default: all cores), with progress.

    At most a few images a worker are under way, so memory does not grow with their number.
    """
    workers = workers or cores()
    with ThreadPoolExecutor(workers) as pool:

        def results() -> Iterator[T]:
            waiting = []
            for index in indices:
                waiting.append(pool.submit(function, index))
                if len(waiting) >= 4 * workers:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

        yield from progress(results(), what, total=len(indices))


@contextmanager
def reading_ahead(images: Sequence[T], readers: int) -> Iterator[Callable[[int], T]]:
    """images[k] as a function, asked for in about that order by any thread, but computed ahead by `readers` threads.

    Worth it where reading waits for a disk or a network; where it only costs time on a core, workers that each read for
    themselves use all cores as well. A few images a reader are ahead, so memory does not grow with their number.
    """
    lock, started = threading.Lock(), 0
    waiting: dict[int, Future[T]] = {}

    def ready(k: int) -> T:
        nonlocal started
        with lock:
            while started < min(len(images), k + 1 + TOGETHER * readers):
                waiting[started] = pool.submit(images.__getitem__, started)
                started += 1
            future = waiting.pop(k)
        return future.result()

    with ThreadPoolExecutor(readers) as pool:
        try:
            yield ready
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def map_shards(
    work: Callable[[range], T], count: int, what: str, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Iterator[T]]:
    """work(shard) for shards that together are range(count), as they come, with progress. Nothing runs on afterwards.

    On `workers` threads (default: all cores), or on all workers of the Dask cluster at `scheduler`, as
    tcp://host:8786; there work has to be picklable by cloudpickle. Raises what work raises, and OctetError where the
    cluster cannot be reached, has no worker, loses them all, or runs other versions than this machine.
    """
    with bar(what, count) as shown:

        def counted() -> Iterator[T]:
            for size, result in results:
                shown.update(size)
                yield result

        with closing(
            _cluster(work, count, scheduler) if scheduler else _threads(work, count, workers or cores())
        ) as results:
            yield counted()


def _threads(work: Callable[[range], T], count: int, workers: int) -> Iterator[tuple[int, T]]:
    import joblib  # not on a board where the tuner runs alone

    running, over = threading.Semaphore(workers), threading.Event()

    def one(shard: range) -> tuple[int, T] | None:
        with running:
            return None if over.is_set() else _one(work, shard)

    parallel = joblib.Parallel(workers, backend="threading", batch_size=1, return_as="generator_unordered")
    try:
        yield from parallel(joblib.delayed(one)(shard) for shard in _shards(count, workers))
    finally:  # joblib does not wait where it ends early, and Python's end under a thread in ncnn is a crash
        over.set()
        for _ in range(workers):
            running.acquire()


def _cluster(work: Callable[[range], T], count: int, scheduler: str) -> Iterator[tuple[int, T]]:
    import joblib

    try:
        import cloudpickle
        import distributed
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
        from joblib._dask import DaskDistributedBackend
    except ModuleNotFoundError as error:
        raise OctetError(
            f"params.yaml: parallel.scheduler: needs the package '{error.name}': run \"pip install -e '.[dask]'\", or set it to "
            "null to compute on this machine"
        ) from None
    where = f"params.yaml: parallel.scheduler: {scheduler}"
    try:
        client = distributed.Client(scheduler, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OctetError(
            f"{where}: no Dask scheduler answers ({error}); start one with 'dask scheduler', or set it to null"
        ) from None
    sent = pickle.dumps((stack(), cloudpickle.dumps(work)))
    with client:
        if not client.ncores():
            raise OctetError(f"{where}: has no worker; start some with 'dask worker {scheduler}'")
        backend = DaskDistributedBackend(client=client, scatter=[sent])
        # A cluster with one worker says 1, on which joblib would leave it and compute on this machine.
        backend.effective_n_jobs = lambda _: 2
        with joblib.parallel_config(backend):
            parallel = joblib.Parallel(batch_size=1, pre_dispatch="all", return_as="generator_unordered")
            shards = _shards(count, sum(client.ncores().values()))
            try:
                yield from parallel(joblib.delayed(_remote)(sent, shard) for shard in shards)
            except (FutureCancelledError, KilledWorker, TimeoutError, OSError) as error:
                raise OctetError(
                    f"{where}: all its workers were lost, or too many; see what they logged ({error})"
                ) from None


def _shards(count: int, workers: int) -> list[range]:
    """Each a quarter of a worker's share of what is left, so that none waits long for another's last."""
    found, start = [], 0
    while start < count:
        size = max(1, min(LARGEST, (count - start) // (4 * workers)))
        found.append(range(start, min(start + size, count)))
        start += size
    return found


def _one(work: Callable[[range], T], shard: range) -> tuple[int, T]:
    return len(shard), work(shard)


def _remote(sent: bytes, shard: range) -> tuple[int, T]:
    """One shard on a cluster's worker."""
    with _opening:
        work = _opened(sent)
    return _one(work, shard)


@lru_cache(maxsize=1)
def _opened(sent: bytes) -> Callable[[range], T]:
    """The work, made ready once in each process of a cluster."""
    wanted, work = pickle.loads(sent)
    found = stack()
    if found != wanted:
        other = ", ".join(f"{key} {found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key])
        raise OctetError(
            f"the Dask worker on {gethostname()} has {other}: its results could differ; give it this commit and "
            "the versions of requirements.lock"
        )
    try:
        return pickle.loads(work)
    except OctetError as error:
        raise OctetError(
            f"on the Dask worker on {gethostname()}: {error}. Workers read the images themselves: share the folder, so that "
            "it has the same path on all machines"
        ) from None


@lru_cache(maxsize=1)
def stack() -> dict[str, str]:
    """What a result depends on besides its inputs: versions, and a hash of this library's own code."""
    folder, code = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        code.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    packages = ("ncnn", "numpy", "opencv-python-headless")
    return {"octet": code.hexdigest()[:12]} | {name: version(name) for name in packages}
