"""How work on many images is divided into shards, for threads and for a cluster's workers alike."""

from __future__ import annotations

LARGEST = 32  # images a shard, one of which a lost worker costs


def shards(count: int, workers: int) -> list[range]:
    """Ranges that together are range(count), each a quarter of a worker's share of what is left.

    So none waits long for another's last.

    >>> shards(20, 2)
    [range(0, 2), range(2, 4), range(4, 6), range(6, 7), range(7, 8), range(8, 9), range(9, 10), range(10, 11), \
range(11, 12), range(12, 13), range(13, 14), range(14, 15), range(15, 16), range(16, 17), range(17, 18), \
range(18, 19), range(19, 20)]

    Args:
        count: How many images there are.
        workers: How many threads share them, on all machines together.
    """
    ranges, start = [], 0
    while start < count:
        size = max(1, min(LARGEST, (count - start) // (4 * workers)))
        ranges.append(range(start, min(start + size, count)))
        start += size
    return ranges
