"""Work spread over this machine's threads or those of a Dask cluster: item by item, or shard by shard.

What a shard gives must merge exactly in any order, as integer sums and lists with indices do: then the result is the
same from any number of shards and workers, and from a shard that was computed again because its worker was lost.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from itertools import islice
from typing import TypeVar

from octet.core.cluster import map_on_cluster
from octet.core.progress import bar, progress
from octet.core.shards import shards

T = TypeVar("T")
BLOCK = 8  # images that are read before one computes on them, together: decoding in between would empty the caches


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    function: Callable[[int], T], indices: Sequence[int], what: str, workers: int | None = None
) -> Iterator[T]:
    """function(index) for every index, in order, on threads, with progress.

    >>> list(map_ordered(lambda k: k * k, [3, 1, 2], "squares"))
    [9, 1, 4]

    At most a few items a worker are under way, so memory does not grow with their number. Nothing new begins after an
    error or where the caller stops early.

    Args:
        function: Called by any thread.
        indices: What it is called with.
        what: The bar's title.
        workers: How many threads; None: one a core.

    Raises:
        Exception: What function raises, in the place of its result.
    """
    return progress(_ordered(function, indices, workers or cores()), what, total=len(indices))


def map_blocks(function: Callable[[range], Sequence[T]], count: int, size: int, what: str) -> Iterator[T]:
    """What function gives for each index below count, in order, on threads, with progress; it takes blocks of them.

    >>> list(map_blocks(lambda block: [k * k for k in block], 5, 2, "squares"))
    [0, 1, 4, 9, 16]

    Args:
        function: Gives one item for each index of a block; called by any thread.
        count: How many indices there are.
        size: How many a block has.
        what: The bar's title.

    Raises:
        Exception: What function raises, in the place of its result.
    """
    blocks = [range(start, min(start + size, count)) for start in range(0, count, size)]
    results = _ordered(lambda k: function(blocks[k]), range(len(blocks)), cores())
    return progress((item for items in results for item in items), what, total=count)


def _ordered(function: Callable[[int], T], indices: Sequence[int], workers: int) -> Iterator[T]:
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for index in indices:
                waiting.append(pool.submit(function, index))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def reading_ahead(images: Sequence[T], readers: int) -> Iterator[Callable[[int], T]]:
    """images[k] as a function, asked for once each, in about that order, by any thread, and computed ahead by others.

    >>> with reading_ahead(["a", "b", "c"], readers=2) as image:
    ...     [image(0), image(1), image(2)]
    ['a', 'b', 'c']

    Worth it where reading waits for a disk or a network; where it only costs time on a core, workers that each read for
    themselves use all cores as well. A few images a reader are ahead, so memory does not grow with their number.

    Args:
        images: What is read; its errors are raised where the image is asked for.
        readers: How many threads read.
    """
    lock, started = threading.Lock(), 0
    waiting: dict[int, Future[T]] = {}

    def image(k: int) -> T:
        nonlocal started
        with lock:
            while started < min(len(images), k + 1 + BLOCK * readers):
                waiting[started] = pool.submit(images.__getitem__, started)
                started += 1
            future = waiting.pop(k)
        return future.result()

    with ThreadPoolExecutor(readers) as pool:
        try:
            yield image
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def map_shards(
    work: Callable[[range], T], count: int, what: str, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Iterator[T]]:
    """work(shard) for shards that together are range(count), as they come, with progress. Nothing runs on afterwards.

    >>> with map_shards(sum, 1000, "sums") as sums:
    ...     sum(sums)
    499500

    Args:
        work: Called by any thread; on a cluster it has to be picklable by cloudpickle.
        count: How many images there are.
        what: The bar's title.
        workers: How many threads; None: one a core. A cluster uses all that it has.
        scheduler: A Dask cluster's, as tcp://host:8786; None: this machine's threads.

    Raises:
        Exception: What work raises.
        OctetError: The cluster cannot be reached, has no worker, loses them all, or runs other versions than this
            machine.
    """
    results = map_on_cluster(work, count, scheduler) if scheduler else _on_threads(work, count, workers or cores())
    with bar(what, count) as shown, closing(results):

        def counted() -> Iterator[T]:
            for size, result in results:
                shown.update(size)
                yield result

        yield counted()


def _on_threads(work: Callable[[range], T], count: int, workers: int) -> Generator[tuple[int, T], None, None]:
    """Each shard's size and result. At most one shard a worker waits for it, or for the caller."""
    todo, sizes = iter(shards(count, workers)), {}
    with ThreadPoolExecutor(workers) as pool:

        def begin(most: int) -> None:
            for shard in islice(todo, most):
                sizes[pool.submit(work, shard)] = len(shard)

        try:
            begin(2 * workers)
            while sizes:
                done, _ = wait(sizes, return_when=FIRST_COMPLETED)
                for future in done:
                    yield sizes.pop(future), future.result()
                    begin(1)
        finally:  # Python's end while a thread is in ncnn would be a crash: those that run are waited for
            pool.shutdown(cancel_futures=True)
