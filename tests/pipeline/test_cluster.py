"""evaluate and calibrate on a real Dask cluster: a scheduler and worker processes, as its command line starts them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octet.calibrate import observe
from octet.core.errors import OctetError, Unreadable
from octet.core.parallel import map_shards
from octet.core.shards import shards
from octet.data.folders import class_folders
from octet.evaluate.evaluate import evaluate
from octet.ncnn.engine import Engine
from tests import nets
from tests.pipeline.project import ROOT

pytestmark = pytest.mark.pipeline
DASK = str(Path(sys.executable).parent / "dask")


class Cluster:
    """A scheduler and workers of one thread each on this machine, without the nannies that would start them anew."""

    def __init__(self, folder: Path):
        self.folder, self.processes, self.file = folder, [], folder / "scheduler.json"
        self.start("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", self.file)
        import distributed

        until(self.file.exists)
        self.client = distributed.Client(scheduler_file=str(self.file), timeout=60, set_as_default=False)
        self.address = self.client.scheduler.address

    def start(self, *command: object, code: Path = ROOT) -> subprocess.Popen:
        log = self.folder / f"{len(self.processes)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [DASK, *map(str, command)],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(code)},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def worker(self, code: Path = ROOT) -> subprocess.Popen:
        there = len(self.client.ncores())
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", self.folder)
        process = self.start("worker", self.address, *options, code=code)
        until(lambda: len(self.client.ncores()) > there)
        return process

    def stop(self) -> None:
        self.client.close()
        for process in self.processes:
            process.kill()
            process.wait()


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    built = Cluster(tmp_path / "cluster")
    yield built
    built.stop()


def lines(path: Path) -> int:
    return len(path.read_text().split()) if path.exists() else 0


@pytest.mark.parametrize("stage", ["evaluate", "calibrate"])
def test_a_lost_worker_costs_its_shard_and_the_result_is_the_same_bytes(cluster, tmp_path, stage):
    net, images, count = nets.small(), nets.images(200), 200
    looked_at, lost = tmp_path / "looked at", []
    looked_at.mkdir()

    def image(k: int) -> np.ndarray:
        seen = looked_at / str(os.getpid())
        with seen.open("a") as file:
            file.write(f"{k}\n")
        if os.getpid() in lost and lines(seen) == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        if k == 11:
            raise Unreadable("11: damaged")
        return images[k]

    def result(scheduler: str | None) -> list[bytes]:
        if stage == "evaluate":
            top = evaluate(Engine.of(net), nets.Computed(count, image), "x", scheduler=scheduler)
            return [values.tobytes() for values in vars(top).values()]
        actual = observe.histograms(net, nets.Computed(count, lambda k: image(k or 1)), scheduler=scheduler)
        return [
            repr((blob, h.exponent, h.zeros, h.largest)).encode() + h.counts.tobytes() for blob, h in actual.items()
        ]

    if stage == "calibrate":  # which has to be given images that can be read
        readable = image
        image = lambda k: readable(k if k != 11 else 12)  # noqa: E731
    here = result(None)
    shutil.rmtree(looked_at)
    looked_at.mkdir()
    first, _ = cluster.worker(), cluster.worker()
    lost.append(first.pid)
    assert result(cluster.address) == here
    assert first.wait() == -signal.SIGKILL
    done = {int(path.name): lines(path) for path in looked_at.iterdir()}
    assert len(done) == 2, "nothing ran here"
    assert done[first.pid] == 20, "it was lost in the middle"
    assert sum(done.values()) > count, "the shard that it had begun was computed again"


def test_the_stages_write_the_same_files_and_do_not_run_again_because_of_it(finished, cluster, tmp_path):
    project = finished.copy(tmp_path / "p")
    names = ["models/tiny/int8.table", "metrics/tiny/activations.csv"]
    names += [f"metrics/tiny/{name}" for name in ("int8.json", "int8.predictions.csv")]
    wanted = project.files(*names)
    project.edit("params.yaml", "scheduler: null", f"scheduler: {cluster.address}")
    assert project.repro() == []
    for _ in range(2):
        cluster.worker()
    for name in names:
        (project.folder / name).unlink()
    assert project.repro() == [], "from DVC's cache"
    for stage in (["calibrate"], ["evaluate", "--precision", "int8"]):
        before = computed(cluster)
        done = project.stage(*stage)
        assert done.returncode == 0, done.stderr
        assert computed(cluster) >= before + 16, "eight shards a worker"
    assert project.files(*names) == wanted


def computed(cluster: Cluster) -> int:
    """How many tasks its workers have done."""
    return sum(cluster.client.run(lambda dask_worker: dask_worker.state.executed_count).values())


def on_cluster(work: Callable, count: int, address: str) -> list:
    with map_shards(work, count, "x", scheduler=address) as results:
        return list(results)


def refusal(address: str) -> str:
    with pytest.raises(OctetError) as raised:
        on_cluster(lambda shard: len(shard), 10, address)
    return str(raised.value)


def test_no_scheduler_and_no_worker_and_no_dask(cluster, monkeypatch):
    assert "has no worker; start some with 'dask worker tcp://" in refusal(cluster.address)
    assert "no Dask scheduler answers" in refusal("tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install -e '.[dask]'" in refusal(cluster.address)


def test_a_worker_with_other_code(cluster, tmp_path):
    code = tmp_path / "code"
    shutil.copytree(ROOT / "octet", code / "octet")
    with (code / "octet/evaluate/evaluate.py").open("a") as file:
        file.write("# changed\n")
    cluster.worker(code)
    output = refusal(cluster.address)
    assert "the Dask worker on" in output
    assert "its results could differ; give it this commit" in output


def test_a_worker_that_does_not_see_the_images(cluster, tmp_path):
    (tmp_path / "train/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "train/a/1.png")
    data = class_folders(tmp_path / "train", ["a"], "color")
    cluster.worker()
    work = lambda shard: [data.name(0) for _ in shard]  # noqa: E731
    assert on_cluster(work, 2, cluster.address) == [["a/1.png"], ["a/1.png"]]
    data.root /= "elsewhere"
    with pytest.raises(OctetError, match="elsewhere: no such folder. Workers read the images themselves: share"):
        on_cluster(work, 2, cluster.address)


def test_what_the_caller_does_not_wait_for_is_cancelled(cluster, tmp_path):
    """The worker computes the first shard and begins another one, which ends when all is cancelled."""
    cluster.worker()
    cancelled, count = tmp_path / "cancelled", 1000

    def work(shard: range) -> int:
        if shard.start:
            until(cancelled.exists)
        return len(shard)

    assert len(shards(count, 1)) > 10
    with map_shards(work, count, "x", scheduler=cluster.address) as results:
        assert next(results) == 32
    until(lambda: cluster.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0)
    cancelled.touch()
    until(lambda: not any(cluster.client.processing().values()))
    assert computed(cluster) <= 3


def test_all_workers_lost(cluster):
    cluster.worker()
    with pytest.raises(OctetError, match="all its workers were lost, or too many; see what they logged"):
        on_cluster(lambda _: os.kill(os.getpid(), signal.SIGKILL), 100, cluster.address)


def test_a_worker_that_cannot_import_octet(cluster, tmp_path):
    (tmp_path / "code/octet").mkdir(parents=True)
    (tmp_path / "code/octet/__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'octet'\")\n")
    cluster.worker(tmp_path / "code")
    assert "all its workers were lost, or too many; see what they logged" in refusal(cluster.address)
