"""Pickles that nobody vouches for, read without running anything that they ask for.

A pickle is a small program; Python's own reader imports and calls what it names, and even readers that allow a few
names only (pickle.Unpickler.find_class, torch.load with weights_only) hand the file's values to C code that trusts
them: numpy's dtype takes any state, and then dereferences it. Here the program is stepped through in Python, and what
comes back is plain values: None, numbers, text, bytes, lists, tuples and dictionaries. A name is a `Global`, a pair of
texts that is never imported. What a call gives is made by the few constructors that the caller passes; any other call
gives an `Opaque`, which says by its name what would have been there and holds nothing.

Why not a child process with a memory limit: it would still run what the file asks for, it takes as long to start as a
checkpoint takes to read, and its answer would have to come back in some format that is read like this one. Real files
use some forty instructions, most of them one line long.

Time and memory are bounded by the file: at most MOST_STEPS instructions, none of which makes more than one small
object or a copy of bytes that are in the file, and copies of a few times its size in all. The memo is a dictionary, so a
huge index in it takes nothing. Nothing is walked through by recursion, so depth costs nothing.

Source: the instructions' description in CPython's Lib/pickletools.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from octet.core.pickle_instructions import INSTRUCTIONS
from octet.core.pickle_reader import Constructor, Loaded, Reader


def loads(
    data: bytes | bytearray,
    constructors: Mapping[tuple[str, str], Constructor],
    persistent: Callable[[object], object] | None = None,
    start: int = 0,
) -> Loaded:
    """Reads one pickle.

    >>> import pickle
    >>> loads(pickle.dumps({"lr": (0.1, True)}), {}).value
    {'lr': (0.1, True)}
    >>> loads(pickle.dumps(print), {}).value
    Global(module='builtins', name='print')

    Args:
        data: The file.
        constructors: By module and name, what to do where the pickle calls that name.
        persistent: What stands for an object outside of the pickle, by its id; None: such ids are refused.
        start: Where in data the pickle begins.

    Raises:
        BadPickle: It is damaged, too long, or uses what is not understood.
    """
    return Reader(data, constructors, persistent, start).load(INSTRUCTIONS)
