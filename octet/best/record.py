"""What a search has measured, in reports/MODEL/best.json: the next one goes on from it.

A loss counts for certain inputs (the fp32 model, the images, the code): their checksum is part of its experiment's name. A speed
counts for one machine or device, and one network on one size of its input. Where one of these is another, what depends on it is
measured anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from octet.best.candidates import Candidate
from octet.best.loss import Loss
from octet.core.errors import OctetError
from octet.core.files import read_dataclass, write_json
from octet.project.lock import try_lock


@dataclass(frozen=True)
class Measurement:
    """What was measured of a candidate.

    Args:
        candidate: Its settings.
        loss: What it loses; None: it failed.
        kernels: What its speed depends on (octet.best.kernels).
        n_int8: How many layers are int8.
        failure: Why it failed.
        speedup: How many times as fast as fp32 it is, one image on one thread; None: it failed, or was not timed there.
    """

    candidate: Candidate
    loss: Loss | None = None
    kernels: str = ""
    n_int8: int = 0
    failure: str = ""
    speedup: float | None = None

    def upper(self, metric: str) -> float:
        """What it is likely to lose at the most; of one that failed, infinity.

        Args:
            metric: As for Loss.upper.
        """
        return float("inf") if self.loss is None else self.loss.upper(metric)


@dataclass
class Record:
    """The file's content.

    Args:
        measurements: Without speeds, by the name of the experiment, in which the checksum of all that the loss depends on stands.
        speedups: By what a stopwatch's speeds are true of (octet.best.speed.Stopwatch.key), and by kernels, how many times as fast
            as fp32.
        tuned: By the same, the target profile that the tuner wrote; empty: nothing was clearly faster.
        tuned_s: By the same, for how many seconds it looked in vain, where its time was over before all was tried.
    """

    measurements: dict[str, Measurement] = field(default_factory=dict)
    speedups: dict[str, dict[str, Annotated[float, Field(gt=0)]]] = field(default_factory=dict)
    tuned: dict[str, str] = field(default_factory=dict)
    tuned_s: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Record:
        """Reads the file; an empty record where there is none.

        Args:
            path: The file.

        Raises:
            OctetError: It is damaged.
        """
        return read_dataclass(cls, path, "remove it, and make best measures anew") if path.is_file() else cls()

    def save(self, path: Path) -> None:
        """Writes the file."""
        write_json(path, asdict(self))

    def on(self, key: str, name_of: Callable[[Candidate], str]) -> dict[Candidate, Measurement]:
        """What counts today, with the speeds of a stopwatch; what was not timed by it is left out.

        Args:
            key: What its speeds are true of.
            name_of: The experiment of a candidate today: where it had another name, something else was measured.
        """
        speedups = self.speedups.get(key, {})
        return {
            one.candidate: replace(one, speedup=speedups[one.kernels] if one.loss else None)
            for name, one in self.measurements.items()
            if name == name_of(one.candidate) and (one.loss is None or one.kernels in speedups)
        }


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """For as long, no other search has this record: each would write it without what the other measured.

    Args:
        path: The record.

    Raises:
        OctetError: Another search has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("wb") as lock:
        if not try_lock(lock.fileno()):
            raise OctetError(f"{path}: another make best of this model is at work; wait for its end")
        yield
