"""Which of two networks is faster, decided by a coin's odds: what disturbs a timing is larger than most gains.

Two things disturb it:

- Other jobs. So in this process the timer is the processor time of the one thread that computes. With 7 jobs on 2 cores the
  medians of 200 runs of two copies of one ResNet-18 (2.2 ms) were at most 14 µs apart, and up to 290 µs by the clock on the
  wall.
- Where the weights lie in memory. So both networks are loaded anew for every round, and what counts are rounds.

    >>> gain = compare(in_turn(lambda: lambda: 1000.0, lambda: lambda: 900.0))
    >>> gain.verdict, gain.us, gain.won
    ('faster', 100.0, 10)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

PAIRS = 10  # timed in a round
ROUNDS = 40  # at most, of one candidate
LEAST = 0.01  # of the base's time: a smaller gain is none; two loadings of one network differ by up to twice that
FALSE_GAIN, FALSE_LOSS = 0.001, 0.02  # how often a coin may decide like that
_THREAD_TIME = time.get_clock_info("thread_time").resolution <= 1e-6
Timer = Callable[[], float]  # runs a network once: µs
# Loads both networks anew, the base first or not, and times each PAIRS times in turn: µs of shape (PAIRS, 2), base and candidate.
Round = Callable[[bool], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Gain:
    """What a candidate saves of the base's time.

    Args:
        rounds: One median a round, in µs.
        base_us: The base's median.
        other_us: The candidate's median.
    """

    rounds: list[float]
    base_us: float
    other_us: float

    @property
    def us(self) -> float:
        """The median of the rounds, in µs."""
        return float(np.median(self.rounds))

    @property
    def percent(self) -> float:
        """Of the base's time."""
        return 100 * self.us / self.base_us

    @property
    def won(self) -> int:
        """In how many rounds the candidate was faster."""
        return sum(us > 0 for us in self.rounds)

    @property
    def verdict(self) -> str:
        """faster: by LEAST, and a coin would win so many rounds in fewer than FALSE_GAIN of all cases. no gain: of LEAST
        in so few rounds that a coin would not in FALSE_LOSS; that costs nothing but a small chance, so it is easier.
        Else unclear.
        """
        least = LEAST * self.base_us
        if self.us >= least and _coin(self.won, len(self.rounds)) < FALSE_GAIN:
            return "faster"
        below = sum(us < least for us in self.rounds)
        return "no gain" if _coin(below, len(self.rounds)) < FALSE_LOSS else "unclear"


def now_us() -> float:
    """The time that this thread has computed, or the clock's where the system does not tell that, in µs."""
    return (time.thread_time_ns() if _THREAD_TIME else time.perf_counter_ns()) / 1000


def in_turn(base: Callable[[], Timer], other: Callable[[], Timer]) -> Round:
    """Times two networks in this process, A B B A …

    Args:
        base: Loads the network as it is.
        other: Loads the candidate.
    """

    def times(base_first: bool) -> npt.NDArray[np.float64]:
        order = (base, other) if base_first else (other, base)
        timers = [load() for load in order][:: 1 if base_first else -1]
        pairs = np.empty((PAIRS, 2))
        for pair in range(PAIRS):
            for which in (0, 1) if pair % 2 else (1, 0):
                pairs[pair, which] = timers[which]()
        return pairs

    return times


def compare(times: Round, rounds: int = ROUNDS, end: float = float("inf")) -> Gain:
    """Times two networks in turn until the verdict is clear, or the rounds or the time are over.

    Args:
        times: Times a round.
        rounds: How many rounds at most.
        end: When no more rounds are timed, by time.monotonic; one always is.
    """
    measured: list[npt.NDArray[np.float64]] = []
    while True:
        measured.append(times(len(measured) % 2 == 1))
        saved = [float(np.median(pairs[:, 0] - pairs[:, 1])) for pairs in measured]
        gain = Gain(saved, *map(float, np.median(np.vstack(measured), axis=0)))
        if gain.verdict != "unclear" or len(measured) >= rounds or time.monotonic() >= end:
            return gain


def _coin(heads: int, throws: int) -> float:
    """The chance that a coin shows heads that often or more often."""
    return float(sum(comb(throws, k) for k in range(heads, throws + 1)) / 2**throws)
