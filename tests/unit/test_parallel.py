"""Work spread over threads: in order or as it comes, few items at once, and nothing after an error or an early end."""

import threading

import numpy as np
import pytest

from octet.core.errors import OctetError, Unreadable
from octet.core.parallel import map_ordered, map_shards, reading_ahead
from octet.core.shards import LARGEST, shards
from octet.evaluate.evaluate import evaluate
from octet.ncnn.engine import Engine
from tests import nets

pytestmark = pytest.mark.unit


@pytest.fixture
def threads():
    """Afterwards no thread of a pool is left."""
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


@pytest.mark.parametrize("count", [0, 1, 7, 200, 5000])
@pytest.mark.parametrize("workers", [1, 2, 64])
def test_shards_are_the_whole_and_shrink(count, workers):
    ranges = shards(count, workers)
    assert [k for shard in ranges for k in shard] == list(range(count))
    sizes = [len(shard) for shard in ranges]
    assert sizes == sorted(sizes, reverse=True)
    assert all(1 <= size <= LARGEST for size in sizes)


def test_few_items_are_under_way_at_once(threads):
    started = []
    results = map_ordered(lambda k: started.append(k) or k, range(1000), "x", workers=2)
    assert next(results) == 0
    assert len(started) <= 9
    assert list(results) == list(range(1, 1000))


def test_few_shards_are_under_way_at_once(threads):
    started = []
    with map_shards(lambda shard: started.append(shard) or sum(shard), 1000, "x", workers=2) as results:
        total = next(results)
        assert len(started) <= 4
        assert total + sum(results) == sum(range(1000))
    assert sorted(started, key=lambda shard: shard.start) == shards(1000, 2)


def test_images_are_read_ahead_but_few_of_them(threads):
    started = []
    with reading_ahead(nets.Computed(1000, lambda k: started.append(k) or 2 * k), readers=2) as image:
        assert image(0) == 0
        assert len(started) <= 17
        assert [image(k) for k in range(1, 900)] == list(range(2, 1800, 2))
        assert len(started) < 920
    assert sorted(started) == list(range(len(started)))


def test_nothing_begins_after_an_error(threads):
    started = []

    def function(k: int | range) -> None:
        started.append(k)
        raise KeyError(k)

    with pytest.raises(KeyError), map_shards(function, 1000, "x", workers=2) as results:
        list(results)
    assert len(started) <= 4
    started.clear()
    with pytest.raises(KeyError):
        list(map_ordered(function, range(1000), "x", workers=2))
    assert len(started) <= 8


def test_after_an_error_no_thread_goes_on(threads):
    """Python's end while a thread is in ncnn would be a crash."""
    started, ended = [], []

    def image(k: int) -> np.ndarray:
        started.append(k)
        ended.append(k)
        raise Unreadable(f"{k}.jpg: damaged")

    with pytest.raises(OctetError, match="more than 1 %"):
        evaluate(Engine.of(nets.small()), nets.Computed(200, image), "x", 2)
    assert len(started) == len(ended) < 100


def test_nothing_begins_after_an_early_end(threads):
    started = []
    with map_shards(lambda shard: started.append(shard), 1000, "x", workers=2) as results:
        next(results)
    assert len(started) <= 4
    started.clear()
    results = map_ordered(started.append, range(1000), "x", workers=2)
    next(results)
    results.close()
    assert len(started) <= 9
