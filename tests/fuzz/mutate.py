"""Mutations of valid files without a guide: what a slip of a hand, a disk, a network or an enemy makes of them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from tests.damage import WORDS, encoded

_WORD = re.compile(rb"[^\s=,:|/\[\]{}\"']+")
_NUMBERS = [
    b"\0",
    b"\xff",
    *(
        value.to_bytes(size, order)
        for size in (2, 4, 8)
        for order in ("little", "big")
        for value in (1 << 8 * size - 1, 255, 0)
    ),
    *(b"\xff" * size for size in (2, 4, 8)),
    *(b"\x7f" + b"\xff" * (size - 1) for size in (2, 4, 8)),
    *(b"\xff" * (size - 1) + b"\x7f" for size in (2, 4, 8)),
]


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Endlessly many, always the same for the same seed."""
    source = random.Random(seed)
    every = [*words, *(encoded(word) for word in WORDS), *_NUMBERS]
    while True:
        data = bytearray(source.choice(seeds))
        for _ in range(source.choice((1, 1, 1, 2, 2, 3, 5))):
            data = _edited(data, seeds, every, source)
        yield bytes(data)


def _edited(data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], source: random.Random) -> bytearray:
    start = source.randrange(len(data) + 1)
    end = min(len(data), start + source.choice((1, 1, 2, 4, 8, 30, 1000)))
    kind = source.randrange(9)
    if kind == 0 and data:  # a bit
        data[start % len(data)] ^= 1 << source.randrange(8)
    elif kind == 1:  # overwritten
        new = source.choice(words)
        data[start : start + len(new)] = new
    elif kind == 2:  # put in
        data[start:start] = source.choice(words)
    elif kind == 3:  # taken out
        del data[start:end]
    elif kind == 4:  # repeated
        data[start:start] = data[start:end] * source.choice((1, 2, 50))
    elif kind == 5:  # cut off
        del data[start:]
    elif kind == 6:  # of another file
        other = source.choice(seeds)
        at = source.randrange(len(other) + 1)
        data[start:end] = other[at : at + end - start]
    elif kind == 7:  # bytes of no meaning
        data[start:end] = source.randbytes(end - start)
    else:  # a word
        result = list(_WORD.finditer(data[:20_000]))
        if result:
            word = source.choice(result)
            data[word.start() : word.end()] = source.choice(words)
    return data
